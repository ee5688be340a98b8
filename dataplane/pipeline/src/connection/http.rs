//! HTTP on a connection, with or without TLS below it.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::registry::{Connection, Kind, Run};
use super::{Opening, PEEK_AGAIN};
use crate::limits;
use crate::request::{Origin, handle};
use crate::tracked::Tracked;

/// How an HTTP/2 connection begins when the client knows that the server speaks it (RFC 9113 §3.4). No HTTP/1.1 request
/// begins with these three bytes: `PRI` is not a method in use.
const HTTP2_PREFACE: &[u8] = b"PRI";

/// In plaintext; the first bytes tell the version.
pub(super) async fn serve_plain(origin: Rc<Origin>, stream: TcpStream) {
    match Opening::run(&origin.state, speaks_http2(&stream)).await.flatten() {
        None => {}
        Some(true) => serve_http2(origin, stream).await,
        Some(false) => serve_http1(origin, stream).await,
    }
}

/// Over TLS; the handshake has told the version (RFC 9113 §3.2).
pub(super) async fn serve_encrypted(origin: Rc<Origin>, stream: TlsStream<TcpStream>) {
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        serve_http2(origin, stream).await;
    } else {
        serve_http1(origin, stream).await;
    }
}

/// Finds out whether a client speaks HTTP/2; gives None when it goes away.
async fn speaks_http2(stream: &TcpStream) -> Option<bool> {
    let mut first = [0; HTTP2_PREFACE.len()];
    loop {
        let got = stream.peek(&mut first).await.ok()?;
        let seen = first.get(..got)?;
        if got == 0 {
            return None;
        }
        if !HTTP2_PREFACE.starts_with(seen) {
            return Some(false);
        }
        if got == HTTP2_PREFACE.len() {
            return Some(true);
        }
        tokio::time::sleep(PEEK_AGAIN).await;
    }
}

async fn serve_http1<S>(origin: Rc<Origin>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = Rc::clone(&origin.state);
    state.set_kind(Kind::Http1);
    let service = service_fn(move |request: Request<Incoming>| {
        let origin = Rc::clone(&origin);
        async move { Ok::<_, Infallible>(handle(origin, request).await) }
    });
    // No timer: the registry ends connections that are idle or whose head takes too long.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_headers(limits::MAX_HEADERS)
        .max_buf_size(limits::MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A broken connection is the client's affair; requests on it have their own record.
    let _ended = Run::new(Box::pin(connection), state).await;
}

async fn serve_http2<S>(origin: Rc<Origin>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = Rc::clone(&origin.state);
    state.set_kind(Kind::Http2);
    let service = service_fn(move |request: Request<Incoming>| {
        let origin = Rc::clone(&origin);
        async move { Ok::<_, Infallible>(handle(origin, request).await) }
    });
    let connection = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::MAX_CONCURRENT_STREAMS)
        .max_header_list_size(u32::try_from(limits::MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(limits::HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(limits::HTTP2_CONNECTION_WINDOW)
        .keep_alive_interval(limits::HTTP2_PING_INTERVAL)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(stream), service);
    // A broken connection is the client's affair; requests on it have their own record.
    let _ended = Run::new(Box::pin(connection), state).await;
}

impl<S, I> Connection for Pin<Box<http1::UpgradeableConnection<TokioIo<I>, S>>>
where
    S: HttpService<Incoming, ResBody = Tracked, Error = Infallible>,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.get_mut().as_mut().graceful_shutdown();
    }
}

impl<S, I> Connection for Pin<Box<http2::Connection<TokioIo<I>, S, LocalExecutor>>>
where
    S: HttpService<Incoming, ResBody = Tracked, Error = Infallible>,
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    LocalExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, Tracked>,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.get_mut().as_mut().graceful_shutdown();
    }
}

/// Runs the tasks of an HTTP/2 connection on this thread.
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
