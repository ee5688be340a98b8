//! Answers to the client: JSON, a stream of events, or an HTTP status with the reason as a JSON-RPC error.

use std::rc::Rc;
use std::sync::Arc;

use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;

use crate::answer::{Answer, Message};
use crate::call::Call;
use crate::fault::{Fault, Kind};
use crate::jsonrpc::{self, Envelope};
use crate::lists;
use crate::naming::Naming;
use crate::protocol::Method;
use crate::session::InFlight;
use crate::sse::{self, Event};
use crate::target::Target;
use crate::view;

pub(crate) fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A refusal: the HTTP status that the specification has for it, and the reason as a JSON-RPC error.
pub(crate) fn refuse(status: StatusCode, id: Option<&str>, code: i32, message: &str) -> Response<Body> {
    json(status, jsonrpc::error(id, code, message))
}

pub(crate) fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

pub(crate) fn method_not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// The answer to a request that a target failed. A federation says everything in the JSON-RPC error, because the status
/// would speak for all targets; of a single target, what the caller can do something about keeps its status.
pub(crate) fn fault(fault: &Fault, id: &str, federated: bool) -> Response<Body> {
    let Kind::Status(refused) = &fault.kind else { return json(StatusCode::OK, fault.response(id)) };
    let passed = matches!(refused.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if federated || !passed {
        return json(StatusCode::OK, fault.response(id));
    }
    let mut response = match (refused.rpc_error(), &refused.content_type) {
        (Some(_), Some(content_type)) => {
            let mut response = json(refused.status, refused.body.clone());
            response.headers_mut().insert(CONTENT_TYPE, content_type.clone());
            response
        }
        _ => json(refused.status, fault.response(id)),
    };
    if let Some(challenge) = &refused.challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge.clone());
    }
    response
}

/// A stream of events.
pub(crate) fn events(chunks: impl Stream<Item = Bytes> + 'static) -> Response<Body> {
    let frames = chunks.map(|chunk| Ok::<_, BoxError>(Frame::data(chunk)));
    let mut response = Response::new(Body::stream(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A target's answer on its way to the client.
pub(crate) struct Relay {
    pub(crate) call: Rc<Call>,
    pub(crate) target: Arc<Target>,
    pub(crate) answer: Answer,
    pub(crate) method: Method,
    /// Id of the client's request, as written.
    pub(crate) id: Box<str>,
    pub(crate) in_flight: Option<InFlight>,
}

impl Relay {
    /// JSON when the response is the first thing that the target says, else a stream.
    pub(crate) async fn into_response(mut self) -> Response<Body> {
        match self.first().await {
            Ok(Some(message)) if self.is_response(&message.text) => {
                let text = self.finish(message.text);
                json(StatusCode::OK, text.into())
            }
            Ok(Some(message)) => events(self.into_events(message)),
            Ok(None) => {
                let unfinished = self.answer.unfinished();
                fault(&unfinished, &self.id, self.call.federated())
            }
            Err(failed) => fault(&failed, &self.id, self.call.federated()),
        }
    }

    /// The response alone; what else the target says goes to the session's stream.
    pub(crate) async fn into_message(mut self) -> Bytes {
        loop {
            let next = self.first().await;
            match next {
                Ok(Some(message)) if message.text.is_empty() => {}
                Ok(Some(message)) if self.is_response(&message.text) => return self.finish(message.text).into(),
                Ok(Some(message)) => self.call.session.outbox.push(self.target.index, message.text),
                Ok(None) => return self.answer.unfinished().response(&self.id),
                Err(fault) => return fault.response(&self.id),
            }
        }
    }

    async fn first(&mut self) -> Result<Option<Message>, Fault> {
        let patience = self.target.request_timeout(&self.call.io.shared.limits);
        match tokio::time::timeout(patience, self.answer.next()).await {
            Ok(result) => result,
            Err(_) => {
                let fault = Fault::timeout(&self.target.name, "answer", patience);
                self.target.settle(&fault);
                Err(fault)
            }
        }
    }

    fn is_response(&self, text: &str) -> bool {
        match Envelope::parse(text) {
            Ok(envelope) if envelope.kind == jsonrpc::Kind::Response => {
                envelope.id == Some(&*self.id)
                    || (envelope.error.is_some() && matches!(envelope.id, None | Some("null")))
            }
            _ => false,
        }
    }

    /// The response as the client sees it.
    fn finish(&self, text: String) -> String {
        if lists::is_list(self.method) {
            let filtered = lists::filtered(&self.call, &self.target, self.method, text);
            return filtered.unwrap_or_else(|fault| String::from_utf8_lossy(&fault.response(&self.id)).into_owned());
        }
        view::response(&self.call, &self.target, self.method, text)
    }

    fn into_events(self, first: Message) -> impl Stream<Item = Bytes> {
        let state = Events { relay: self, next: Some(first), resumable: false, done: false };
        stream::unfold(state, Events::step)
    }
}

struct Events {
    relay: Relay,
    next: Option<Message>,
    /// An event had an id: when the stream ends without the response, the client comes back for the rest.
    resumable: bool,
    done: bool,
}

impl Events {
    async fn step(mut self) -> Option<(Bytes, Self)> {
        if self.done {
            return None;
        }
        let message = match self.next.take() {
            Some(message) => Ok(Some(message)),
            None => self.relay.answer.next().await,
        };
        let fault = match message {
            Ok(Some(message)) => {
                self.resumable |= message.event_id.is_some();
                let chunk = self.encode(message);
                return Some((chunk, self));
            }
            Ok(None) if self.resumable => return None,
            Ok(None) => self.relay.answer.unfinished(),
            Err(_) if self.resumable => return None,
            Err(fault) => fault,
        };
        tracing::warn!(reason = fault.reason(), "{fault}");
        self.done = true;
        let text = fault.response(&self.relay.id);
        Some((sse::message(&String::from_utf8_lossy(&text)), self))
    }

    fn encode(&mut self, message: Message) -> Bytes {
        let relay = &mut self.relay;
        let text = if message.text.is_empty() {
            message.text
        } else if relay.is_response(&message.text) {
            self.done = true;
            relay.in_flight = None;
            relay.finish(message.text)
        } else {
            view::from_target(&relay.call, &relay.target, message.text)
        };
        event(&relay.call, &relay.target, text, message.event_id, message.retry)
    }
}

/// A target's event for the client, under an id that names the target where there are several.
pub(crate) fn event(call: &Call, target: &Target, text: String, id: Option<String>, retry: Option<u64>) -> Bytes {
    if id.is_none() && retry.is_none() {
        return sse::message(&text);
    }
    let id = id.map(|id| if call.federated() { Naming::tag(target.index, &id) } else { id });
    let text = if text.contains(['\r', '\n']) { text.replace(['\r', '\n'], " ") } else { text };
    Event { id, name: if text.is_empty() { String::new() } else { "message".into() }, data: text, retry }.encode()
}
