//! The client's side: streamable HTTP (MCP 2025-11-25 "Transports") at whatever path the route has.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use agentgateway_pipeline::discard::{discard, is_held_back};
use agentgateway_policy::{BackendAuthentication, Chain, RequestContext};
use agentgateway_upstream::Body;
use bytes::Bytes;
use futures::future::join_all;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::authorize::Authorizer;
use crate::backend::McpBackend;
use crate::call::Call;
use crate::dispatch;
use crate::identity::Identity;
use crate::initialize::{self, Opening};
use crate::jsonrpc::{self, Envelope, Kind};
use crate::limits::{BATCH, GOODBYE};
use crate::link::Link;
use crate::link::http::{self as http_link, Forwarded, ReadError, is_type, read};
use crate::log::Log;
use crate::modern::{self, check};
use crate::protocol::{LAST_EVENT_ID, Method as McpMethod, PROTOCOL_VERSION, SESSION_ID, Version, code};
use crate::reply;
use crate::resume;
use crate::session::Session;
use crate::shared::Io;
use crate::stream;
use crate::target::Transport;
use crate::token::Sealer;

/// A request of a client, after policies.
pub(crate) struct Inbound {
    pub(crate) head: Parts,
    pub(crate) context: RequestContext,
    pub(crate) policies: Vec<Arc<Chain>>,
}

/// A request whose headers were found right.
pub(crate) struct Admitted {
    pub(crate) io: Io,
    pub(crate) backend: Arc<McpBackend>,
    pub(crate) identity: Identity,
    session: Option<HeaderValue>,
    last_event: Option<HeaderValue>,
    pub(crate) forwarded: Forwarded,
    pub(crate) rules: Authorizer,
}

/// Answers any request.
pub(crate) async fn handle<B>(
    io: Io,
    backend: Arc<McpBackend>,
    inbound: Inbound,
    body: B,
    log: &mut Log,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let method = inbound.head.method.clone();
    let checked = match method {
        Method::POST => check_post(&inbound.head.headers),
        // The stateless protocol has neither streams nor sessions of their own.
        Method::GET | Method::DELETE if check::says_modern(&inbound.head.headers) => {
            Err(Box::new(reply::method_not_allowed("POST")))
        }
        Method::GET => check_get(&inbound.head.headers),
        Method::DELETE => Ok(()),
        _ => Err(Box::new(reply::method_not_allowed("GET, POST, DELETE"))),
    };
    if let Err(response) = checked {
        log.error("bad_headers");
        if !is_held_back(&inbound.head.headers) {
            discard(body);
        }
        return *response;
    }
    let Ok(credentials) = credentials(&inbound) else {
        log.error("backend_auth");
        if !is_held_back(&inbound.head.headers) {
            discard(body);
        }
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        return reply::refuse(status, None, code::INTERNAL, "requests of MCP servers cannot be signed for AWS");
    };
    let admitted = admit(io, backend, inbound, credentials);
    match method {
        Method::POST => post(admitted, body, log).await,
        Method::GET => get(admitted, log).await,
        _ => delete(admitted, log).await,
    }
}

type Credentials = Option<(HeaderName, HeaderValue)>;

/// The header by which the gateway authenticates to targets: what the most specific policy says.
fn credentials(inbound: &Inbound) -> Result<Credentials, ()> {
    let Inbound { head, context, policies } = inbound;
    match policies.iter().rev().find_map(|chain| chain.backend_auth()).map(Arc::as_ref) {
        None => Ok(None),
        Some(BackendAuthentication::Passthrough) => {
            let value = context.credentials.authorization().or_else(|| head.headers.get(AUTHORIZATION));
            Ok(value.map(|value| (AUTHORIZATION, value.clone())))
        }
        Some(BackendAuthentication::Key(name, value)) => Ok(Some((name.clone(), value.clone()))),
        Some(BackendAuthentication::Aws(_)) => Err(()),
    }
}

fn admit(io: Io, backend: Arc<McpBackend>, inbound: Inbound, credentials: Credentials) -> Admitted {
    let Inbound { head, context, policies } = inbound;
    let headers = &head.headers;
    let mut forwarded = Forwarded::new(headers, credentials);
    forwarded.set_traced(context.telemetry.is_traced());
    Admitted {
        io,
        backend,
        identity: Identity::of(&context),
        session: headers.get(SESSION_ID).cloned(),
        last_event: headers.get(LAST_EVENT_ID).cloned(),
        forwarded,
        rules: Authorizer::new(policies, head, context),
    }
}

type Checked = Result<(), Box<Response<Body>>>;

fn refuse(status: StatusCode, message: &str) -> Checked {
    Err(Box::new(reply::refuse(status, None, code::BAD_REQUEST, message)))
}

fn check_post(headers: &HeaderMap) -> Checked {
    if !is_type(headers.get(CONTENT_TYPE), "application/json") {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Unsupported Media Type: Content-Type must be application/json",
        );
    }
    if !(accepts(headers, "application/json") && accepts(headers, "text/event-stream")) {
        return refuse(
            StatusCode::NOT_ACCEPTABLE,
            "Not Acceptable: Client must accept both application/json and text/event-stream",
        );
    }
    Ok(())
}

fn check_get(headers: &HeaderMap) -> Checked {
    if !accepts(headers, "text/event-stream") {
        return refuse(StatusCode::NOT_ACCEPTABLE, "Not Acceptable: Client must accept text/event-stream");
    }
    check_version(headers)
}

/// A version that is not known here; without the header, the version is that of the session.
fn check_version(headers: &HeaderMap) -> Checked {
    match headers.get(PROTOCOL_VERSION) {
        Some(value) if !is_known(value) => refuse(StatusCode::BAD_REQUEST, &unsupported(value)),
        _ => Ok(()),
    }
}

fn is_known(version: &HeaderValue) -> bool {
    version.to_str().ok().and_then(Version::parse_handshake).is_some()
}

fn unsupported(value: &HeaderValue) -> String {
    let known: Vec<&str> = Version::ALL.iter().map(|v| v.as_str()).collect();
    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
    format!("Bad Request: Unsupported protocol version: {value} (supported versions: {})", known.join(", "))
}

/// Whether the client takes this type; without the header it takes everything (RFC 9110 §12.5.1).
fn accepts(headers: &HeaderMap, expected: &str) -> bool {
    let mut any = false;
    let main = expected.split('/').next().unwrap_or_default();
    for value in headers.get_all(ACCEPT) {
        any = true;
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default();
            let refused = parts.any(|p| matches!(p.split_once('='), Some(("q", q)) if q.trim().parse() == Ok(0.0_f32)));
            let matches = range == "*/*"
                || range.eq_ignore_ascii_case(expected)
                || range.strip_suffix("/*").is_some_and(|r| r.eq_ignore_ascii_case(main));
            if matches && !refused {
                return true;
            }
        }
    }
    !any
}

async fn post<B>(admitted: Admitted, body: B, log: &mut Log) -> Response<Body>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let limit = admitted.io.shared.limits.request_bytes;
    let body = match read(body, limit).await {
        Ok(body) => body,
        Err(error @ ReadError::TooLarge(_)) => {
            log.error("too_large");
            return reply::refuse(StatusCode::PAYLOAD_TOO_LARGE, None, code::INVALID_REQUEST, &error.to_string());
        }
        Err(error) => {
            log.error("client_gone");
            return reply::refuse(StatusCode::BAD_REQUEST, None, code::PARSE, &error.to_string());
        }
    };
    let Ok(text) = std::str::from_utf8(&body) else {
        log.error("bad_message");
        return reply::refuse(StatusCode::BAD_REQUEST, None, code::PARSE, "the body is not UTF-8");
    };
    if text.trim_start().starts_with('[') {
        return batch(admitted, text, log).await;
    }
    let envelope = match Envelope::parse(text) {
        Ok(envelope) => envelope,
        Err(error) => {
            log.error("bad_message");
            return reply::refuse(StatusCode::BAD_REQUEST, None, error.code(), &error.to_string());
        }
    };
    if check::is_modern(admitted.rules.headers(), &envelope) {
        return modern::request::handle(admitted, &envelope, &body, log).await;
    }
    let method = McpMethod::parse(envelope.method());
    let id = envelope.id;
    if method == McpMethod::Initialize && envelope.kind == Kind::Request {
        if admitted.session.is_some() {
            return reply::refuse(
                StatusCode::BAD_REQUEST,
                id,
                code::INVALID_REQUEST,
                "Invalid Request: the session is initialized already",
            );
        }
        let Admitted { io, backend, identity, forwarded, rules, .. } = admitted;
        return initialize::initialize(Opening { io, backend, forwarded, rules, identity }, &envelope, log).await;
    }
    let call = match enter(admitted, id, log).await {
        Ok(call) => call,
        Err(response) => {
            log.method(envelope.method());
            return *response;
        }
    };
    if envelope.kind != Kind::Request {
        dispatch::tell(&call, &envelope, &body, log).await;
        return reply::accepted();
    }
    let outcome = dispatch::request(&call, &envelope, &body, log, true).await;
    outcome.into_response(&call, id.unwrap_or("null")).await
}

/// The call of a request that needs a session.
async fn enter(admitted: Admitted, id: Option<&str>, log: &mut Log) -> Result<Rc<Call>, Box<Response<Body>>> {
    let Some(token) = &admitted.session else {
        // Also what a client of the stateless protocol hears that asks what is spoken here: it goes on with
        // `initialize`.
        log.error("no_session");
        return Err(Box::new(match admitted.rules.header(&PROTOCOL_VERSION) {
            Some(version) if !is_known(version) => {
                reply::refuse(StatusCode::BAD_REQUEST, id, code::BAD_REQUEST, &unsupported(version))
            }
            _ => reply::refuse(
                StatusCode::BAD_REQUEST,
                id,
                code::BAD_REQUEST,
                "Bad Request: Mcp-Session-Id header is required; begin with initialize",
            ),
        }));
    };
    let session = find(&admitted, token.as_bytes(), id, log).await?;
    if let Some(version) = admitted.rules.header(&PROTOCOL_VERSION)
        && !is_known(version)
    {
        log.error("bad_headers");
        return Err(Box::new(reply::refuse(StatusCode::BAD_REQUEST, id, code::BAD_REQUEST, &unsupported(version))));
    }
    let Admitted { io, backend, forwarded, rules, .. } = admitted;
    Ok(Rc::new(Call::new(io, backend, session, forwarded, rules)))
}

async fn find(
    admitted: &Admitted,
    token: &[u8],
    id: Option<&str>,
    log: &mut Log,
) -> Result<Arc<Session>, Box<Response<Body>>> {
    match resume::find(&admitted.io, &admitted.backend, token, admitted.identity).await {
        Ok(session) => {
            log.session(Sealer::log_hash(&session.id));
            Ok(session)
        }
        Err(unknown) => {
            admitted.io.shared.metrics.sessions_refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(reason = %unknown, "a session id was refused");
            log.error("session_not_found");
            Err(Box::new(reply::refuse(StatusCode::NOT_FOUND, id, code::SESSION_NOT_FOUND, "Session not found")))
        }
    }
}

async fn batch(admitted: Admitted, text: &str, log: &mut Log) -> Response<Body> {
    let invalid = |message: &str| reply::refuse(StatusCode::BAD_REQUEST, None, code::INVALID_REQUEST, message);
    let call = match enter(admitted, None, log).await {
        Ok(call) => call,
        Err(response) => return *response,
    };
    log.method("batch");
    if !call.session.version().has_batches() {
        return invalid("Invalid Request: this protocol version has no batches");
    }
    let items = match jsonrpc::items(text) {
        Ok(items) => items,
        Err(error) => return reply::refuse(StatusCode::BAD_REQUEST, None, code::PARSE, &error.to_string()),
    };
    if items.is_empty() || items.len() > BATCH {
        return invalid(&format!("Invalid Request: a batch has 1 to {BATCH} messages"));
    }
    let mut envelopes = Vec::with_capacity(items.len());
    for item in items {
        match Envelope::parse(item) {
            Ok(envelope) if envelope.method() == McpMethod::Initialize.as_str() => {
                return invalid("Invalid Request: initialize must not be part of a batch");
            }
            Ok(envelope) => envelopes.push(envelope),
            Err(error) => return invalid(&error.to_string()),
        }
    }
    let answers = envelopes.iter().map(|envelope| {
        let call = &call;
        async move {
            let body = Bytes::copy_from_slice(envelope.text.as_bytes());
            // The line of the access log is the batch's, not that of its parts.
            let log = &mut Log::default();
            if envelope.kind != Kind::Request {
                dispatch::tell(call, envelope, &body, log).await;
                return None;
            }
            let outcome = dispatch::request(call, envelope, &body, log, false).await;
            Some(outcome.into_message(envelope.id.unwrap_or("null")).await)
        }
    });
    let answers: Vec<Bytes> = join_all(answers).await.into_iter().flatten().collect();
    if answers.is_empty() {
        return reply::accepted();
    }
    let mut body = Vec::with_capacity(answers.iter().map(|a| a.len() + 1).sum::<usize>() + 1);
    body.push(b'[');
    body.extend_from_slice(&answers.join(&b","[..]));
    body.push(b']');
    reply::json(StatusCode::OK, body.into())
}

async fn get(mut admitted: Admitted, log: &mut Log) -> Response<Body> {
    let last_event = admitted.last_event.take();
    match enter(admitted, None, log).await {
        Ok(call) => {
            log.method("stream");
            stream::open(call, last_event).await
        }
        Err(response) => *response,
    }
}

/// Ends a session, here and at its targets; the client need not wait for those.
async fn delete(admitted: Admitted, log: &mut Log) -> Response<Body> {
    log.method("end");
    let call = match enter(admitted, None, log).await {
        Ok(call) => call,
        Err(response) => return *response,
    };
    call.io.shared.table.end(&call.session.id);
    call.io.shared.count_sessions();
    let links = call.session.end();
    tokio::task::spawn_local(async move {
        let told = links.iter().map(|(target, link)| {
            let call = &call;
            async move {
                if let (Link::Http(link), Transport::StreamableHttp(server)) = (link, &target.transport) {
                    http_link::end_session(call.io.upstream(), target, server, link, &call.forwarded).await;
                }
            }
        });
        drop(tokio::time::timeout(GOODBYE, join_all(told)).await);
    });
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &[&'static str]) -> HeaderMap {
        accept.iter().map(|a| (ACCEPT, http::HeaderValue::from_static(a))).collect()
    }

    #[test]
    fn accepted_types() {
        let events = |accept: &[&'static str]| accepts(&headers(accept), "text/event-stream");
        assert!(events(&[]));
        assert!(events(&["*/*"]));
        assert!(events(&["application/json, text/event-stream"]));
        assert!(events(&["application/json", "Text/Event-Stream; q=0.5"]));
        assert!(events(&["text/*"]));
        assert!(!events(&["application/json"]));
        assert!(!events(&["text/event-stream;q=0"]));
        assert!(!events(&["text/event-streams"]));
    }
}
