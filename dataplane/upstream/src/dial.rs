//! Reaches an endpoint: a TCP connection, and TLS on it where the backend has it.

use std::sync::Arc;

use agentgateway_tls::{Client, Offer};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::address::AddressRules;
use crate::balancer::Shared;
use crate::endpoint::{ConnectionSlot, Endpoint};
use crate::error::{Error, Kind};
use crate::limits;
use crate::stream::Stream;

/// Connects, and encrypts where it is told how; `shared` counts the backend's connections, and may make this one wait. The slot counts the connection for as long as it is kept.
pub(crate) async fn dial(
    endpoint: &Arc<Endpoint>,
    rules: &AddressRules,
    tls: Option<(&Client, Offer)>,
    shared: Option<&Arc<Shared>>,
) -> Result<(Stream, ConnectionSlot), Error> {
    let address = endpoint.address();
    rules.check(address)?;
    let connect_timeout = endpoint.connect_timeout().unwrap_or(limits::CONNECT_TIMEOUT);
    let permit = match shared {
        Some(shared) => Some(shared.connection(connect_timeout).await?),
        None => None,
    };
    let Some(slot) = ConnectionSlot::take(endpoint, limits::MAX_CONNECTIONS_PER_ENDPOINT, permit) else {
        let message = format!("endpoint {address} has {} connections already", limits::MAX_CONNECTIONS_PER_ENDPOINT);
        return Err(Error::retry_safe(Kind::Overloaded, message));
    };
    let failed = |why: &dyn std::fmt::Display| failed(endpoint, why);
    let stream = match tokio::time::timeout(connect_timeout, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(&error)),
        Err(_) => return Err(failed(&format_args!("no answer within {} ms", connect_timeout.as_millis()))),
    };
    if let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) {
        rules.check_connected(local, peer)?;
    }
    stream.set_nodelay(true).map_err(|e| failed(&e))?;
    let stream = match tls {
        None => Stream::Plain(stream),
        Some((tls, offer)) => Stream::Tls(Box::new(handshake(endpoint, tls, stream, offer).await?)),
    };
    endpoint.connected();
    Ok((stream, slot))
}

/// No connection came about; others are preferred for a while.
pub(crate) fn failed(endpoint: &Endpoint, why: &dyn std::fmt::Display) -> Error {
    endpoint.avoid_for(limits::AVOID_AFTER_CONNECT_FAILURE);
    Error::retry_safe(Kind::Connect, format!("no connection to endpoint {}: {why}", endpoint.address()))
}

async fn handshake(
    endpoint: &Endpoint,
    tls: &Client,
    stream: TcpStream,
    offer: Offer,
) -> Result<TlsStream<TcpStream>, Error> {
    let connector = TlsConnector::from(Arc::clone(tls.config(offer)));
    let handshake = connector.connect(tls.server_name().clone(), stream);
    let limit = endpoint.connect_timeout().unwrap_or(limits::TLS_HANDSHAKE_TIMEOUT);
    let why = match tokio::time::timeout(limit, handshake).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no end within {} ms", limit.as_millis()),
    };
    endpoint.avoid_for(limits::AVOID_AFTER_CONNECT_FAILURE);
    Err(Error::retry_safe(Kind::Tls, format!("TLS handshake with endpoint {} failed: {why}", endpoint.address())))
}
