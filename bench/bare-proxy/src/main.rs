//! The floor that the proxy is measured against: the least that a reverse proxy on hyper can do. HTTP/1.1 only, one
//! thread, pooled connections, nothing else.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::Context;
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Pool = Rc<RefCell<Vec<SendRequest<Incoming>>>>;
type Answer = Response<Either<Incoming, Empty<Bytes>>>;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut address = || -> anyhow::Result<SocketAddr> {
        Ok(arguments.next().context("usage: bare-proxy LISTEN UPSTREAM")?.parse()?)
    };
    let (listen, upstream) = (address()?, address()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(listen, upstream))
}

async fn serve(listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let pool = Pool::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let pool = Rc::clone(&pool);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| {
                let pool = Rc::clone(&pool);
                async move { Ok::<_, Infallible>(proxy(request, &pool, upstream).await) }
            });
            let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn proxy(request: Request<Incoming>, pool: &Pool, upstream: SocketAddr) -> Answer {
    exchange(request, pool, upstream).await.unwrap_or_else(|_| {
        let mut failed = Response::new(Either::Right(Empty::new()));
        *failed.status_mut() = StatusCode::BAD_GATEWAY;
        failed
    })
}

async fn exchange(request: Request<Incoming>, pool: &Pool, upstream: SocketAddr) -> anyhow::Result<Answer> {
    let pooled = pool.borrow_mut().pop();
    let mut sender = match pooled {
        Some(sender) if sender.is_ready() => sender,
        _ => connect(upstream).await?,
    };
    let response = sender.send_request(request).await?;
    pool.borrow_mut().push(sender);
    Ok(response.map(Either::Left))
}

async fn connect(upstream: SocketAddr) -> anyhow::Result<SendRequest<Incoming>> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(async move {
        let _ended = connection.await;
    });
    Ok(sender)
}
