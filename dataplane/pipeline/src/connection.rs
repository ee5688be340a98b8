//! Serves one connection from a client: finds out which HTTP version it speaks and runs it until it ends or is drained.

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::limits;
use crate::request::{Origin, handle};
use crate::worker::{Accepted, Drain, Worker};

/// How an HTTP/2 connection begins when the client knows that the server speaks it (RFC 9113 §3.4). No HTTP/1.1 request
/// begins with these three bytes: `PRI` is not a method in use.
const HTTP2_PREFACE: &[u8] = b"PRI";

/// Counts the connection for as long as it lives.
struct Counted(Rc<Worker>);

impl Counted {
    fn new(worker: &Rc<Worker>) -> Self {
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
        let drain = worker.drain.clone();
        let Some(http2) = speaks_http2(&stream, drain.clone()).await else { return };
        let origin = Rc::new(Origin { worker, bind_key, port, source });
        if http2 {
            serve_http2(origin, stream, drain).await;
        } else {
            serve_http1(origin, stream, drain).await;
        }
        drop(counted);
    });
}

/// None when the client goes away, says nothing for too long, or the gateway closes.
async fn speaks_http2(stream: &TcpStream, mut drain: watch::Receiver<Drain>) -> Option<bool> {
    let mut first = [0; HTTP2_PREFACE.len()];
    let peek = async {
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
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        known = tokio::time::timeout(limits::HEAD_TIMEOUT, peek) => known.ok().flatten(),
        _ = drain.wait_for(|d| *d == Drain::Closing) => None,
    }
}

async fn serve_http1(origin: Rc<Origin>, stream: TcpStream, mut drain: watch::Receiver<Drain>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let origin = Rc::clone(&origin);
        async move { Ok::<_, Infallible>(handle(origin, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIMEOUT)
        .max_headers(limits::MAX_HEADERS)
        .max_buf_size(limits::MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // Broken connections are the client's affair; requests on them have their own record.
        _ended = connection.as_mut() => return,
        _ = drain.wait_for(|d| *d == Drain::Closing) => connection.as_mut().graceful_shutdown(),
    }
    let _ended = connection.await;
}

async fn serve_http2(origin: Rc<Origin>, stream: TcpStream, mut drain: watch::Receiver<Drain>) {
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
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ended = connection.as_mut() => return,
        // GOAWAY names the last stream that is served, so it can be sent as soon as the end is announced.
        _ = drain.wait_for(|d| *d != Drain::Serving) => connection.as_mut().graceful_shutdown(),
    }
    let _ended = connection.await;
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
