//! Calls over real connections on this machine.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use agentgateway_upstream::{AddressRules, Cluster, EndpointRegistry, Host, Protocol, Resolver, Upstream};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::auth::{self, CheckRequest, CheckResponse, Status};
use crate::{Error, frame, unary};

const LIMIT: Duration = Duration::from_secs(2);

/// How the service answers: headers of its answer, message, trailers; None: not at all.
type Answer = Option<(Response<()>, Bytes, HeaderMap)>;

/// Asks a service on this machine that answers so.
async fn ask(answer: impl Fn(Request<Bytes>) -> Answer + Clone + Send + 'static) -> Result<CheckResponse, Error> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("address").port();
    tokio::task::spawn_local(async move {
        let (stream, _) = listener.accept().await.expect("accepts");
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let answer = answer.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.expect("reads").to_bytes();
                let Some((response, message, trailers)) = answer(Request::from_parts(head, body)) else {
                    return std::future::pending().await;
                };
                let trailers = std::future::ready((!trailers.is_empty()).then_some(Ok(trailers)));
                Ok::<_, Infallible>(response.map(|()| Full::new(message).with_trailers(trailers)))
            }
        });
        let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ended = served.serve_connection(TokioIo::new(stream), service).await;
    });
    unary(&upstream(), &cluster(port), auth::CHECK, None, &CheckRequest::default(), LIMIT).await
}

pub(crate) fn upstream() -> Upstream {
    let rules = AddressRules { allow_loopback: true, ..AddressRules::default() };
    Upstream::new(Resolver::system(tokio::runtime::Handle::current()), Arc::new(rules))
}

/// A gRPC service on this machine.
pub(crate) fn cluster(port: u16) -> Arc<Cluster> {
    let host = Host { name: "127.0.0.1".into(), port };
    let authority = format!("127.0.0.1:{port}").parse().expect("authority");
    Arc::new(Cluster::hosts(authority, vec![host], Protocol::Http2.into(), Arc::new(EndpointRegistry::default())))
}

pub(crate) async fn local<T>(future: impl Future<Output = T>) -> T {
    tokio::task::LocalSet::new().run_until(future).await
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(n, v)| (n.parse().expect("name"), v.parse().expect("value"))).collect()
}

fn denied() -> CheckResponse {
    CheckResponse {
        status: Some(Status { code: 7, message: "no".into() }),
        http_response: None,
        dynamic_metadata: Bytes::new(),
    }
}

#[tokio::test]
async fn a_call_carries_what_grpc_wants_and_brings_the_answer() {
    let answer = local(ask(|request| {
        assert_eq!(request.uri().path(), auth::CHECK);
        assert_eq!(request.headers()["content-type"], "application/grpc");
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.headers()["grpc-timeout"], "2000m");
        frame::decode::<CheckRequest>(request.body()).expect("a question");
        Some((Response::default(), frame::encode(&denied()), headers(&[("grpc-status", "0")])))
    }))
    .await;
    assert_eq!(answer.expect("answers"), denied());
}

#[tokio::test]
async fn a_status_is_an_error_in_headers_and_in_trailers() {
    let failed = headers(&[("grpc-status", "14"), ("grpc-message", "away")]);
    let in_trailers = failed.clone();
    let error = local(ask(move |_| Some((Response::default(), Bytes::new(), in_trailers.clone())))).await;
    assert!(matches!(&error, Err(Error::Status { code: 14, message, .. }) if message == "away"), "{error:?}");
    let error = local(ask(move |_| {
        let mut response = Response::default();
        *response.headers_mut() = failed.clone();
        Some((response, Bytes::new(), HeaderMap::new()))
    }))
    .await;
    assert!(matches!(error, Err(Error::Status { code: 14, .. })), "{error:?}");
}

#[tokio::test]
async fn what_is_no_grpc_answer_is_an_error() {
    let plain = |status: u16| Response::builder().status(status).body(()).expect("response");
    let message = frame::encode(&denied());
    for (response, trailers) in [(plain(404), headers(&[("grpc-status", "0")])), (plain(200), HeaderMap::new())] {
        let message = message.clone();
        let answer = move |_| {
            let mut copy = Response::default();
            *copy.status_mut() = response.status();
            Some((copy, message.clone(), trailers.clone()))
        };
        assert!(matches!(local(ask(answer)).await, Err(Error::Answer(_))));
    }
    let huge = Bytes::from(vec![0; crate::limits::MAX_ANSWER_BYTES + 1]);
    let error = local(ask(move |_| Some((Response::default(), huge.clone(), headers(&[("grpc-status", "0")]))))).await;
    assert!(error.expect_err("too large").to_string().contains("more than"));
}

#[tokio::test]
async fn a_silent_service_is_given_up() {
    let start = std::time::Instant::now();
    assert!(matches!(local(ask(|_| None)).await, Err(Error::Timeout(_))));
    assert!(start.elapsed() >= LIMIT);
}
