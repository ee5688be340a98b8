//! Streams over real connections on this machine.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;

use super::*;
use crate::auth::Status;
use crate::tests::{cluster, local, upstream};

const PATH: &str = "/test.Service/Talk";

/// A piece of the service's answer.
type Piece = Frame<Bytes>;

/// The answer's body: what is sent into a channel.
struct Pieces(mpsc::Receiver<Piece>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(Ok))
    }
}

/// A service on this machine that answers each request so.
async fn serve<F: Future<Output = ()> + 'static>(
    answer: impl Fn(Incoming, mpsc::Sender<Piece>) -> F + Clone + 'static,
) -> Stream<Status, Status> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("address").port();
    tokio::task::spawn_local(async move {
        let (stream, _) = listener.accept().await.expect("accepts");
        let service = service_fn(move |request: Request<Incoming>| {
            assert_eq!(request.uri().path(), PATH);
            let (pieces, body) = mpsc::channel(1);
            tokio::task::spawn_local(answer(request.into_body(), pieces));
            async { Ok::<_, Infallible>(http::Response::new(Pieces(body))) }
        });
        let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ended = served.serve_connection(TokioIo::new(stream), service).await;
    });
    Stream::open(&upstream(), &cluster(port), PATH, None, 1024)
}

fn message(code: i32) -> Status {
    Status { code, message: "m".repeat(100) }
}

fn piece(code: i32) -> Piece {
    Frame::data(frame::encode(&message(code)))
}

fn trailers(status: &'static str) -> Piece {
    let pairs = [(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static(status))];
    Frame::trailers(HeaderMap::from_iter(pairs))
}

#[tokio::test]
async fn messages_go_both_ways_in_any_order() {
    local(async {
        let mut stream = serve(|mut questions, answers| async move {
            answers.send(piece(0)).await.expect("sends before it is asked");
            let mut count = 0;
            while let Some(data) = questions.frame().await {
                let data = data.expect("reads").into_data().expect("data");
                if data.is_empty() {
                    break;
                }
                count += 1;
                let question: Status = frame::decode(&data).expect("one");
                assert_eq!(question, message(count));
                // Two answers to one question, cut at an odd place.
                let both = [frame::encode(&message(count * 10)), frame::encode(&message(count * 10 + 1))].concat();
                let (first, second) = both.split_at(3);
                for part in [first, second] {
                    answers.send(Frame::data(Bytes::copy_from_slice(part))).await.expect("sends");
                }
            }
            answers.send(trailers("0")).await.expect("ends");
        })
        .await;
        assert_eq!(stream.recv().await.expect("answers"), Some(message(0)));
        for n in 1..3 {
            stream.ready().await.expect("has room");
            stream.send(&message(n));
            assert_eq!(stream.recv().await.expect("answers"), Some(message(n * 10)));
            assert_eq!(stream.recv().await.expect("answers"), Some(message(n * 10 + 1)));
        }
        stream.finish();
        assert_eq!(stream.recv().await.expect("ends"), None);
        assert_eq!(stream.recv().await.expect("stays so"), None);
        assert!(stream.ready().await.is_err());
    })
    .await;
}

#[tokio::test]
async fn who_sends_much_waits_for_a_service_that_does_not_read() {
    local(async {
        let mut stream = serve(|questions, answers| async move {
            let _kept = (questions, answers);
            std::future::pending::<()>().await;
        })
        .await;
        let mut sent = 0;
        let filled = async {
            loop {
                stream.ready().await.expect("is open");
                stream.send(&Status { code: 0, message: "x".repeat(16 * 1024) });
                sent += 1;
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(500), filled).await.is_err());
        // The queue's 64 KiB, and what the connection takes.
        assert!((4..200).contains(&sent), "{sent}");
    })
    .await;
}

#[tokio::test]
async fn failures_are_told_once_and_then_it_is_over() {
    let failures: [(&str, Vec<Piece>); 6] = [
        ("gRPC status 13", vec![trailers("13")]),
        ("without a grpc-status", vec![]),
        ("within a message", vec![Frame::data(Bytes::from_static(b"\0\0")), trailers("0")]),
        ("at most 1024", vec![Frame::data(Bytes::from_static(b"\0\0\0\xff\xff"))]),
        ("compressed", vec![Frame::data(Bytes::from_static(b"\x01\0\0\0\0"))]),
        ("a message of it", vec![Frame::data(Bytes::from_static(b"\0\0\0\0\x01\xff"))]),
    ];
    for (expected, pieces) in failures {
        let pieces = std::rc::Rc::new(std::cell::RefCell::new(pieces));
        let error = local(async move {
            let mut stream = serve(move |questions, answers| {
                let pieces = std::mem::take(&mut *pieces.borrow_mut());
                async move {
                    for piece in pieces {
                        answers.send(piece).await.expect("sends");
                    }
                    drop(questions);
                }
            })
            .await;
            let error = stream.recv().await.expect_err(expected);
            assert_eq!(stream.recv().await.expect("is over"), None);
            error
        })
        .await;
        assert!(error.to_string().contains(expected), "{error}, not {expected}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told_of() {
    local(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        let mut stream: Stream<Status, Status> = Stream::open(&upstream(), &cluster(port), PATH, None, 1024);
        stream.send(&message(1));
        assert!(matches!(stream.recv().await, Err(Error::Upstream(_))));
    })
    .await;
}

#[tokio::test]
async fn a_dropped_stream_cancels_the_call() {
    local(async {
        let (told, mut heard) = mpsc::channel(1);
        let mut stream = serve(move |mut questions, answers| {
            let told = told.clone();
            async move {
                questions.frame().await.expect("a question").expect("reads");
                answers.send(piece(1)).await.expect("answers");
                let next = questions.frame().await;
                told.send(next.is_some_and(|frame| frame.is_err())).await.expect("is heard");
            }
        })
        .await;
        stream.send(&message(1));
        stream.recv().await.expect("answers");
        drop(stream);
        assert_eq!(heard.recv().await, Some(true), "the service is told that nobody waits any more");
    })
    .await;
}
