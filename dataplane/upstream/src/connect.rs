//! Opens an HTTP connection to an endpoint.

use std::sync::Arc;

use agentgateway_tls::Offer;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;

use crate::address::AddressRules;
use crate::balancer::Shared;
use crate::body::Body;
use crate::dial::{dial, failed};
use crate::endpoint::{ConnectionSlot, Endpoint, Protocol};
use crate::error::{Error, Kind};
use crate::limits;
use crate::stream::Stream;

/// The sending half of a connection.
pub(crate) enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// Connects and starts the connection's task on this thread. `protocol` is the endpoint's, or a version that a request needs
/// where the endpoint leaves it open.
pub(crate) async fn connect(
    endpoint: &Arc<Endpoint>,
    protocol: Protocol,
    rules: &AddressRules,
    shared: Option<&Arc<Shared>>,
) -> Result<Sender, Error> {
    let offer = match protocol {
        Protocol::Http1 => Offer::Http1,
        Protocol::Http2 => Offer::Http2,
        Protocol::Negotiated => Offer::AnyHttp,
    };
    let (stream, slot) = dial(endpoint, rules, endpoint.tls().map(|tls| (tls.as_ref(), offer)), shared).await?;
    match stream {
        Stream::Plain(stream) if protocol == Protocol::Http2 => start_http2(endpoint, stream, slot).await,
        Stream::Plain(stream) => start_http1(endpoint, stream, slot).await,
        Stream::Tls(stream) => {
            let chosen = chosen(&stream);
            if chosen == Protocol::Http2 {
                start_http2(endpoint, stream, slot).await
            } else if protocol == Protocol::Http2 {
                let message = format!("endpoint {} does not speak HTTP/2 over TLS", endpoint.address());
                Err(Error::new(Kind::Protocol, message))
            } else {
                start_http1(endpoint, stream, slot).await
            }
        }
    }
}

/// What the endpoint chose; one that knows nothing of ALPN speaks HTTP/1.1 (RFC 9113 §3.2).
fn chosen<S>(stream: &TlsStream<S>) -> Protocol {
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 }
}

async fn start_http1<S>(endpoint: &Endpoint, stream: S, slot: ConnectionSlot) -> Result<Sender, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(limits::MAX_RESPONSE_HEADERS)
        .max_buf_size(limits::MAX_RESPONSE_HEAD)
        .title_case_headers(endpoint.title_case_headers())
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| failed(endpoint, &e))?;
    tokio::task::spawn_local(async move {
        // What goes wrong is told to the request that is waiting; without one there is nobody to tell.
        let _closed = connection.with_upgrades().await;
        drop(slot);
    });
    Ok(Sender::Http1(sender))
}

async fn start_http2<S>(endpoint: &Endpoint, stream: S, slot: ConnectionSlot) -> Result<Sender, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits::MAX_RESPONSE_HEAD).unwrap_or(u32::MAX))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| failed(endpoint, &e))?;
    tokio::task::spawn_local(async move {
        let _closed = connection.await;
        drop(slot);
    });
    Ok(Sender::Http2(sender))
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
