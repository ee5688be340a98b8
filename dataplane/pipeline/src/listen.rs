//! Listening sockets: one per worker and bind, opened and closed as the configuration changes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use agentgateway_proto::v1::bind::Transport;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::connection;
use crate::limits::{ACCEPT_ERROR_PAUSE, ACCEPT_QUEUE, MAX_CONNECTIONS_PER_WORKER};
use crate::snapshot::{Bind, Snapshot};
use crate::worker::{Accepted, Command, Listening, Worker, Workers};

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
    /// Key of the bind.
    pub bind_key: String,
}

/// Opens and closes sockets as the configuration says. Has one owner.
#[derive(Default)]
pub struct Sockets {
    open: BTreeMap<Arc<str>, SocketAddr>,
}

impl Sockets {
    /// Addresses that are listened on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.open.values().copied()
    }

    /// Makes the open sockets those of the snapshot. Binds that cannot be opened are given back, and tried again at
    /// the next call.
    pub async fn update(&mut self, snapshot: &Snapshot, workers: &Workers) -> Vec<ListenError> {
        let gone: Vec<Arc<str>> = self
            .open
            .iter()
            .filter(|(key, address)| snapshot.binds.get(&***key).is_none_or(|b| b.address != **address))
            .map(|(key, _)| Arc::clone(key))
            .collect();
        for key in gone {
            self.close(&key, workers).await;
        }
        let mut errors = Vec::new();
        for (key, bind) in &snapshot.binds {
            if self.open.contains_key(key) {
                continue;
            }
            match open(bind, workers.commands.len()) {
                Ok(sockets) => {
                    for (worker, socket) in workers.commands.iter().zip(sockets) {
                        // A worker that is gone takes the process down; there is nothing to do here.
                        let _ = worker.send(Command::Listen { bind_key: Arc::clone(key), socket }).await;
                    }
                    self.open.insert(Arc::clone(key), bind.address);
                    tracing::info!(address = %bind.address, "listening");
                }
                Err(source) => {
                    errors.push(ListenError { address: bind.address, source, bind_key: key.to_string() });
                }
            }
        }
        errors
    }

    /// Closes all sockets; clients that wait in the accept queues are taken first.
    pub async fn close_all(&mut self, workers: &Workers) {
        let keys: Vec<Arc<str>> = self.open.keys().cloned().collect();
        for key in keys {
            self.close(&key, workers).await;
        }
    }

    async fn close(&mut self, key: &Arc<str>, workers: &Workers) {
        let mut closing = Vec::new();
        for worker in &workers.commands {
            let (done, closed) = oneshot::channel();
            if worker.send(Command::Unlisten { bind_key: Arc::clone(key), done }).await.is_ok() {
                closing.push(closed);
            }
        }
        for closed in closing {
            // An error means that the socket was closed already.
            let _ = closed.await;
        }
        if let Some(address) = self.open.remove(key) {
            tracing::info!(%address, "no longer listening");
        }
    }
}

/// One socket per worker on the same port; the kernel spreads connections over them.
fn open(bind: &Bind, count: usize) -> std::io::Result<Vec<Listening>> {
    let address = bind.address;
    let kind = match bind.transport {
        Transport::Tcp => Type::STREAM,
        Transport::Udp => Type::DGRAM,
    };
    // Without this first try two gateways on one port would share it silently: SO_REUSEPORT lets them.
    drop(Socket::new(Domain::for_address(address), kind, None).and_then(|probe| {
        if bind.transport == Transport::Tcp {
            probe.set_reuse_address(true)?;
        }
        probe.bind(&address.into())?;
        Ok(probe)
    })?);
    (0..count)
        .map(|_| {
            let socket = Socket::new(Domain::for_address(address), kind, None)?;
            socket.set_reuse_port(true)?;
            if address.is_ipv6() {
                socket.set_only_v6(false)?;
            }
            socket.set_nonblocking(true)?;
            if bind.transport == Transport::Udp {
                socket.bind(&address.into())?;
                return Ok(Listening::Udp(socket.into()));
            }
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(ACCEPT_QUEUE)?;
            Ok(Listening::Tcp(socket.into()))
        })
        .collect()
}

/// Accepts until told to stop, then takes what is still in the queue: closing a socket resets those who wait there.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    bind_key: Arc<str>,
    socket: std::net::TcpListener,
    mut stop: oneshot::Receiver<oneshot::Sender<()>>,
) {
    let (listener, port) = match (TcpListener::from_std(socket), &bind_key) {
        (Ok(listener), _) => {
            let port = listener.local_addr().map_or(0, |a| a.port());
            (listener, port)
        }
        (Err(error), key) => {
            tracing::error!(bind = %key, %error, "the socket cannot be used");
            return;
        }
    };
    let done = loop {
        let accepted = tokio::select! {
            biased;
            done = &mut stop => break done.ok(),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, source)) => {
                if let Ok(stream) = stream.into_std() {
                    place(&worker, &bind_key, port, stream, source);
                }
            }
            Err(error) => {
                // Most likely no file descriptor is left; trying at once would spin.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_ERROR_PAUSE).await;
            }
        }
    };
    // Asks the kernel and not the runtime, which may not have heard yet of those who came last.
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, source)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                place(&worker, &bind_key, port, stream, source);
            }
        }
    }
    if let Some(done) = done {
        // Nobody waits when the process is ending.
        let _ = done.send(());
    }
}

/// Serves a connection here, or hands it to a worker that has clearly fewer.
fn place(worker: &Rc<Worker>, bind_key: &Arc<str>, port: u16, stream: std::net::TcpStream, source: SocketAddr) {
    worker.metrics.accepted.fetch_add(1, Ordering::Relaxed);
    let load = |id: usize| worker.peers.get(id).map_or(0, |p| p.connections.load(Ordering::Relaxed));
    let own = load(worker.id);
    if own >= MAX_CONNECTIONS_PER_WORKER {
        worker.metrics.refused.fetch_add(1, Ordering::Relaxed);
        return;
    }
    // The kernel spreads by hash, which leaves few long connections on one core as often as not. One connection of
    // difference is allowed, and an eighth where there are many, since a handover costs a wake-up.
    let least = (0..worker.peers.len()).min_by_key(|id| (load(*id), *id != worker.id)).unwrap_or(worker.id);
    let hand_over = least != worker.id && own > load(least) + load(least) / 8;
    let accepted = Accepted { stream, source, bind_key: Arc::clone(bind_key), port };
    if hand_over && let Some(peer) = worker.peers.get(least) {
        match peer.handover.try_send(accepted) {
            Ok(()) => {
                worker.metrics.handed_over.fetch_add(1, Ordering::Relaxed);
            }
            Err(full) => connection::start(worker, full.into_inner()),
        }
    } else {
        connection::start(worker, accepted);
    }
}
