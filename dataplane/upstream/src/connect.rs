//! Opens a connection to an endpoint.

use std::sync::Arc;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::address::AddressRules;
use crate::body::Body;
use crate::endpoint::{ConnectionSlot, Endpoint, Protocol};
use crate::error::{Error, Kind};
use crate::limits;

/// The sending half of a connection.
pub(crate) enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// Connects and starts the connection's task on this thread.
pub(crate) async fn connect(endpoint: &Arc<Endpoint>, rules: &AddressRules) -> Result<Sender, Error> {
    let address = endpoint.address();
    rules.check(address)?;
    let Some(slot) = ConnectionSlot::take(endpoint, limits::MAX_CONNECTIONS_PER_ENDPOINT) else {
        let message = format!("endpoint {address} has {} connections already", limits::MAX_CONNECTIONS_PER_ENDPOINT);
        return Err(Error::retry_safe(Kind::Overloaded, message));
    };
    let failed = |why: &dyn std::fmt::Display| {
        endpoint.avoid_for(limits::AVOID_AFTER_CONNECT_FAILURE);
        Error::retry_safe(Kind::Connect, format!("no connection to endpoint {address}: {why}"))
    };
    let stream = match tokio::time::timeout(limits::CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(&error)),
        Err(_) => return Err(failed(&format_args!("no answer within {} s", limits::CONNECT_TIMEOUT.as_secs()))),
    };
    if let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) {
        rules.check_connected(local, peer)?;
    }
    stream.set_nodelay(true).map_err(|e| failed(&e))?;
    endpoint.connected();
    match endpoint.protocol() {
        Protocol::Http1 => {
            let (sender, connection) = http1::Builder::new()
                .max_headers(limits::MAX_RESPONSE_HEADERS)
                .max_buf_size(limits::MAX_RESPONSE_HEAD)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|e| failed(&e))?;
            tokio::task::spawn_local(async move {
                // What goes wrong is told to the request that is waiting; without one there is nobody to tell.
                let _closed = connection.with_upgrades().await;
                drop(slot);
            });
            Ok(Sender::Http1(sender))
        }
        Protocol::H2c => {
            let (sender, connection) = http2::Builder::new(LocalExecutor)
                .timer(TokioTimer::new())
                .max_header_list_size(u32::try_from(limits::MAX_RESPONSE_HEAD).unwrap_or(u32::MAX))
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|e| failed(&e))?;
            tokio::task::spawn_local(async move {
                let _closed = connection.await;
                drop(slot);
            });
            Ok(Sender::Http2(sender))
        }
    }
}

/// Runs an HTTP/2 connection's inner tasks on this thread.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
