//! The two small HTTP servers: health and metrics.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections served at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// Time a client has to send its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer of one of these servers.
pub(crate) struct Page {
    /// Status code.
    pub(crate) status: StatusCode,
    /// Media type of the body.
    pub(crate) content_type: &'static str,
    /// The body.
    pub(crate) body: String,
}

impl Page {
    /// Plain text.
    pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Page {
        Page { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// Opens the port and serves `pages`, a function from path to answer, until the process ends.
pub(crate) async fn serve(
    address: SocketAddr,
    pages: impl Fn(&str) -> Page + Send + Sync + 'static,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    tokio::spawn(accept(listener, Arc::new(pages)));
    Ok(bound)
}

async fn accept(listener: TcpListener, pages: Arc<impl Fn(&str) -> Page + Send + Sync + 'static>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = places.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let pages = pages.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let page = pages(request.uri().path());
                async move {
                    let mut response = Response::new(Full::new(Bytes::from(page.body)));
                    *response.status_mut() = page.status;
                    response
                        .headers_mut()
                        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(page.content_type));
                    Ok::<_, Infallible>(response)
                }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "connection ended early");
            }
            drop(place);
        });
    }
}
