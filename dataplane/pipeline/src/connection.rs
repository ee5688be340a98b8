//! Serves one connection from a client: finds out what is spoken on it, and runs it until it ends or is drained.

mod http;
mod opening;
mod proxy_protocol;
pub(crate) mod registry;
mod relay;
pub(crate) mod stream;
mod tls;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use agentgateway_policy::Permits;
use tokio::net::TcpStream;

use crate::forwarded::Address;
use crate::request::{Origin, Secure};
use crate::snapshot::{Bind, Listeners};
use crate::worker::{Accepted, Worker};
use opening::{Opening, PEEK_AGAIN};
use registry::State;

/// Counts the connection for as long as it lives.
pub(crate) struct Counted(Rc<Worker>);

impl Counted {
    pub(crate) fn new(worker: &Rc<Worker>) -> Self {
        worker.metrics.connections.fetch_add(1, Ordering::Relaxed);
        if let Some(own) = worker.peers.get(worker.id) {
            own.connections.fetch_add(1, Ordering::Relaxed);
        }
        Counted(Rc::clone(worker))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(own) = self.0.peers.get(self.0.id) {
            own.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What is known of a connection before anything is spoken on it.
struct Client {
    worker: Rc<Worker>,
    bind_key: Arc<str>,
    port: u16,
    /// The client, or where a balancer before says that it is.
    source: SocketAddr,
    state: Rc<State>,
}

impl Client {
    /// For requests; `secure` is what TLS told.
    fn origin(self, secure: Option<Secure>) -> Rc<Origin> {
        let Client { worker, bind_key, port, source, state } = self;
        Rc::new(Origin { worker, bind_key, port, source, state, secure, address: Address::default() })
    }
}

/// Starts a task that serves the connection on this worker.
pub(crate) fn start(worker: &Rc<Worker>, accepted: Accepted) {
    let counted = Counted::new(worker);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        serve(worker, accepted).await;
        drop(counted);
    });
}

async fn serve(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted { stream, source, bind_key, port } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    // Without it small responses wait for the client's acknowledgement of the one before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let state = worker.registry.add();
    let bind = bind(&worker, &bind_key);
    let mut client = Client { worker, bind_key, port, source, state };
    let Some(bind) = bind else {
        // Its socket is just being closed, and this client came before: an answer is better than a reset.
        return http::serve_plain(client.origin(None), stream).await;
    };
    let limits = bind.limits.clone();
    // Before a header of the PROXY protocol, which may take its time, and by client after it.
    let Some(_counted) = limits.as_ref().map_or(Some(Permits::default()), |limits| limits.connection()) else {
        client.worker.metrics.refused.fetch_add(1, Ordering::Relaxed);
        return;
    };
    // Boxed, as is all that not every connection needs: a task's size is that of its largest part.
    if proxy_protocol::is_expected(&bind) && !Box::pin(proxy_protocol::receive(&bind, &mut client, &stream)).await {
        return;
    }
    let of_client = limits.map_or(Some(Permits::default()), |limits| limits.connection_of(client.source.ip()));
    let Some(_of_client) = of_client else {
        client.worker.metrics.refused.fetch_add(1, Ordering::Relaxed);
        return;
    };
    match &bind.listeners {
        Listeners::Http(_) => {
            // A connection may live for days; it keeps nothing of the configuration.
            drop(bind);
            http::serve_plain(client.origin(None), stream).await;
        }
        Listeners::Tls(_) => Box::pin(tls::serve(client, bind, stream)).await,
        Listeners::Stream(listener) => {
            let Some(listener) = listener.clone() else { return };
            drop(bind);
            Box::pin(stream::serve(client, listener, stream)).await;
        }
    }
}

fn bind(worker: &Worker, key: &str) -> Option<Arc<Bind>> {
    worker.snapshot().binds.get(key).cloned()
}
