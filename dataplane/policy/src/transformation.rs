//! Changes to requests and responses by CEL expressions.
//!
//! Values are computed from the message as it came, before anything of it is changed. A header whose expression has no value is removed
//! and never left as the sender wrote it: `x-user: jwt.sub` must not let a client without a token name its user. A body that cannot
//! be transformed, and a path, method, host or status that has no valid value, fail the request.

mod message;
mod values;

use std::sync::Arc;

use agentgateway_expression::Scope;
use agentgateway_proto::v1;
use agentgateway_upstream::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, response};

use self::message::{Content, Message};
use self::values::Failure;
pub(crate) use self::values::{authority, method, path};
use crate::body::Reading;
use crate::limits::{MAX_INLINE_TRANSFORMED_BYTES, MAX_TRANSFORMED_BYTES};
use crate::pool::Pool;
use crate::{Reach, Reason, Reply, RequestContext, State};

const READING: Reading = Reading { limit: MAX_TRANSFORMED_BYTES, partial: false };

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct Transformation {
    request: Option<Arc<Message>>,
    response: Option<Arc<Message>>,
    origin: Arc<str>,
    /// For large bodies; None where none is read.
    pool: Option<Arc<Pool>>,
}

impl Transformation {
    /// `origin` names the policy in the access log.
    pub(crate) fn compile(spec: &v1::Transformation, origin: &str, state: &State) -> Result<Transformation, String> {
        let compile = |part: &Option<v1::transformation::Message>, field: &str, scope| {
            let compiled = part.as_ref().map(|part| Message::compile(part, scope).map(Arc::new)).transpose();
            compiled.map_err(|error| format!("{field}: {error}"))
        };
        let request = compile(&spec.request, "request", Scope::Request)?;
        let response = compile(&spec.response, "response", Scope::Response)?;
        if request.is_none() && response.is_none() {
            return Err("it transforms neither requests nor responses".into());
        }
        let reads = request.iter().chain(&response).any(|message| message.reads_body());
        Ok(Transformation { request, response, origin: origin.into(), pool: reads.then(|| state.body_pool()) })
    }

    /// Whether expressions for the response may ask about the request.
    pub(crate) fn looks_back(&self) -> bool {
        self.response.is_some()
    }

    /// Whether it has to read a request's body.
    pub(crate) fn reads_request(&self) -> bool {
        self.request.as_ref().is_some_and(|message| message.reads_body())
    }

    /// Whether it has to read a response's body.
    pub(crate) fn reads_response(&self) -> bool {
        self.response.as_ref().is_some_and(|message| message.reads_body())
    }

    /// On a request whose body is not read.
    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) fn on_request(&self, head: &mut Parts, context: &mut RequestContext) -> Result<(), Reply> {
        self.prepare(&mut head.headers);
        let Some(message) = &self.request else { return Ok(()) };
        let values = message.values(&context.input(head), Content::Unread);
        let values = values.map_err(|failure| self.refuse(&failure))?;
        values.into_request(head, context).map_err(|failure| self.refuse(&failure))
    }

    /// On a request whose body is.
    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) async fn on_request_with_body(
        &self,
        head: &mut Parts,
        context: &mut RequestContext,
        reach: &mut Reach<'_>,
    ) -> Result<(), Reply> {
        self.prepare(&mut head.headers);
        let Some(message) = &self.request else { return Ok(()) };
        let refuse = |failure: Failure| self.refuse(&failure);
        if is_encoded(&head.headers) {
            return Err(refuse(Failure::Encoded));
        }
        let read = READING.read(reach.body).await.map_err(|refused| refuse(Failure::Body(refused)))?;
        let mut values = match self.pool.as_ref().filter(|_| read.bytes.len() > MAX_INLINE_TRANSFORMED_BYTES) {
            None => message.values(&context.input(head), Content::Read(&read.bytes)),
            Some(pool) => {
                let (message, bytes, seen) = (Arc::clone(message), read.bytes.clone(), context.seen(head));
                let job = move || message.values(&seen.input(), Content::Read(&bytes));
                pool.run(job).await.unwrap_or(Err(Failure::Busy))
            }
        }
        .map_err(refuse)?;
        if let Some(body) = values.take_body() {
            head.headers.insert(header::CONTENT_LENGTH, body.len().into());
            *reach.body = Some(body.into());
        }
        values.into_request(head, context).map_err(refuse)
    }

    /// On a response whose body is not read.
    pub(crate) fn on_response(&self, head: &mut response::Parts, context: &mut RequestContext) {
        let Some(message) = &self.response else { return };
        match message.values(&context.response_input(head), Content::Unread) {
            Ok(values) => values.into_response(head, context),
            Err(failure) => {
                self.warn(&failure);
                head.status = failure.status_of_response();
            }
        }
    }

    /// On a response whose body is.
    pub(crate) async fn on_response_with_body(
        &self,
        response: Response<Body>,
        context: &mut RequestContext,
    ) -> Response<Body> {
        match self.transform(response, context).await {
            Ok(response) => response,
            Err(failure) => {
                self.warn(&failure);
                failed(&failure)
            }
        }
    }

    async fn transform(
        &self,
        response: Response<Body>,
        context: &mut RequestContext,
    ) -> Result<Response<Body>, Failure> {
        let (mut head, body) = response.into_parts();
        let Some(message) = &self.response else { return Ok(Response::from_parts(head, body)) };
        if head.status == StatusCode::SWITCHING_PROTOCOLS || has_no_body(&head, context) {
            let values = message.values(&context.response_input(&head), Content::Absent)?;
            if message.replaces_body() {
                // Of the body that there would be without this policy.
                head.headers.remove(header::CONTENT_LENGTH);
                head.headers.remove(header::ETAG);
            }
            values.into_response(&mut head, context);
            return Ok(Response::from_parts(head, body));
        }
        if is_encoded(&head.headers) {
            return Err(Failure::Encoded);
        }
        let mut body = Some(body);
        let read = READING.read(&mut body).await.map_err(Failure::Body)?;
        let mut values = match self.pool.as_ref().filter(|_| read.bytes.len() > MAX_INLINE_TRANSFORMED_BYTES) {
            None => message.values(&context.response_input(&head), Content::Read(&read.bytes))?,
            Some(pool) => {
                let (message, bytes, seen) = (Arc::clone(message), read.bytes.clone(), context.seen_before());
                let (mut copy, ()) = Response::new(()).into_parts();
                (copy.status, copy.headers) = (head.status, head.headers.clone());
                let job = move || message.values(&seen.response_input(&copy), Content::Read(&bytes));
                pool.run(job).await.unwrap_or(Err(Failure::Busy))?
            }
        };
        let new = values.take_body();
        values.into_response(&mut head, context);
        if let Some(new) = new {
            head.headers.insert(header::CONTENT_LENGTH, new.len().into());
            // They speak of the body that was there.
            head.headers.remove(header::ETAG);
            head.headers.remove(header::ACCEPT_RANGES);
            return Ok(Response::from_parts(head, new.into()));
        }
        Ok(Response::from_parts(head, body.unwrap_or_default()))
    }

    /// A body that is compressed cannot be read.
    fn prepare(&self, headers: &mut HeaderMap) {
        if self.reads_response() {
            headers.remove(header::ACCEPT_ENCODING);
            headers.remove(header::RANGE);
        }
    }

    fn refuse(&self, failure: &Failure) -> Reply {
        let reason = Reason::NotTransformed(format!("{}: {failure}", self.origin).into());
        Reply::new(failure.status_of_request(), "the request cannot be transformed", reason)
    }

    fn warn(&self, failure: &Failure) {
        tracing::warn!(policy = &*self.origin, %failure, "a response cannot be transformed");
    }
}

fn failed(failure: &Failure) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from_static(b"the response cannot be transformed")));
    *response.status_mut() = failure.status_of_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// RFC 9110 §6.4.1.
fn has_no_body(head: &response::Parts, context: &RequestContext) -> bool {
    context.method() == Method::HEAD
        || head.status.is_informational()
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

#[cfg(test)]
mod tests;
