//! Streamable HTTP to a target (MCP 2025-11-25 "Transports"): requests over the worker's own connections, answers as
//! JSON or as a stream of events.

use std::sync::Arc;
use std::time::Duration;

use agentgateway_upstream::{Body, Picked, Upstream};
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;

use crate::capabilities::Features;
use crate::fault::{Fault, Kind, Refused};
use crate::jsonrpc::{Envelope, members, quote, string};
use crate::limits;
use crate::modern::check;
use crate::modern::translate::with_members;
use crate::protocol::{LAST_EVENT_ID, METHOD, Method as McpMethod, NAME, PROTOCOL_VERSION, SESSION_ID, Version};
use crate::splice::Splice;
use crate::target::{HttpServer, Target};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const TRACE_HEADERS: [HeaderName; 2] = [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];

/// A session at a target.
#[derive(Debug)]
pub(crate) struct HttpLink {
    /// The endpoint that holds the target's session.
    pub(crate) picked: Picked,
    /// The target's own session id, when it gave one.
    pub(crate) session: Option<HeaderValue>,
    pub(crate) version: Version,
    pub(crate) features: Features,
}

/// What goes on to targets besides the message: the client's trace context, and the credentials that a policy says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forwarded {
    credentials: Option<(HeaderName, HeaderValue)>,
    trace: [Option<HeaderValue>; 2],
    /// The gateway traces the request, and says so in messages too: processes get no headers.
    is_traced: bool,
    /// Headers by which a client of the stateless protocol repeats arguments of a tool.
    params: Vec<(HeaderName, HeaderValue)>,
}

impl Forwarded {
    pub(crate) fn new(headers: &HeaderMap, credentials: Option<(HeaderName, HeaderValue)>) -> Self {
        let trace = TRACE_HEADERS.map(|name| headers.get(name).cloned());
        Self { credentials, trace, is_traced: false, params: Vec::new() }
    }

    pub(crate) fn set_traced(&mut self, is_traced: bool) {
        self.is_traced = is_traced;
    }

    /// The text of a request with its place in the trace in `params._meta`, where the client has put none there. Nothing when
    /// it stays as it is.
    pub(crate) fn traced(&self, message: &Bytes) -> Option<Bytes> {
        if !self.is_traced {
            return None;
        }
        let mut own = String::new();
        for (name, value) in TRACE_HEADERS.iter().zip(&self.trace) {
            if let Some(value) = value.as_ref().and_then(|value| value.to_str().ok()) {
                let comma = if own.is_empty() { "" } else { "," };
                own.push_str(&format!(r#"{comma}"{name}":{}"#, quote(value)));
            }
        }
        let text = std::str::from_utf8(message).ok().filter(|_| !own.is_empty())?;
        let envelope = Envelope::parse(text).ok()?;
        let mut splice = Splice::new(text);
        match envelope.params {
            None => return Some(with_members(text, &format!(r#""params":{{"_meta":{{{own}}}}}"#)).into()),
            Some(params) if !params.starts_with('{') => return None,
            Some(params) => match members(params, ["_meta"]).ok()? {
                [None] => splice.replace(params, with_members(params, &format!(r#""_meta":{{{own}}}"#))),
                [Some(theirs)] if theirs.starts_with('{') => match members(theirs, ["traceparent"]).ok()? {
                    [None] => splice.replace(theirs, with_members(theirs, &own)),
                    [Some(_)] => return None,
                },
                [Some(_)] => return None,
            },
        }
        Some(splice.finish().into())
    }

    /// Sends these headers to servers of the stateless protocol.
    pub(crate) fn set_params(&mut self, params: Vec<(HeaderName, HeaderValue)>) {
        self.params = params;
    }

    /// What servers tell callers apart by.
    pub(crate) fn credentials(&self) -> Option<&HeaderValue> {
        self.credentials.as_ref().map(|(_, value)| value)
    }

    fn apply(&self, headers: &mut HeaderMap) {
        if let Some((name, value)) = &self.credentials {
            headers.insert(name, value.clone());
        }
        for (name, value) in TRACE_HEADERS.into_iter().zip(&self.trace) {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

/// A request to a server, as far as all have it.
pub(crate) fn request(server: &HttpServer, method: Method, forwarded: &Forwarded, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(server.path.clone());
    let headers = request.headers_mut();
    headers.insert(HOST, server.host.clone());
    forwarded.apply(headers);
    request
}

fn in_session(headers: &mut HeaderMap, link: &HttpLink) {
    if let Some(session) = &link.session {
        headers.insert(SESSION_ID, session.clone());
    }
    // The header came with 2025-06-18; older servers do not know it.
    if link.version >= Version::V2025_06_18 {
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(link.version.as_str()));
    }
}

/// The headers that repeat what a message says, for servers of the stateless protocol.
fn routing(message: &Bytes) -> Vec<(HeaderName, HeaderValue)> {
    let envelope = std::str::from_utf8(message).ok().and_then(|text| Envelope::parse(text).ok());
    let Some(envelope) = envelope else { return Vec::new() };
    let method = HeaderValue::from_str(envelope.method()).ok().map(|value| (METHOD, value));
    let name = McpMethod::parse(envelope.method()).name_param().and_then(|member| {
        let [name] = members(envelope.params?, [member]).ok()?;
        Some((NAME, check::encode(&string(name?).ok()?)?))
    });
    method.into_iter().chain(name).collect()
}

/// Posts one message; gives a successful answer, whose body is still unread.
pub(crate) async fn post(
    upstream: &Upstream,
    target: &Target,
    server: &HttpServer,
    link: &HttpLink,
    forwarded: &Forwarded,
    message: Bytes,
    patience: Duration,
) -> Result<Response<Body>, Fault> {
    let routing = link.version.is_modern().then(|| routing(&message));
    let mut request = request(server, Method::POST, forwarded, message.into());
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(ACCEPT, BOTH);
    in_session(headers, link);
    if link.version.is_modern() {
        let params = forwarded.params.iter().cloned();
        headers.extend(routing.into_iter().flatten().chain(params));
    }
    send(upstream, target, &link.picked, request, patience).await
}

/// Posts the first message to an endpoint where there is no session yet.
pub(crate) async fn post_first(
    upstream: &Upstream,
    target: &Target,
    server: &HttpServer,
    picked: &Picked,
    forwarded: &Forwarded,
    message: Bytes,
    patience: Duration,
) -> Result<Response<Body>, Fault> {
    let mut request = request(server, Method::POST, forwarded, message.into());
    request.headers_mut().insert(CONTENT_TYPE, JSON);
    request.headers_mut().insert(ACCEPT, BOTH);
    send(upstream, target, picked, request, patience).await
}

/// Opens the stream of messages that begin at the server.
pub(crate) async fn open_stream(
    upstream: &Upstream,
    target: &Target,
    server: &HttpServer,
    link: &HttpLink,
    forwarded: &Forwarded,
    last_event: Option<HeaderValue>,
    patience: Duration,
) -> Result<Response<Body>, Fault> {
    let mut request = request(server, Method::GET, forwarded, Body::Empty);
    let headers = request.headers_mut();
    headers.insert(ACCEPT, EVENTS);
    in_session(headers, link);
    if let Some(id) = last_event {
        headers.insert(LAST_EVENT_ID, id);
    }
    send(upstream, target, &link.picked, request, patience).await
}

/// Tells the server that the session has ended; its answer does not matter.
pub(crate) async fn end_session(
    upstream: &Upstream,
    target: &Target,
    server: &HttpServer,
    link: &HttpLink,
    forwarded: &Forwarded,
) {
    if link.session.is_none() {
        return;
    }
    let mut request = request(server, Method::DELETE, forwarded, Body::Empty);
    in_session(request.headers_mut(), link);
    if let Err(fault) = send(upstream, target, &link.picked, request, limits::GOODBYE).await {
        tracing::debug!(%fault, "ending a target's session failed");
    }
}

async fn send(
    upstream: &Upstream,
    target: &Target,
    picked: &Picked,
    request: Request<Body>,
    patience: Duration,
) -> Result<Response<Body>, Fault> {
    let had_session = request.headers().contains_key(SESSION_ID);
    let exchange = async {
        let response = upstream.send(picked, request).await.map_err(|e| Fault::upstream(&target.name, &e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refused(target, response, had_session).await)
    };
    match tokio::time::timeout(patience, exchange).await {
        Ok(result) => result,
        Err(_) => Err(Fault::timeout(&target.name, "answer", patience)),
    }
}

async fn refused(target: &Target, response: Response<Body>, had_session: bool) -> Fault {
    let (head, body) = response.into_parts();
    let body = read(body, limits::ERROR_BODY_BYTES).await.unwrap_or_default();
    let refused = Refused {
        status: head.status,
        challenge: head.headers.get(WWW_AUTHENTICATE).cloned(),
        content_type: head.headers.get(CONTENT_TYPE).cloned(),
        body,
    };
    if had_session && refused.is_about_session() {
        return Fault::new(&target.name, Kind::SessionGone, "does not know its session any more");
    }
    let message = match head.status {
        StatusCode::UNAUTHORIZED => "wants other credentials than it was given (HTTP 401)".to_owned(),
        StatusCode::FORBIDDEN => "refused the caller (HTTP 403)".to_owned(),
        status => format!("answered with HTTP {}", status.as_u16()),
    };
    Fault::new(&target.name, Kind::Status(Arc::new(refused)), message)
}

/// A body of at most `limit` bytes, whole.
pub(crate) async fn read<B>(body: B, limit: usize) -> Result<Bytes, ReadError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(ReadError::TooLarge(limit));
    }
    let mut body = std::pin::pin!(body);
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|e| ReadError::Broken(e.to_string()))?.into_data() else { continue };
        match &first {
            // Most messages come in one piece, which then needs no copy.
            None => first = Some(data),
            Some(head) if rest.is_empty() => {
                rest.reserve(head.len() + data.len());
                rest.extend_from_slice(head);
                rest.extend_from_slice(&data);
            }
            Some(_) => rest.extend_from_slice(&data),
        }
        if rest.len().max(first.as_ref().map_or(0, Bytes::len)) > limit {
            return Err(ReadError::TooLarge(limit));
        }
    }
    Ok(if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() })
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// Whether a media type header names this type, whatever its parameters.
pub(crate) fn is_type(value: Option<&HeaderValue>, expected: &str) -> bool {
    value
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(';').next())
        .is_some_and(|v| v.trim().eq_ignore_ascii_case(expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    #[tokio::test]
    async fn bodies_have_a_limit() {
        let body = || Full::new(Bytes::from_static(b"12345"));
        assert_eq!(&read(body(), 5).await.unwrap()[..], b"12345");
        assert!(matches!(read(body(), 4).await, Err(ReadError::TooLarge(4))));
        let pieces = |n: usize| {
            let frames =
                (0..n).map(|_| Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from_static(b"ab"))));
            http_body_util::StreamBody::new(futures::stream::iter(frames.collect::<Vec<_>>()))
        };
        assert_eq!(&read(pieces(3), 6).await.unwrap()[..], b"ababab");
        assert!(read(pieces(4), 6).await.is_err());
        assert_eq!(&read(pieces(0), 6).await.unwrap()[..], b"");
    }

    #[test]
    fn the_trace_in_messages() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static("00-a-b-01"));
        headers.insert("tracestate", HeaderValue::from_static("v=\"1\""));
        let mut forwarded = Forwarded::new(&headers, None);
        let message = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        assert_eq!(forwarded.traced(&message), None, "what is not traced stays as it is");
        forwarded.set_traced(true);
        let meta = |text: &'static str| {
            let text = forwarded.traced(&Bytes::from_static(text.as_bytes()))?;
            let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!((&value["id"], &value["jsonrpc"]), (&1.into(), &"2.0".into()));
            Some(value["params"]["_meta"].clone())
        };
        let own = serde_json::json!({"traceparent": "00-a-b-01", "tracestate": "v=\"1\""});
        assert_eq!(meta(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#), Some(own.clone()));
        assert_eq!(meta(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#), Some(own.clone()));
        let more =
            meta(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken":1},"a":2}}"#).unwrap();
        assert_eq!((&more["progressToken"], &more["traceparent"]), (&1.into(), &own["traceparent"]));
        assert_eq!(
            meta(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"traceparent":"00-c-d-01"}}}"#),
            None
        );
        assert_eq!(meta(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[]}"#), None);
    }

    #[test]
    fn media_types() {
        let value = HeaderValue::from_static("Application/JSON; charset=utf-8");
        assert!(is_type(Some(&value), "application/json"));
        assert!(!is_type(Some(&value), "text/event-stream"));
        assert!(!is_type(None, "application/json"));
    }
}
