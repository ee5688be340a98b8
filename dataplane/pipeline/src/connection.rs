//! Serves one connection from a client: finds out which HTTP version it speaks and runs it until it ends or is drained.

pub(crate) mod registry;

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::forwarded::Client;
use crate::limits;
use crate::request::{Origin, handle};
use crate::tracked::Tracked;
use crate::worker::{Accepted, Worker};
use registry::{Connection, Run};

/// How an HTTP/2 connection begins when the client knows that the server speaks it (RFC 9113 §3.4). No HTTP/1.1 request
/// begins with these three bytes: `PRI` is not a method in use.
const HTTP2_PREFACE: &[u8] = b"PRI";
/// Pause before a second look at a beginning that is too short to tell.
const PEEK_AGAIN: std::time::Duration = std::time::Duration::from_millis(10);

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

/// Starts a task that serves the connection on this worker.
pub(crate) fn start(worker: &Rc<Worker>, accepted: Accepted) {
    let counted = Counted::new(worker);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let Accepted { stream, source, bind_key, port } = accepted;
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        // Without it small responses wait for the client's acknowledgement of the one before.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let state = worker.registry.add();
        let Some(http2) = Run::new(Peek::new(&stream), Rc::clone(&state)).await.flatten() else { return };
        state.set_http2(http2);
        let origin = Rc::new(Origin { worker, bind_key, port, source, state, client: Client::default() });
        if http2 {
            serve_http2(origin, stream).await;
        } else {
            serve_http1(origin, stream).await;
        }
        drop(counted);
    });
}

/// Finds out whether a client speaks HTTP/2; gives None when it goes away, or when the gateway closes first.
struct Peek<'a> {
    speaks_http2: Pin<Box<dyn Future<Output = Option<bool>> + 'a>>,
    closing: bool,
}

impl<'a> Peek<'a> {
    fn new(stream: &'a TcpStream) -> Self {
        Peek { speaks_http2: Box::pin(speaks_http2(stream)), closing: false }
    }
}

impl Future for Peek<'_> {
    type Output = Option<bool>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<bool>> {
        if self.closing {
            return Poll::Ready(None);
        }
        self.speaks_http2.as_mut().poll(cx)
    }
}

impl Connection for Peek<'_> {
    fn shut_down(mut self: Pin<&mut Self>) {
        self.closing = true;
    }
}

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
        // One or two bytes are there; a peek would return them again at once.
        tokio::time::sleep(PEEK_AGAIN).await;
    }
}

async fn serve_http1(origin: Rc<Origin>, stream: TcpStream) {
    let state = Rc::clone(&origin.state);
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

async fn serve_http2(origin: Rc<Origin>, stream: TcpStream) {
    let state = Rc::clone(&origin.state);
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

impl<S> Connection for Pin<Box<http1::UpgradeableConnection<TokioIo<TcpStream>, S>>>
where
    S: HttpService<Incoming, ResBody = Tracked, Error = Infallible>,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.get_mut().as_mut().graceful_shutdown();
    }
}

impl<S> Connection for Pin<Box<http2::Connection<TokioIo<TcpStream>, S, LocalExecutor>>>
where
    S: HttpService<Incoming, ResBody = Tracked, Error = Infallible>,
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
