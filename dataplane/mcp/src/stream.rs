//! The stream that a client opens by GET: what targets say that belongs to no request.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use futures::stream::{self, SelectAll, Stream, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::answer::{Answer, Message};
use crate::call::Call;
use crate::dispatch::is_plain;
use crate::exchange;
use crate::fault::{Fault, Kind};
use crate::limits::{KEEP_ALIVE, STREAM_RETRY};
use crate::link::Link;
use crate::link::http::is_type;
use crate::modern::listen;
use crate::naming::Naming;
use crate::outbox::Letter;
use crate::protocol::{Method, code};
use crate::reply;
use crate::sse;
use crate::target::{Target, Transport};
use crate::view;

/// Answers a GET. `last_event` is where the client wants to go on.
pub(crate) async fn open(call: Rc<Call>, last_event: Option<HeaderValue>) -> Response<Body> {
    if is_plain(&call) {
        return pass(call, last_event).await;
    }
    let resumed = last_event.as_ref().and_then(|id| id.to_str().ok()).and_then(Naming::untag);
    match resumed {
        Some((index, own)) if call.federated() => resume(call, index, own).await,
        _ => merged(call),
    }
}

/// The stream of the one target, byte by byte.
async fn pass(call: Rc<Call>, last_event: Option<HeaderValue>) -> Response<Body> {
    let Some(target) = call.target(0).cloned() else { return reply::method_not_allowed("POST, DELETE") };
    match exchange::open_stream(&call, &target, last_event).await {
        Ok(response) if is_events(&response) => {
            // The session is in use for as long as the stream is read.
            let body = stream::unfold((response.into_body(), call), |(mut body, call)| async move {
                let frame = body.frame().await?;
                Some((frame, (body, call)))
            });
            let mut response = Response::new(Body::stream(StreamBody::new(body)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            response.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
        Ok(_) => reply::method_not_allowed("POST, DELETE"),
        Err(fault) if has_no_stream(&fault) => reply::method_not_allowed("POST, DELETE"),
        Err(fault) => refused(&fault),
    }
}

fn is_events(response: &Response<Body>) -> bool {
    is_type(response.headers().get(CONTENT_TYPE), "text/event-stream")
}

fn refused(fault: &Fault) -> Response<Body> {
    let status = match &fault.kind {
        Kind::Status(refused) if refused.status.is_client_error() && refused.status != StatusCode::NOT_FOUND => {
            refused.status
        }
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::Unreachable | Kind::Overloaded | Kind::CircuitOpen => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    reply::refuse(status, None, code::INTERNAL, &fault.to_string())
}

/// The specification lets a server refuse the stream with 405; some know only the path's other methods.
fn has_no_stream(fault: &Fault) -> bool {
    match &fault.kind {
        Kind::Status(refused) => matches!(
            refused.status,
            StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_FOUND
                | StatusCode::NOT_IMPLEMENTED
                | StatusCode::NOT_ACCEPTABLE
        ),
        _ => false,
    }
}

/// The rest of one target's stream that broke off.
async fn resume(call: Rc<Call>, index: usize, own: &str) -> Response<Body> {
    let target = call.target(index).cloned();
    let (Some(target), Ok(id)) = (target, HeaderValue::from_str(own)) else {
        return reply::refuse(
            StatusCode::BAD_REQUEST,
            None,
            code::INVALID_REQUEST,
            "Last-Event-ID is not of this session",
        );
    };
    let opened = match &target.transport {
        Transport::StreamableHttp(_) => exchange::open_stream(&call, &target, Some(id)).await,
        _ => return merged(call),
    };
    let response = match opened {
        Ok(response) if is_events(&response) => response,
        Ok(_) => return reply::method_not_allowed("POST, DELETE"),
        Err(fault) => return refused(&fault),
    };
    let answer = Answer::from_http(&target, response, call.io.shared.limits.message_bytes, true);
    let messages = stream::unfold((answer, call, target), |(mut answer, call, target)| async move {
        let message = answer.next().await.ok()??;
        let chunk = seen(&call, &target, message);
        Some((chunk, (answer, call, target)))
    });
    reply::events(messages)
}

/// A message as the client sees it: a resumed stream may hold responses too.
fn seen(call: &Call, target: &Target, message: Message) -> Bytes {
    let text = view::from_target(call, target, message.text);
    reply::event(call, target, text, message.event_id, message.retry)
}

type Chunks = Pin<Box<dyn Stream<Item = Bytes>>>;

/// The streams of all targets, what waits in the session, and a comment now and then.
fn merged(call: Rc<Call>) -> Response<Body> {
    let mut all: SelectAll<Chunks> = SelectAll::new();
    for target in &call.backend.targets {
        if matches!(target.transport, Transport::StreamableHttp(_)) {
            all.push(Box::pin(of_target(Rc::clone(&call), Arc::clone(target))));
        }
    }
    all.push(Box::pin(stream::unfold((), |()| async {
        tokio::time::sleep(KEEP_ALIVE).await;
        Some((Bytes::from_static(b": keep-alive\n\n"), ()))
    })));
    let letters = call.session.outbox.open();
    let own = stream::unfold((letters, call), |(mut letters, call)| async move {
        let Letter { target, text } = letters.recv().await?;
        let chunk = match target.and_then(|index| call.target(index)) {
            Some(target) => seen(&call, target, Message { text, ..Message::default() }),
            None => sse::message(&text),
        };
        Some((chunk, (letters, call)))
    });
    // When the session ends, or another stream takes over, its letters end, and the whole stream with them.
    let ending = own.map(Some).chain(stream::once(std::future::ready(None)));
    let started = stream::once(std::future::ready(Bytes::from_static(b": stream opened\n\n")));
    let both = stream::select(ending, all.map(Some));
    let chunks =
        started.chain(both.take_while(|chunk| std::future::ready(chunk.is_some())).filter_map(std::future::ready));
    let frames = chunks.map(|chunk| Ok::<_, BoxError>(Frame::data(chunk)));
    let mut response = Response::new(Body::stream(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// One target's stream, opened again for as long as the client listens.
struct Source {
    call: Rc<Call>,
    target: Arc<Target>,
    answer: Option<Answer>,
    last_event: Option<HeaderValue>,
    wait: Duration,
}

fn of_target(call: Rc<Call>, target: Arc<Target>) -> impl Stream<Item = Bytes> {
    let source = Source { call, target, answer: None, last_event: None, wait: Duration::ZERO };
    stream::unfold(source, |source| async {
        let (message, source) = source.step().await?;
        Some((seen(&source.call, &source.target, message), source))
    })
}

/// A message of a target, or of the gateway, that belongs to no request.
pub(crate) type News = (Option<usize>, String);

/// What all targets tell a session that the gateway holds.
pub(crate) fn news(call: Rc<Call>) -> impl Stream<Item = News> {
    let mut all: SelectAll<Pin<Box<dyn Stream<Item = News>>>> = SelectAll::new();
    for target in &call.backend.targets {
        if matches!(target.transport, Transport::StreamableHttp(_)) {
            let (call, target) = (Rc::clone(&call), Arc::clone(target));
            let source = Source { call, target, answer: None, last_event: None, wait: Duration::ZERO };
            all.push(Box::pin(stream::unfold(source, |source| async {
                let (message, source) = source.step().await?;
                Some(((Some(source.target.index), message.text), source))
            })));
        }
    }
    let letters = call.session.outbox.open();
    all.push(Box::pin(stream::unfold((letters, call), |(mut letters, call)| async move {
        let Letter { target, text } = letters.recv().await?;
        Some(((target, text), (letters, call)))
    })));
    all
}

impl Source {
    async fn step(mut self) -> Option<(Message, Self)> {
        loop {
            if let Some(answer) = &mut self.answer {
                let next = tokio::select! {
                    next = answer.next() => next,
                    // Listened to anew, with what is wanted now.
                    () = self.call.session.rewished.notified() => Ok(None),
                };
                if let Ok(Some(message)) = next {
                    if message.text.contains(Method::Acknowledged.as_str()) {
                        continue;
                    }
                    self.wait = STREAM_RETRY.0;
                    if let Some(id) = &message.event_id {
                        self.last_event = HeaderValue::from_str(id).ok();
                    }
                    return Some((message, self));
                }
                self.answer = None;
            }
            tokio::time::sleep(self.wait).await;
            self.wait = (self.wait * 2).clamp(STREAM_RETRY.0, STREAM_RETRY.1);
            if self.linked().await.is_modern() {
                if self.call.session.is_held() {
                    return None;
                }
                let wanted = listen::of_session(&self.call, &self.target);
                if let Ok(raw) = listen::ask(&self.call, &self.target, &wanted, &self.call.session.next_id()).await {
                    let limit = self.call.io.shared.limits.message_bytes;
                    self.answer = Some(raw.into_answer(&self.target, limit));
                }
                continue;
            }
            match exchange::open_stream(&self.call, &self.target, self.last_event.take()).await {
                Ok(response) if is_events(&response) => {
                    let limit = self.call.io.shared.limits.message_bytes;
                    self.answer = Some(Answer::from_http(&self.target, response, limit, true));
                }
                Ok(_) => return None,
                Err(fault) if has_no_stream(&fault) => return None,
                Err(fault) => tracing::debug!(reason = fault.reason(), "no stream: {fault}"),
            }
        }
    }

    /// Waits until the session has a link to the target: a listening client is no reason to make one.
    async fn linked(&self) -> Link {
        loop {
            let slot = self.call.session.slot(&self.target);
            let changed = slot.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(link) = slot.ready() {
                return link;
            }
            // A new configuration may have replaced the slot, which nothing tells the old one.
            drop(tokio::time::timeout(STREAM_RETRY.1, changed).await);
        }
    }
}
