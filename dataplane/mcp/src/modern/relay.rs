//! A target's answer on its way to a client without a session.

use std::rc::Rc;
use std::sync::Arc;

use agentgateway_upstream::Body;
use bytes::Bytes;
use futures::stream::{self, Stream};
use http::header::WWW_AUTHENTICATE;
use http::{Response, StatusCode};

use crate::answer::{Answer, Message};
use crate::call::Call;
use crate::exchange;
use crate::fault::{Fault, Kind};
use crate::jsonrpc::{self, Envelope, members, quote};
use crate::link::Link;
use crate::lists;
use crate::modern::check::{Refusal, status};
use crate::modern::parked::{Parked, Question, pump};
use crate::modern::translate::{self, Caching, capability, error_code, required};
use crate::protocol::{Method, code};
use crate::reply;
use crate::splice::Splice;
use crate::sse;
use crate::target::Target;
use crate::view;

/// A target's refusal, for a client without a session: what the target said of a JSON-RPC error keeps its status.
pub(crate) fn fault(fault: &Fault, id: &str) -> Response<Body> {
    let error = fault.error_object();
    let body = jsonrpc::raw_error(Some(id), &error);
    let Kind::Status(refused) = &fault.kind else {
        let code = std::str::from_utf8(&body).ok().and_then(error_code).unwrap_or(code::INTERNAL);
        return reply::json(status(code), body);
    };
    let passes = refused.rpc_error().is_some()
        || matches!(refused.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
    let mut response = reply::json(if passes { refused.status } else { StatusCode::OK }, body);
    if let Some(challenge) = refused.challenge.as_ref().filter(|_| passes) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge.clone());
    }
    response
}

/// How a client's request was sent on.
pub(crate) struct Sent {
    pub(crate) call: Rc<Call>,
    pub(crate) target: Arc<Target>,
    pub(crate) link: Link,
    pub(crate) method: Method,
    /// Id of the client's request, as written.
    pub(crate) id: Box<str>,
    /// Its id at the target, which is also its progress token there.
    pub(crate) own_id: Box<str>,
    /// The client's progress token, as written.
    pub(crate) progress: Option<Box<str>>,
    /// The client wants to see log messages.
    pub(crate) logs: bool,
    /// What the client can do: a JSON object.
    pub(crate) capabilities: Box<str>,
}

/// A message of a target, as the client gets it.
enum Seen {
    /// The answer.
    Response(String),
    Other(String),
    Nothing,
    /// A question that the client may answer with its next request.
    Question(Question),
}

impl Sent {
    /// JSON when the response is the first thing that the target says, else a stream.
    pub(crate) async fn into_response(self, mut answer: Answer) -> Response<Body> {
        loop {
            let patience = self.target.request_timeout(&self.call.io.shared.limits);
            let message = match tokio::time::timeout(patience, answer.next()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return fault(&answer.unfinished(), &self.id),
                Ok(Err(why)) => return fault(&why, &self.id),
                Err(_) => {
                    let late = Fault::timeout(&self.target.name, "answer", patience);
                    self.target.settle(&late);
                    return fault(&late, &self.id);
                }
            };
            match self.see(message).await {
                Seen::Response(text) => return response(text),
                Seen::Question(question) => return response(self.park(answer, question)),
                Seen::Nothing => {}
                Seen::Other(text) => {
                    let state = Events { sent: self, answer: Some(answer), first: Some(text) };
                    return reply::events(state.into_stream());
                }
            }
        }
    }

    async fn see(&self, message: Message) -> Seen {
        let text = message.text;
        if text.is_empty() {
            return Seen::Nothing;
        }
        let Ok(envelope) = Envelope::parse(&text) else { return Seen::Nothing };
        let method = Method::parse(envelope.method());
        match envelope.kind {
            jsonrpc::Kind::Response => {
                let is_ours = envelope.id == Some(&*self.own_id)
                    || (envelope.error.is_some() && matches!(envelope.id, None | Some("null")));
                if is_ours { Seen::Response(self.finish(&text)) } else { Seen::Nothing }
            }
            jsonrpc::Kind::Notification => match method {
                Method::LogMessage if !self.logs => Seen::Nothing,
                Method::Progress => self.progress(&envelope),
                Method::LogMessage => Seen::Other(text),
                _ if self.link.is_modern() => Seen::Other(view::from_target(&self.call, &self.target, text)),
                _ => Seen::Nothing,
            },
            jsonrpc::Kind::Request => self.asked(&envelope, method).await,
        }
    }

    fn progress(&self, envelope: &Envelope<'_>) -> Seen {
        let token = envelope.params.and_then(|params| view::member(params, ["progressToken"]));
        match (token, &self.progress) {
            (Some(own), Some(token)) => {
                let mut splice = Splice::new(envelope.text);
                splice.replace(own, token.to_string());
                Seen::Other(splice.finish())
            }
            _ => Seen::Nothing,
        }
    }

    /// A target of the handshake protocol asks the client something.
    async fn asked(&self, envelope: &Envelope<'_>, method: Method) -> Seen {
        let Some(id) = envelope.id else { return Seen::Nothing };
        let Some(needed) = capability(method) else {
            let answer = match method {
                Method::Ping => jsonrpc::result(id, "{}"),
                _ => jsonrpc::error(Some(id), code::METHOD_NOT_FOUND, "Method not found"),
            };
            self.tell(answer).await;
            return Seen::Nothing;
        };
        if !matches!(members(&self.capabilities, [needed]), Ok([Some(_)])) {
            let message = format!("the client has not declared the capability \"{needed}\"");
            self.tell(jsonrpc::error(Some(id), code::METHOD_NOT_FOUND, &message)).await;
            let error = jsonrpc::error_object(code::MISSING_CAPABILITY, &message, Some(&required(needed)));
            let text = jsonrpc::raw_error(Some(&self.id), &error);
            return Seen::Response(String::from_utf8_lossy(&text).into_owned());
        }
        Seen::Question(Question {
            id: id.into(),
            method: envelope.method().into(),
            params: envelope.params.map(Into::into),
        })
    }

    async fn tell(&self, message: Bytes) {
        let told = exchange::notify(&self.call.io, &self.target, &self.link, &self.call.forwarded, message);
        match tokio::time::timeout(crate::limits::NOTIFY, told).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => tracing::debug!(reason = why.reason(), "a target's question was not answered: {why}"),
            Err(_) => tracing::debug!(mcp_target = %self.target.name, "a target's question was not answered in time"),
        }
    }

    /// The response as the client sees it.
    fn finish(&self, text: &str) -> String {
        let text = if lists::is_list(self.method) {
            match lists::filtered(&self.call, &self.target, self.method, text.to_owned()) {
                Ok(text) if self.call.rules.is_open() => text,
                Ok(text) => private(text),
                Err(why) => return String::from_utf8_lossy(&why.response(&self.id)).into_owned(),
            }
        } else {
            view::response(&self.call, &self.target, self.method, text.to_owned())
        };
        if self.link.is_modern() && self.own_id == self.id {
            return text;
        }
        let known = self.target.known();
        let server = known.as_ref().and_then(|known| view::member(&known.text, ["serverInfo"])).unwrap_or("{}");
        translate::response(&text, &self.id, self.method, server)
    }

    /// Lets the call wait, and gives the result that asks the client.
    fn park(&self, answer: Answer, question: Question) -> String {
        let session = self.call.session.id;
        let parked = Parked {
            session,
            target: (self.target.index, Arc::clone(&self.target.name)),
            method: self.method,
            own_id: self.own_id.clone(),
            question: question.clone(),
            rest: pump(answer),
        };
        let shared = &self.call.io.shared;
        let state = match shared.parked.put(parked) {
            Ok(Some(id)) => shared.sealer.seal_state(&id, &session).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match state {
            Ok(Some(state)) => input_required(&self.id, &question, &state),
            Ok(None) => self.failed("the gateway has as many waiting calls as it may have; try again later"),
            Err(error) => {
                tracing::error!(%error, "no call can wait");
                self.failed("the gateway cannot make request states")
            }
        }
    }

    fn failed(&self, message: &str) -> String {
        let text = jsonrpc::error(Some(&self.id), code::INTERNAL, message);
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Name of a question in a result; there is one at a time.
pub(crate) const QUESTION: &str = "question";

/// The response that asks the client a target's question.
pub(crate) fn input_required(id: &str, question: &Question, state: &str) -> String {
    let method = quote(&question.method);
    let params = question.params.as_deref().map(|params| format!(r#","params":{params}"#)).unwrap_or_default();
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required","inputRequests":{{"{QUESTION}":{{"method":{method}{params}}}}},"requestState":{}}}}}"#,
        quote(state)
    )
}

/// A response under the HTTP status that the protocol has for it.
pub(crate) fn response(text: String) -> Response<Body> {
    // Most results say nothing of errors, and need no second look.
    let code = if text.contains("\"error\"") { error_code(&text) } else { None };
    reply::json(code.map_or(StatusCode::OK, status), text.into())
}

/// A list that was cut for its caller is for nobody else.
fn private(text: String) -> String {
    let scope = Envelope::parse(&text).ok().and_then(|e| view::member(e.result?, ["cacheScope"]));
    let Some(scope) = scope else { return text };
    let mut splice = Splice::new(&text);
    splice.replace(scope, r#""private""#.to_owned());
    splice.finish()
}

/// The result of a federation's list.
pub(crate) fn list_result(list: &str, caching: Caching) -> String {
    translate::with_members(list, &format!(r#""resultType":"complete",{}"#, caching.members()))
}

struct Events {
    sent: Sent,
    /// None after the response.
    answer: Option<Answer>,
    first: Option<String>,
}

impl Events {
    fn into_stream(self) -> impl Stream<Item = Bytes> {
        stream::unfold(self, Self::step)
    }

    async fn step(mut self) -> Option<(Bytes, Self)> {
        if let Some(first) = self.first.take() {
            return Some((sse::message(&first), self));
        }
        loop {
            let answer = self.answer.as_mut()?;
            let next = match answer.next().await {
                Ok(Some(message)) => Ok(message),
                Ok(None) => Err(answer.unfinished()),
                Err(why) => Err(why),
            };
            let seen = match next {
                Ok(message) => self.sent.see(message).await,
                Err(why) => self.failed(&why),
            };
            let text = match seen {
                Seen::Nothing => continue,
                Seen::Other(text) => return Some((sse::message(&text), self)),
                Seen::Response(text) => {
                    self.answer = None;
                    text
                }
                Seen::Question(question) => self.sent.park(self.answer.take()?, question),
            };
            return Some((sse::message(&text), self));
        }
    }

    fn failed(&self, why: &Fault) -> Seen {
        tracing::warn!(reason = why.reason(), "{why}");
        Seen::Response(String::from_utf8_lossy(&why.response(&self.sent.id)).into_owned())
    }
}

/// What a refusal of the gateway's own looks like.
pub(crate) fn refused(refusal: Refusal, id: &str) -> Response<Body> {
    refusal.into_response(Some(id))
}
