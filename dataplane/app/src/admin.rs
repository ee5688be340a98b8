//! The process's own ports: admin (configuration dump, live trace), metrics and readiness. All of them only read.

mod trace;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections to one of these ports at a time.
const MAX_CONNECTIONS: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What the ports show.
pub(crate) struct Admin {
    /// The configuration in force as JSON text, made when it is asked for.
    pub(crate) dump: Box<dyn Fn() -> String + Send + Sync>,
    pub(crate) metrics: Registry,
    pub(crate) ready: Readiness,
}

/// Whether traffic may come, and if not, why.
#[derive(Clone)]
pub(crate) struct Readiness {
    ready: Arc<AtomicBool>,
    reason: Arc<ArcSwap<String>>,
}

impl Readiness {
    pub(crate) fn not_ready(reason: &str) -> Self {
        Readiness {
            ready: Arc::new(AtomicBool::new(false)),
            reason: Arc::new(ArcSwap::from_pointee(reason.to_owned())),
        }
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    pub(crate) fn set_not_ready(&self, reason: &str) {
        self.reason.store(Arc::new(reason.to_owned()));
        self.ready.store(false, Ordering::Release);
    }
}

/// Which of the ports a request came to.
#[derive(Clone, Copy)]
enum Port {
    Admin,
    Metrics,
    Readiness,
}

/// Opens the three ports and serves them until the process ends.
pub(crate) async fn serve(
    admin: Admin,
    admin_address: SocketAddr,
    metrics_address: SocketAddr,
    readiness_address: SocketAddr,
) -> anyhow::Result<()> {
    let admin = Arc::new(admin);
    let all = [
        (Port::Admin, admin_address, "admin"),
        (Port::Metrics, metrics_address, "metrics"),
        (Port::Readiness, readiness_address, "readiness"),
    ];
    for (port, address, name) in all {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on the {name} address {address}; is another proxy running?"))?;
        tracing::info!(%address, "serving {name}");
        tokio::spawn(accept(Arc::clone(&admin), port, listener));
    }
    Ok(())
}

async fn accept(admin: Arc<Admin>, port: Port, listener: TcpListener) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let admin = Arc::clone(&admin);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = match (port, request.uri().path()) {
                    (Port::Admin, "/trace") => trace::answer(&request, peer.ip()).map(Either::Right),
                    _ => answer(&admin, port, &request).map(Either::Left),
                };
                async move { Ok::<_, Infallible>(response) }
            });
            // A client that breaks off is no event.
            let _ended = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(slot);
        });
    }
}

fn answer(admin: &Admin, port: Port, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD\n".into());
    }
    match (port, request.uri().path()) {
        (Port::Admin, "/config_dump") => reply(StatusCode::OK, "application/json", (admin.dump)()),
        (Port::Admin, "/") => reply(StatusCode::OK, "text/plain", "/config_dump\n/trace\n".into()),
        (Port::Metrics, "/metrics") => {
            let mut text = String::new();
            match prometheus_client::encoding::text::encode(&mut text, &admin.metrics) {
                Ok(()) => reply(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
                Err(_) => reply(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "metrics cannot be encoded\n".into()),
            }
        }
        (Port::Readiness, "/healthz/ready") => {
            if admin.ready.ready.load(Ordering::Acquire) {
                reply(StatusCode::OK, "text/plain", "ready\n".into())
            } else {
                let reason = format!("not ready: {}\n", admin.ready.reason.load());
                reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", reason)
            }
        }
        (Port::Readiness, "/healthz/live") => reply(StatusCode::OK, "text/plain", "alive\n".into()),
        _ => reply(StatusCode::NOT_FOUND, "text/plain", "not found\n".into()),
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
