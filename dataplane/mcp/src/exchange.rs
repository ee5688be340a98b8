//! Sends messages to a target in a session, and mends what can be mended: a session that the target has forgotten is
//! begun anew, an endpoint that is gone is replaced, and the request is sent once more where that is safe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentgateway_upstream::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};

use crate::answer::Answer;
use crate::call::{Call, observe};
use crate::connect;
use crate::fault::{Fault, Kind};
use crate::jsonrpc::Envelope;
use crate::link::http::{self as http_link, Forwarded, HttpLink, is_type};
use crate::link::{Link, peer::Ticket};
use crate::protocol::Method;
use crate::shared::Io;
use crate::target::{HttpServer, Target, Transport};

/// A request's answer as it comes from the target.
pub(crate) enum Raw {
    Http(Response<Body>),
    Ticket(Ticket),
    /// The whole response.
    Ready(String),
}

impl Raw {
    pub(crate) fn into_answer(self, target: &Target, limit: usize) -> Answer {
        match self {
            Self::Http(response) => {
                let is_events = is_type(response.headers().get(CONTENT_TYPE), "text/event-stream");
                Answer::from_http(target, response, limit, is_events)
            }
            Self::Ticket(ticket) => Answer::from_peer(target, ticket),
            Self::Ready(text) => Answer::ready(target, text),
        }
    }
}

/// How a request is sent.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub(crate) method: Method,
    /// How long to wait for a link.
    pub(crate) patience: Duration,
    /// Whether the client sees what the target says besides the response.
    pub(crate) relays: bool,
}

/// Sends a request whose text is `message`, and gives its answer.
pub(crate) async fn request(call: &Call, target: &Arc<Target>, message: &Bytes, how: How) -> Result<Raw, Fault> {
    let since = Instant::now();
    let result = request_twice(call, target, message, how).await;
    observe(target, how.method, since, &result);
    if let Err(fault) = &result {
        target.settle(fault);
    }
    result
}

async fn request_twice(call: &Call, target: &Arc<Target>, message: &Bytes, how: How) -> Result<Raw, Fault> {
    let link = connect::link(call, target, how.patience).await?;
    target.enter()?;
    let fault = match request_once(&call.io, target, &link, &call.forwarded, message, how.relays).await {
        Ok(raw) => return Ok(raw),
        Err(fault) => fault,
    };
    match fault.kind {
        // The target has not looked at it.
        Kind::SessionGone => {
            tracing::debug!(mcp_target = %target.name, "the target's session is gone; it is begun anew");
            call.session.slot(target).discard(&link);
        }
        // Nothing was sent. The session lives at the endpoint that is gone; only another one is worth a try.
        Kind::Unreachable => {
            if !has_other_endpoint(call, target, &link).await {
                return Err(fault);
            }
            tracing::debug!(mcp_target = %target.name, "the session's endpoint is gone; it is begun anew at another");
            call.session.slot(target).discard(&link);
        }
        // A process or stream that ended: what it was asked may have been done.
        Kind::Broken => {
            if !link.is_alive() {
                call.session.slot(target).discard(&link);
            }
            if !how.method.is_idempotent() {
                return Err(fault);
            }
        }
        _ => return Err(fault),
    }
    target.go_on();
    let link = connect::link(call, target, how.patience).await?;
    request_once(&call.io, target, &link, &call.forwarded, message, how.relays).await
}

async fn has_other_endpoint(call: &Call, target: &Target, link: &Link) -> bool {
    let (Link::Http(link), Transport::StreamableHttp(server)) = (link, &target.transport) else { return false };
    match call.io.upstream().pick(&server.cluster).await {
        Ok(picked) => !Arc::ptr_eq(picked.endpoint(), link.picked.endpoint()),
        Err(_) => false,
    }
}

async fn request_once(
    io: &Io,
    target: &Arc<Target>,
    link: &Link,
    forwarded: &Forwarded,
    message: &Bytes,
    relays: bool,
) -> Result<Raw, Fault> {
    let traced = forwarded.traced(message);
    let message = traced.as_ref().unwrap_or(message);
    match link {
        Link::Http(link) => {
            let response = post(io, target, link, forwarded, message.clone()).await?;
            Ok(Raw::Http(response))
        }
        Link::Sse(link) => {
            let envelope = envelope(target, message)?;
            Ok(Raw::Ticket(link.request(io, target, forwarded, &envelope, relays).await?))
        }
        Link::Api(link) => Ok(Raw::Ready(link.request(io, target, forwarded, &envelope(target, message)?).await?)),
        Link::Stdio(link) => Ok(Raw::Ticket(link.request(&envelope(target, message)?, relays)?)),
    }
}

fn envelope<'a>(target: &Target, message: &'a Bytes) -> Result<Envelope<'a>, Fault> {
    let invalid = |why: String| Fault::new(&target.name, Kind::Protocol, format!("was not asked: {why}"));
    let text = std::str::from_utf8(message).map_err(|e| invalid(e.to_string()))?;
    Envelope::parse(text).map_err(|e| invalid(e.to_string()))
}

/// Asks for the gateway's own sake, over a link that is not the session's yet; says whether the target agreed.
pub(crate) async fn ask(
    io: &Io,
    target: &Arc<Target>,
    link: &Link,
    forwarded: &Forwarded,
    id: &str,
    message: &Bytes,
) -> Result<bool, Fault> {
    let raw = request_once(io, target, link, forwarded, message, false).await?;
    let answer = raw.into_answer(target, io.shared.limits.message_bytes);
    let text = answer.response(id, |_| ()).await?;
    Ok(Envelope::parse(&text).is_ok_and(|envelope| envelope.error.is_none()))
}

/// Sends a notification or a response over a link; nothing comes back.
pub(crate) async fn notify(
    io: &Io,
    target: &Target,
    link: &Link,
    forwarded: &Forwarded,
    message: Bytes,
) -> Result<(), Fault> {
    match link {
        Link::Http(link) => post(io, target, link, forwarded, message).await.map(drop),
        Link::Sse(link) => link.send(io, target, forwarded, text(target, &message)?).await,
        Link::Stdio(link) => link.send(text(target, &message)?),
        // It wants to hear of nothing.
        Link::Api(_) => Ok(()),
    }
}

fn text<'a>(target: &Target, message: &'a Bytes) -> Result<&'a str, Fault> {
    std::str::from_utf8(message).map_err(|e| Fault::new(&target.name, Kind::Protocol, format!("was not told: {e}")))
}

/// The server behind a target over streamable HTTP.
pub(crate) fn server(target: &Target) -> Result<&HttpServer, Fault> {
    match &target.transport {
        Transport::StreamableHttp(server) => Ok(server),
        _ => Err(Fault::new(&target.name, Kind::Protocol, "is not reached over streamable HTTP")),
    }
}

async fn post(
    io: &Io,
    target: &Target,
    link: &HttpLink,
    forwarded: &Forwarded,
    message: Bytes,
) -> Result<Response<Body>, Fault> {
    let patience = target.request_timeout(&io.shared.limits);
    http_link::post(io.upstream(), target, server(target)?, link, forwarded, message, patience).await
}

/// Opens a target's own stream; a target without one answers with a status that says so.
pub(crate) async fn open_stream(
    call: &Call,
    target: &Arc<Target>,
    last_event: Option<HeaderValue>,
) -> Result<Response<Body>, Fault> {
    let patience = target.connect_timeout(&call.io.shared.limits);
    let server = server(target)?;
    for attempt in 0..2 {
        let link = connect::link(call, target, patience).await?;
        let Link::Http(http) = &link else { break };
        let opened = http_link::open_stream(
            call.io.upstream(),
            target,
            server,
            http,
            &call.forwarded,
            last_event.clone(),
            target.request_timeout(&call.io.shared.limits),
        )
        .await;
        match opened {
            Err(fault) if attempt == 0 && matches!(fault.kind, Kind::SessionGone) => {
                call.session.slot(target).discard(&link);
            }
            other => return other,
        }
    }
    Err(Fault::new(&target.name, Kind::SessionGone, "does not know its session any more"))
}
