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

/// Bytes of a connection that are looked at before it is read.
const PEEKED_BYTES: usize = 256;

/// What a client speaks in plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Http1,
    Http2,
    /// Neither: the connection ends without an answer, which only HTTP/1.1 would have (RFC 9113 §3.4).
    Nothing,
}

/// In plaintext; the first bytes tell the version.
pub(super) async fn serve_plain(origin: Rc<Origin>, stream: TcpStream) {
    match Opening::run(&origin.state, peek(&stream)).await.flatten() {
        None => {}
        // With something unread the end would be a reset.
        Some(Spoken::Nothing) => drop(stream.try_read(&mut [0; PEEKED_BYTES])),
        Some(Spoken::Http2) => serve_http2(origin, stream).await,
        Some(Spoken::Http1) => serve_http1(origin, stream).await,
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

/// Finds out what a client speaks; gives None when it goes away.
async fn peek(stream: &TcpStream) -> Option<Spoken> {
    let mut first = [0; PEEKED_BYTES];
    loop {
        let got = stream.peek(&mut first).await.ok()?;
        let seen = first.get(..got)?;
        if got == 0 {
            return None;
        }
        if let Some(spoken) = spoken(seen) {
            return Some(spoken);
        }
        tokio::time::sleep(PEEK_AGAIN).await;
    }
}

/// What begins like this; None: that is not clear yet.
fn spoken(seen: &[u8]) -> Option<Spoken> {
    if seen.starts_with(HTTP2_PREFACE) {
        return Some(Spoken::Http2);
    }
    if HTTP2_PREFACE.starts_with(seen) {
        return None;
    }
    // Empty lines may come before a request (RFC 9112 §2.2).
    let first_line = seen.split(|byte| *byte == b'\n').next().filter(|line| line.len() < seen.len() && line.len() > 1);
    match first_line {
        Some(line) if !line.windows(6).any(|word| word == b" HTTP/") => Some(Spoken::Nothing),
        _ => Some(Spoken::Http1),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_what_is_spoken() {
        assert_eq!(spoken(b"PRI * HTTP/2.0\r\n"), Some(Spoken::Http2));
        assert_eq!((spoken(b"P"), spoken(b"PR")), (None, None));
        for request in
            ["POST / HTTP/1.1\r\n", "GET /a b HTTP/9.9\n", "\r\nGET / HTTP/1.1\r\n", "GET / HT", "PROPFIND /"]
        {
            assert_eq!(spoken(request.as_bytes()), Some(Spoken::Http1), "{request:?}");
        }
        for other in ["INVALID CONNECTION PREFACE\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "GET /\r\n"] {
            assert_eq!(spoken(other.as_bytes()), Some(Spoken::Nothing), "{other:?}");
        }
    }
}
