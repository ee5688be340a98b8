//! The HTTP side of a server.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::engine::{Engine, Refused};
use crate::metrics;
use crate::prompt::Prompt;
use crate::reply::{Events, usage};

type Answer = Response<LocalBody>;

/// Either kind of body.
pub(crate) enum LocalBody {
    Full(UnsyncBoxBody<Bytes, Infallible>),
    Events(Box<Events>),
}

impl Body for LocalBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            LocalBody::Full(body) => std::pin::Pin::new(body).poll_frame(cx),
            LocalBody::Events(events) => std::pin::Pin::new(&mut **events).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            LocalBody::Full(body) => body.is_end_stream(),
            LocalBody::Events(events) => events.is_end_stream(),
        }
    }
}

/// Serves HTTP/1.1, and HTTP/2 to clients that begin with it.
pub(crate) async fn serve(listener: TcpListener, engine: Rc<Engine>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let engine = Rc::clone(&engine);
        tokio::task::spawn_local(async move {
            let mut first = [0; 3];
            let http2 = matches!(stream.peek(&mut first).await, Ok(3) if first == *b"PRI");
            let service = service_fn(move |request| answer(Rc::clone(&engine), request));
            let io = TokioIo::new(stream);
            if http2 {
                let _ = http2::Builder::new(Local).serve_connection(io, service).await;
            } else {
                let _ = http1::Builder::new().serve_connection(io, service).await;
            }
        });
    }
}

#[derive(Clone, Copy)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

async fn answer(engine: Rc<Engine>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match (&method, path.as_str()) {
        (&Method::GET, "/metrics") => show_metrics(&engine).await,
        (&Method::GET, "/health") => text(StatusCode::OK, "text/plain", String::new()),
        (&Method::GET, "/v1/models") => models(&engine),
        (&Method::POST, "/admin/config") => configure(&engine, request).await,
        (&Method::POST, "/v1/chat/completions") => complete(&engine, request, true).await,
        (&Method::POST, "/v1/completions") => complete(&engine, request, false).await,
        _ => text(StatusCode::NOT_FOUND, "application/json", r#"{"error":{"message":"not found"}}"#.into()),
    };
    let port = HeaderValue::from(engine.port);
    response.headers_mut().insert(HeaderName::from_static("x-inference-port"), port);
    Ok(response)
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut response = Response::new(LocalBody::Full(UnsyncBoxBody::new(Full::new(Bytes::from(body)))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn error(status: StatusCode, message: &str) -> Answer {
    let body = serde_json::json!({"error": {"message": message, "code": status.as_u16()}});
    text(status, "application/json", body.to_string())
}

async fn show_metrics(engine: &Engine) -> Answer {
    let (stall, status) = {
        let fake = engine.fake.borrow();
        (fake.metrics_stall, fake.metrics_status)
    };
    if stall {
        std::future::pending::<()>().await;
    }
    if let Some(status) = status.and_then(|s| StatusCode::from_u16(s).ok()) {
        return error(status, "as a test asked for");
    }
    text(StatusCode::OK, "text/plain; version=0.0.4", metrics::text(engine))
}

fn models(engine: &Engine) -> Answer {
    let p = &engine.parameters;
    let all: Vec<_> = std::iter::once(&p.model)
        .chain(&p.lora_modules)
        .map(|id| serde_json::json!({"id": id, "object": "model", "owned_by": "vllm"}))
        .collect();
    text(StatusCode::OK, "application/json", serde_json::json!({"object": "list", "data": all}).to_string())
}

async fn read(request: Request<Incoming>) -> Option<Bytes> {
    request.into_body().collect().await.ok().map(|c| c.to_bytes())
}

async fn configure(engine: &Engine, request: Request<Incoming>) -> Answer {
    let Some(body) = read(request).await else { return error(StatusCode::BAD_REQUEST, "the body broke off") };
    match serde_json::from_slice(&body) {
        Ok(fake) => {
            *engine.fake.borrow_mut() = fake;
            text(StatusCode::OK, "application/json", "{}".into())
        }
        Err(why) => error(StatusCode::BAD_REQUEST, &why.to_string()),
    }
}

async fn complete(engine: &Rc<Engine>, request: Request<Incoming>, chat: bool) -> Answer {
    let Some(body) = read(request).await else { return error(StatusCode::BAD_REQUEST, "the body broke off") };
    let (stall, status) = {
        let fake = engine.fake.borrow();
        (fake.stall, fake.status)
    };
    if stall {
        std::future::pending::<()>().await;
    }
    if let Some(status) = status.and_then(|s| StatusCode::from_u16(s).ok()) {
        return error(status, "as a test asked for");
    }
    let p = &engine.parameters;
    let prompt = match Prompt::read(&body, chat, p.block_size, p.default_max_tokens) {
        Ok(prompt) => prompt,
        Err(message) => return error(StatusCode::BAD_REQUEST, &message),
    };
    drop(body);
    let running = match engine.enter(&prompt).await {
        Ok(running) => running,
        Err(Refused::NoSuchModel) => return error(StatusCode::NOT_FOUND, "the model does not exist"),
        Err(Refused::TooLong) => return error(StatusCode::BAD_REQUEST, "prompt and answer are too long"),
        Err(Refused::QueueFull) => return error(StatusCode::TOO_MANY_REQUESTS, "the queue is full"),
    };
    engine.counters.borrow_mut().prompt_tokens += prompt.tokens as u64;
    running.prefill().await;
    if prompt.stream {
        let mut response = Response::new(LocalBody::Events(Box::new(Events::new(Rc::clone(engine), running, &prompt))));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        return response;
    }
    for _ in 1..prompt.max_tokens {
        tokio::time::sleep(running.step()).await;
    }
    engine.counters.borrow_mut().generation_tokens += prompt.max_tokens as u64;
    let words = "word ".repeat(prompt.max_tokens);
    let choice = if chat {
        serde_json::json!({"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"})
    } else {
        serde_json::json!({"index": 0, "text": words, "finish_reason": "stop"})
    };
    let object = if chat { "chat.completion" } else { "text_completion" };
    let body = format!(
        r#"{{"id":"x","object":"{object}","model":"{}","choices":[{choice}],"usage":{}}}"#,
        running.model(),
        usage(&prompt, &running)
    );
    text(StatusCode::OK, "application/json", body)
}
