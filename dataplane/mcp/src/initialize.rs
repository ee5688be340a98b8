//! The handshake with a client: all targets are greeted at once, and none of them can hold up or take down the others.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agentgateway_upstream::Body;
use futures::stream::{FuturesUnordered, StreamExt};
use http::{HeaderValue, Response, StatusCode};
use tokio::time::Instant;

use crate::authorize::Authorizer;
use crate::backend::McpBackend;
use crate::call::Call;
use crate::capabilities::{self, Handshake};
use crate::connect;
use crate::fault::Fault;
use crate::identity::Identity;
use crate::jsonrpc::{self, Envelope, members, string};
use crate::link::http::Forwarded;
use crate::lock;
use crate::log::Log;
use crate::protocol::{SESSION_ID, Version, code};
use crate::reply;
use crate::resume;
use crate::session::{Handshakes, Session, client_of};
use crate::shared::Io;
use crate::token::{self, Sealer};

/// Who opens a session.
pub(crate) struct Opening {
    pub(crate) io: Io,
    pub(crate) backend: Arc<McpBackend>,
    pub(crate) forwarded: Forwarded,
    pub(crate) rules: Authorizer,
    pub(crate) identity: Identity,
}

/// Answers `initialize`.
pub(crate) async fn initialize(opening: Opening, envelope: &Envelope<'_>, log: &mut Log) -> Response<Body> {
    let id = envelope.id.unwrap_or("null");
    log.method(envelope.method());
    let read = || -> Result<_, serde_json::Error> {
        let params = envelope.params.unwrap_or("{}");
        let [version] = members(params, ["protocolVersion"])?;
        let version = version.map(string).transpose()?.unwrap_or_default();
        Ok((Version::parse_handshake(&version).unwrap_or(Version::LATEST), client_of(params)?))
    };
    let (version, client) = match read() {
        Ok(read) => read,
        Err(error) => {
            let message = format!("Invalid params: {error}");
            return reply::refuse(StatusCode::BAD_REQUEST, Some(id), code::INVALID_PARAMS, &message);
        }
    };
    let Opening { io, backend, forwarded, rules, identity } = opening;
    let shared = Arc::clone(&io.shared);
    let failed = |message: &str| reply::refuse(StatusCode::SERVICE_UNAVAILABLE, Some(id), code::INTERNAL, message);
    if shared.table.len() >= shared.limits.sessions {
        log.error("too_many_sessions");
        tracing::warn!(
            limit = shared.limits.sessions,
            "there are as many MCP sessions as allowed; a new one was refused"
        );
        return failed("the gateway has as many sessions as it may have; try again later");
    }
    let session_id = match token::random() {
        Ok(id) => id,
        Err(error) => {
            tracing::error!(%error, "no session can be opened");
            return failed("the gateway cannot make session ids");
        }
    };
    log.session(Sealer::log_hash(&session_id));
    let session = Arc::new(Session::new(session_id, Arc::clone(&backend.key), version, client));
    let call = Rc::new(Call::new(io, backend, Arc::clone(&session), forwarded, rules));
    let greeted = greet(&call).await;
    let result = match result(&call, greeted, log) {
        Ok(result) => result,
        Err(fault) => {
            drop(session.end());
            return reply::fault(&fault, id, call.federated());
        }
    };
    let token = match shared.sealer.seal(&session.id, &identity.0, resume::now(), &resume::contents(&session)) {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, "no session can be opened");
            return failed("the gateway cannot make session ids");
        }
    };
    let (Ok(token), Some(_)) = (HeaderValue::from_str(&token), shared.table.insert(session)) else {
        return failed("the gateway has as many sessions as it may have; try again later");
    };
    shared.metrics.sessions_begun.fetch_add(1, Ordering::Relaxed);
    shared.count_sessions();
    let mut response = reply::json(StatusCode::OK, jsonrpc::result(id, &result));
    response.headers_mut().insert(SESSION_ID, token);
    response
}

/// What came of greeting all targets.
struct Greeted {
    handshakes: Vec<(usize, Handshake)>,
    faults: Vec<Fault>,
    /// Some targets are still starting.
    incomplete: bool,
}

/// Greets all targets. Returns when all have answered or failed; or when some have answered and the rest had its grace;
/// or when none answered in the time that the slowest kind of target may take.
async fn greet(call: &Rc<Call>) -> Greeted {
    let limits = &call.io.shared.limits;
    let handshakes = Handshakes::default();
    let targets = &call.backend.targets;
    let slowest = targets.iter().map(|target| target.connect_timeout(limits));
    // A little more than each handshake has, so that it is the handshake's own failure that is reported.
    let patience = slowest.max().unwrap_or(limits.http_handshake) + Duration::from_secs(1);
    let start = Instant::now();
    let mut greeting: FuturesUnordered<_> =
        targets.iter().map(|target| connect::link_with(call, target, patience, Some(&handshakes))).collect();
    let mut faults = Vec::new();
    let mut some = false;
    loop {
        let deadline = start + if some { limits.initialize_grace } else { patience };
        match tokio::time::timeout_at(deadline, greeting.next()).await {
            Ok(Some(Ok(_))) => some = true,
            Ok(Some(Err(fault))) => faults.push(fault),
            Ok(None) | Err(_) => break,
        }
    }
    let incomplete = !greeting.is_empty();
    call.session.set_answered();
    let mut handshakes = std::mem::take(&mut *lock(&handshakes));
    handshakes.sort_by_key(|(index, _)| *index);
    Greeted { handshakes, faults, incomplete }
}

/// The text of the result for the client.
fn result(call: &Call, greeted: Greeted, log: &mut Log) -> Result<String, Fault> {
    let Greeted { mut handshakes, faults, incomplete } = greeted;
    if call.backend.fails_closed
        && let Some(fault) = faults.first()
    {
        log.error(fault.reason());
        return Err(fault.clone());
    }
    if handshakes.is_empty() {
        let fault = faults.into_iter().next();
        let fault = fault.unwrap_or_else(|| {
            let name = call.target(0).map_or_else(|| Arc::from(""), |t| Arc::clone(&t.name));
            Fault::timeout(&name, "finish its handshake", call.io.shared.limits.http_handshake)
        });
        log.error(fault.reason());
        return Err(fault);
    }
    if !call.federated() {
        let (_, handshake) = handshakes.swap_remove(0);
        if !handshake.version.is_modern() {
            call.session.set_version(handshake.version);
        }
        return Ok(handshake.text.into());
    }
    let named: Vec<(&str, Handshake)> = handshakes
        .into_iter()
        .filter_map(|(index, handshake)| Some((&*call.backend.targets.get(index)?.name, handshake)))
        .collect();
    // One that failed may be back any time; its lists are then announced as changed.
    let incomplete = incomplete || !faults.is_empty();
    Ok(capabilities::merge(call.session.version(), &named, incomplete).to_string())
}
