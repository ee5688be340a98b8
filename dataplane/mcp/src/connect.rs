//! Makes a session's link to a target: one handshake at a time, whoever needs it, and without regard to who stops
//! waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentgateway_upstream::Picked;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use crate::answer::Answer;
use crate::call::Call;
use crate::capabilities::{Features, Handshake};
use crate::dispatch::is_plain;
use crate::fault::{Fault, Kind};
use crate::jsonrpc;
use crate::limits::{DISCOVER, NOTIFY, PROCESS_RESTART};
use crate::link::Link;
use crate::link::http::{self as http_link, Forwarded, HttpLink, is_type};
use crate::link::openapi::ApiLink;
use crate::link::sse::SseLink;
use crate::link::stdio::{StdioLink, read_discovery, read_handshake};
use crate::lock;
use crate::protocol::{Method, SESSION_ID, Version};
use crate::session::{Handshakes, INITIALIZE_ID, Session, Slot, SlotState};
use crate::shared::Io;
use crate::target::{HttpServer, Target, Transport};

/// The session's link to `target`; makes one when there is none, and waits for it no longer than `patience`.
pub(crate) async fn link(call: &Call, target: &Arc<Target>, patience: Duration) -> Result<Link, Fault> {
    link_with(call, target, patience, None).await
}

/// As [`link`]; the result of a handshake made on the way is added to `handshakes`.
pub(crate) async fn link_with(
    call: &Call,
    target: &Arc<Target>,
    patience: Duration,
    handshakes: Option<&Handshakes>,
) -> Result<Link, Fault> {
    let slot = call.session.slot(target);
    if let Some(link) = usable(&lock(&slot.state), target) {
        return Ok(link);
    }
    let deadline = tokio::time::Instant::now() + patience;
    let mut waited = false;
    loop {
        let changed = slot.changed.notified();
        tokio::pin!(changed);
        // Counts from here on, so that a handshake which ends before the wait begins is not missed.
        changed.as_mut().enable();
        match look(&slot, waited) {
            Look::Ready(link) => return Ok(link),
            Look::Failed(fault) => return Err(fault),
            Look::Wait => {}
            Look::Connect => {
                let connecting = Connecting {
                    io: call.io.clone(),
                    session: Arc::clone(&call.session),
                    slot: Arc::clone(&slot),
                    forwarded: call.forwarded.clone(),
                    handshakes: handshakes.cloned(),
                    announces: !is_plain(call),
                    settled: false,
                };
                tokio::task::spawn_local(connecting.run());
            }
        }
        if tokio::time::timeout_at(deadline, changed).await.is_err() {
            let state = if target.is_process() { "is still starting" } else { "has not answered yet" };
            return Err(Fault::new(&target.name, Kind::Timeout, format!("{state} after {} s", patience.as_secs_f64())));
        }
        waited = true;
    }
}

enum Look {
    Ready(Link),
    Failed(Fault),
    Wait,
    Connect,
}

fn look(slot: &Slot, waited: bool) -> Look {
    let mut state = lock(&slot.state);
    if let Some(link) = usable(&state, &slot.target) {
        return Look::Ready(link);
    }
    match &*state {
        SlotState::Connecting => return Look::Wait,
        SlotState::Failed(fault, at) => {
            // Who waited for this very handshake gets its result; a process that just failed is not started in a loop.
            if waited || (slot.target.is_process() && at.elapsed() < PROCESS_RESTART) {
                return Look::Failed(fault.clone());
            }
        }
        SlotState::Ready(_) | SlotState::Idle => {}
    }
    if let Err(fault) = slot.target.enter() {
        return Look::Failed(fault);
    }
    *state = SlotState::Connecting;
    Look::Connect
}

fn usable(state: &SlotState, target: &Target) -> Option<Link> {
    match state {
        SlotState::Ready(link) if link.is_alive() && !is_stranded(link, target) => Some(link.clone()),
        _ => None,
    }
}

/// Whether the endpoint that holds the session is one that the target has no more, or is to be reached otherwise now. Waiting
/// for it to refuse a connection could take long: the address of a pod that is gone answers nothing.
fn is_stranded(link: &Link, target: &Target) -> bool {
    match (link, &target.transport) {
        (Link::Http(link), Transport::StreamableHttp(server)) => server.cluster.has_lost(link.picked.endpoint()),
        (Link::Sse(link), Transport::Sse(server)) => server.cluster.has_lost(link.picked.endpoint()),
        _ => false,
    }
}

/// One handshake, as a task of its own: it goes on when the request that began it is given up.
struct Connecting {
    io: Io,
    session: Arc<Session>,
    slot: Arc<Slot>,
    forwarded: Forwarded,
    handshakes: Option<Handshakes>,
    /// A single server over HTTP speaks for itself, on a stream that is passed through.
    announces: bool,
    settled: bool,
}

impl Drop for Connecting {
    fn drop(&mut self) {
        // Only when the worker ends in the middle: others must not wait for ever.
        if !self.settled {
            let fault = Fault::new(&self.slot.target.name, Kind::Broken, "was not reached: the gateway is stopping");
            self.slot.settle(Err(fault));
        }
    }
}

impl Connecting {
    async fn run(mut self) {
        let target = Arc::clone(&self.slot.target);
        let patience = target.connect_timeout(&self.io.shared.limits);
        let since = Instant::now();
        let result = match tokio::time::timeout(patience, self.handshake(&target)).await {
            Ok(result) => result,
            Err(_) => Err(Fault::timeout(&target.name, "finish its handshake", patience)),
        };
        target.metrics.handshake(result.is_ok());
        target.set_suspect(result.is_err());
        match &result {
            Ok(_) => target.go_on(),
            Err(fault) => target.settle(fault),
        }
        match &result {
            Ok((_, handshake)) => {
                let took = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::debug!(mcp_target = %target.name, version = %handshake.version, milliseconds = took, "handshake done");
            }
            Err(fault) if target.set_failing(true) => {
                tracing::warn!(reason = fault.reason(), "handshake failed: {fault}");
            }
            Err(fault) => tracing::debug!(reason = fault.reason(), "handshake failed: {fault}"),
        }
        let result = match result {
            Ok((link, handshake)) => {
                target.set_known(&handshake);
                if self.session.is_initialized() && !handshake.version.is_modern() {
                    self.say_initialized(&target, &link).await;
                    drop(tokio::time::timeout(NOTIFY, self.repeat_wishes(&target, &link)).await);
                }
                if self.announces && self.session.is_answered() && !self.session.is_held() {
                    self.announce(handshake.features);
                }
                if let Some(handshakes) = &self.handshakes {
                    lock(handshakes).push((target.index, handshake));
                }
                Ok(link)
            }
            Err(fault) => Err(fault),
        };
        self.settled = true;
        // A session that ended meanwhile wants no link any more.
        if !self.session.has_ended() {
            self.slot.settle(result);
        }
    }

    async fn handshake(&self, target: &Arc<Target>) -> Result<(Link, Handshake), Fault> {
        match &target.transport {
            Transport::StreamableHttp(server) => {
                let (link, handshake) = self.http(target, server).await?;
                Ok((Link::Http(Arc::new(link)), handshake))
            }
            Transport::Sse(_) => {
                let (link, handshake) = SseLink::connect(&self.io, target, &self.session, &self.forwarded).await?;
                Ok((Link::Sse(Arc::new(link)), handshake))
            }
            Transport::OpenApi(_, api) => {
                let (link, handshake) = ApiLink::connect(target, api, &self.session)?;
                Ok((Link::Api(Arc::new(link)), handshake))
            }
            Transport::Stdio(command) => {
                let (link, handshake) =
                    StdioLink::connect(&self.io.shared, self.io.background(), target, command, &self.session).await?;
                Ok((Link::Stdio(Arc::new(link)), handshake))
            }
        }
    }

    /// Tries first what the client speaks, and then what the server might.
    async fn http(&self, target: &Target, server: &HttpServer) -> Result<(HttpLink, Handshake), Fault> {
        let (io, session, forwarded) = (&self.io, &*self.session, &self.forwarded);
        if session.is_held() && !target.lacks_modern() {
            let asked = http_discover(io, target, server, session, forwarded);
            match tokio::time::timeout(DISCOVER, asked).await {
                Ok(Err(fault)) if !has_no_modern(&fault) => return Err(fault),
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(_)) | Err(_) => target.set_lacks_modern(),
            }
            return http_handshake(io, target, server, session, forwarded).await;
        }
        match http_handshake(io, target, server, session, forwarded).await {
            Err(fault) if has_no_handshake(&fault) => {
                http_discover(io, target, server, session, forwarded).await.map_err(|_| fault)
            }
            other => other,
        }
    }

    async fn say_initialized(&self, target: &Arc<Target>, link: &Link) {
        let message = jsonrpc::notification(Method::Initialized.as_str());
        if let Err(fault) = crate::exchange::notify(&self.io, target, link, &self.forwarded, message).await {
            tracing::debug!(%fault, "notifications/initialized was not taken");
        }
    }

    async fn repeat_wishes(&self, target: &Arc<Target>, link: &Link) {
        for wish in self.session.wishes.of(&target.name) {
            let id = self.session.next_id();
            let message = jsonrpc::request(&id, wish.method.as_str(), &wish.params);
            let asked = crate::exchange::ask(&self.io, target, link, &self.forwarded, &id, &message).await;
            if !matches!(asked, Ok(true)) {
                let method = wish.method.as_str();
                tracing::info!(mcp_target = %target.name, method, "the target's new session was refused what the old one had");
            }
        }
    }

    /// A target that comes late, or again, changes what the client has listed.
    fn announce(&self, features: Features) {
        for (feature, method) in [
            (Features::TOOLS, Method::ToolsListChanged),
            (Features::PROMPTS, Method::PromptsListChanged),
            (Features::RESOURCES, Method::ResourcesListChanged),
        ] {
            if features.has(feature) {
                let message = jsonrpc::notification(method.as_str());
                self.session.outbox.push_own(String::from_utf8_lossy(&message).into_owned());
            }
        }
    }
}

/// Whether a server's answer to `server/discover` means that it has never heard of it.
fn has_no_modern(fault: &Fault) -> bool {
    match &fault.kind {
        Kind::Rpc(_) | Kind::Protocol => true,
        Kind::Status(refused) => {
            refused.status.is_client_error()
                && !matches!(
                    refused.status,
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
                )
        }
        _ => false,
    }
}

/// Whether a server's answer to `initialize` means that it knows no handshake.
fn has_no_handshake(fault: &Fault) -> bool {
    match &fault.kind {
        Kind::Rpc(_) => true,
        Kind::Status(refused) => matches!(refused.status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND),
        _ => false,
    }
}

/// Asks a server of the stateless protocol what it is.
async fn http_discover(
    io: &Io,
    target: &Target,
    server: &HttpServer,
    session: &Session,
    forwarded: &Forwarded,
) -> Result<(HttpLink, Handshake), Fault> {
    let message = Bytes::from(session.discover_request());
    let upstream = io.upstream();
    let mut attempt = 0;
    let (mut link, response) = loop {
        let picked = upstream.pick(&server.cluster).await.map_err(|e| Fault::upstream(&target.name, &e))?;
        let link = HttpLink { picked, session: None, version: Version::MODERN, features: Features(0) };
        match http_link::post(upstream, target, server, &link, forwarded, message.clone(), DISCOVER).await {
            // Another endpoint, where there is one: the failed one is passed over now.
            Err(fault) if attempt == 0 && matches!(fault.kind, Kind::Unreachable) => attempt += 1,
            response => break (link, response?),
        }
    };
    let is_events = is_type(response.headers().get(CONTENT_TYPE), "text/event-stream");
    let answer = Answer::from_http(target, response, io.shared.limits.message_bytes, is_events);
    let text = answer.response(INITIALIZE_ID, |_| ()).await?;
    let handshake = read_discovery(target, &text, session.version())?;
    link.features = handshake.features;
    Ok((link, handshake))
}

async fn http_handshake(
    io: &Io,
    target: &Target,
    server: &HttpServer,
    session: &Session,
    forwarded: &Forwarded,
) -> Result<(HttpLink, Handshake), Fault> {
    let message = Bytes::from(session.initialize_request());
    let patience = target.connect_timeout(&io.shared.limits);
    let upstream = io.upstream();
    let pick = || async { upstream.pick(&server.cluster).await.map_err(|e| Fault::upstream(&target.name, &e)) };
    let mut picked: Picked = pick().await?;
    let mut response =
        http_link::post_first(upstream, target, server, &picked, forwarded, message.clone(), patience).await;
    if matches!(&response, Err(fault) if matches!(fault.kind, Kind::Unreachable)) {
        // Another endpoint, where there is one: the failed one is passed over now.
        let other = pick().await?;
        if !Arc::ptr_eq(other.endpoint(), picked.endpoint()) {
            picked = other;
            response = http_link::post_first(upstream, target, server, &picked, forwarded, message, patience).await;
        }
    }
    let response = response?;
    // A copy: the value that was parsed is a slice of the connection's read buffer, and would keep 8 KiB for as long as
    // the session lives.
    let upstream_session = response.headers().get(SESSION_ID).and_then(|v| HeaderValue::from_bytes(v.as_bytes()).ok());
    let is_events = is_type(response.headers().get(CONTENT_TYPE), "text/event-stream");
    let answer = Answer::from_http(target, response, io.shared.limits.message_bytes, is_events);
    let text = answer.response(INITIALIZE_ID, |_| ()).await?;
    let handshake = read_handshake(target, &text)?;
    let link = HttpLink { picked, session: upstream_session, version: handshake.version, features: handshake.features };
    Ok((link, handshake))
}
