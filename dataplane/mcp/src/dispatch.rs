//! What becomes of one message of a client: which target it goes to, as what, and what the gateway answers itself.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use agentgateway_upstream::Body;
use bytes::Bytes;
use futures::future::join_all;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{Response, StatusCode};
use serde_json::Value;

use crate::call::Call;
use crate::capabilities::Features;
use crate::connect;
use crate::exchange::{self, How, Raw};
use crate::fault::{Fault, Kind};
use crate::jsonrpc::{self, Envelope, members, quote, string};
use crate::limits::NOTIFY;
use crate::lists;
use crate::log::Log;
use crate::metrics::Tool;
use crate::naming::{Named, Naming};
use crate::protocol::{Method, code};
use crate::reply::{self, Relay};
use crate::rounds;
use crate::session::InFlight;
use crate::splice::Splice;
use crate::target::{Target, Transport};
use crate::view;
use crate::wishes::Wishes;

/// The answer to a request.
pub(crate) enum Outcome {
    /// A JSON-RPC response.
    Message(Bytes),
    /// What a target says.
    Relay(Box<Relay>),
    /// A target's answer, bytes and all.
    Passed(Response<Body>),
    /// A target's refusal.
    Fault(Fault),
}

/// A request for one target, after its rules were asked.
pub(crate) struct Addressed {
    pub(crate) target: usize,
    /// The message for the target, where it differs from the client's.
    pub(crate) edited: Option<String>,
    /// Where the call of a tool is counted.
    pub(crate) tool: Option<Tool>,
}

/// The target that a request is for, or the error object that answers it. None when it is for no target in particular.
pub(crate) fn address(
    call: &Call,
    method: Method,
    envelope: &Envelope<'_>,
    log: &mut Log,
) -> Option<Result<Addressed, String>> {
    Some(match method {
        Method::ToolsCall => tool(call, envelope, log),
        Method::PromptsGet => prompt(call, envelope, log),
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            resource(call, envelope, log)
        }
        Method::CompletionComplete => completion(call, envelope),
        _ if !call.federated() => Ok(Addressed { target: 0, edited: None, tool: None }),
        _ => return None,
    })
}

/// Handles a request. `body` is the text of `envelope`.
pub(crate) async fn request(
    call: &Rc<Call>,
    envelope: &Envelope<'_>,
    body: &Bytes,
    log: &mut Log,
    may_pass: bool,
) -> Outcome {
    let method = Method::parse(envelope.method());
    let id = envelope.id.unwrap_or("null");
    log.method(envelope.method());
    lists::look_up(call, method, envelope.params).await;
    let Some(addressed) = address(call, method, envelope, log) else {
        return federated(call, method, envelope, log).await;
    };
    let addressed = match addressed {
        Ok(addressed) => addressed,
        Err(error) => {
            log.error("refused");
            return Outcome::Message(jsonrpc::raw_error(Some(id), &error));
        }
    };
    let Some(target) = call.target(addressed.target) else {
        return Outcome::Message(jsonrpc::error(Some(id), code::INTERNAL, "the target does not exist"));
    };
    log.target(&target.name);
    let message = addressed.edited.map_or_else(|| body.clone(), Bytes::from);
    let patience = patience(call, target);
    let in_flight = call.federated().then(|| call.session.note(id, target.index));
    let how = How { method, patience, relays: true };
    let is_modern = match connect::link(call, target, patience).await {
        Ok(link) => link.is_modern(),
        Err(fault) => {
            log.error(fault.reason());
            return Outcome::Fault(fault);
        }
    };
    if is_modern {
        let since = Instant::now();
        let outcome = to_modern(call, target, envelope, &message, how, in_flight, log).await;
        if let Some(tool) = addressed.tool {
            target.metrics.call(tool, !matches!(outcome, Outcome::Fault(_)), since.elapsed());
        }
        return outcome;
    }
    let since = Instant::now();
    let answered = exchange::request(call, target, &message, how).await;
    if let Some(tool) = addressed.tool {
        target.metrics.call(tool, answered.is_ok(), since.elapsed());
    }
    let raw = match answered {
        Ok(raw) => raw,
        Err(fault) => {
            log.error(fault.reason());
            return Outcome::Fault(fault);
        }
    };
    if Wishes::concerns(method) {
        note_wish(call, target, method, &message);
    }
    let filters = lists::is_list(method) && !call.rules.is_open();
    match raw {
        Raw::Http(response) if may_pass && !call.federated() && !filters && target.breaker.is_none() => {
            Outcome::Passed(passed(response))
        }
        raw => Outcome::Relay(Box::new(Relay {
            call: Rc::clone(call),
            target: Arc::clone(target),
            answer: raw.into_answer(target, call.io.shared.limits.message_bytes),
            method,
            id: id.into(),
            in_flight,
        })),
    }
}

/// Sends a request on to a target of the stateless protocol.
async fn to_modern(
    call: &Rc<Call>,
    target: &Arc<Target>,
    envelope: &Envelope<'_>,
    message: &Bytes,
    how: How,
    in_flight: Option<InFlight>,
    log: &mut Log,
) -> Outcome {
    let id = envelope.id.unwrap_or("null");
    // What only a session has is the gateway's own to answer.
    if matches!(how.method, Method::Ping) || Wishes::concerns(how.method) {
        if Wishes::concerns(how.method) {
            note_wish(call, target, how.method, message);
            call.session.rewish();
        }
        return Outcome::Message(jsonrpc::result(id, "{}"));
    }
    match rounds::request(call, target, message, how).await {
        Ok(answer) => Outcome::Relay(Box::new(Relay {
            call: Rc::clone(call),
            target: Arc::clone(target),
            answer,
            method: how.method,
            id: id.into(),
            in_flight,
        })),
        Err(fault) => {
            log.error(fault.reason());
            Outcome::Fault(fault)
        }
    }
}

fn note_wish(call: &Call, target: &Target, method: Method, message: &Bytes) {
    let envelope = std::str::from_utf8(message).ok().and_then(|text| Envelope::parse(text).ok());
    if let Some(params) = envelope.and_then(|e| e.params) {
        call.session.wishes.note(&target.name, method, params);
    }
}

pub(crate) fn patience(call: &Call, target: &Target) -> std::time::Duration {
    target.connect_timeout(&call.io.shared.limits)
}

/// A target's answer with the headers that are the protocol's.
pub(crate) fn passed(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    for name in [CONTENT_TYPE, CACHE_CONTROL] {
        if let Some(value) = head.headers.remove(&name) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn invalid(why: &str) -> String {
    jsonrpc::error_object(code::INVALID_PARAMS, why, None)
}

/// Reads `name` of the params and splits it into target and own name; `unknown` makes the answer for one that is not
/// there or not allowed.
fn named(
    call: &Call,
    envelope: &Envelope<'_>,
    log: &mut Log,
    (kind, field): (Named, &'static str),
    allows: impl Fn(&Target, &str, Option<&Value>) -> bool,
    unknown: impl Fn(&str) -> String,
) -> Result<Addressed, String> {
    let params = envelope.params.unwrap_or("{}");
    let [raw, arguments] =
        members(params, ["name", "arguments"]).map_err(|e| invalid(&format!("Invalid params: {e}")))?;
    let raw = raw.ok_or_else(|| invalid("Invalid params: \"name\" is missing"))?;
    let name = string(raw).map_err(|_| invalid("Invalid params: \"name\" must be a string"))?;
    log.item(field, &name);
    let (index, own) = call.backend.naming.find(kind, &name).ok_or_else(|| unknown(&name))?;
    let target = call.target(index).ok_or_else(|| unknown(&name))?;
    if !call.rules.is_open() {
        let arguments: Option<Value> = arguments
            .map(serde_json::from_str)
            .transpose()
            .map_err(|e| invalid(&format!("Invalid params: arguments: {e}")))?;
        if !allows(target, own, arguments.as_ref()) {
            return Err(unknown(&name));
        }
    }
    let edited = call.federated().then(|| {
        let mut splice = Splice::new(envelope.text);
        splice.replace(raw, quote(own));
        splice.finish()
    });
    let tool = matches!(kind, Named::Tool).then(|| target.metrics.tool(own));
    Ok(Addressed { target: index, edited, tool })
}

fn tool(call: &Call, envelope: &Envelope<'_>, log: &mut Log) -> Result<Addressed, String> {
    let allows = |target: &Target, name: &str, arguments: Option<&Value>| {
        call.rules.allows_tool(&call.backend, target, name, arguments)
    };
    named(call, envelope, log, (Named::Tool, "mcp.tool"), allows, |name| invalid(&format!("Unknown tool: {name}")))
}

fn prompt(call: &Call, envelope: &Envelope<'_>, log: &mut Log) -> Result<Addressed, String> {
    let allows = |target: &Target, name: &str, arguments: Option<&Value>| {
        call.rules.allows_prompt(&call.backend, target, name, arguments)
    };
    named(call, envelope, log, (Named::Prompt, "mcp.prompt"), allows, |name| {
        invalid(&format!("Unknown prompt: {name}"))
    })
}

fn resource(call: &Call, envelope: &Envelope<'_>, log: &mut Log) -> Result<Addressed, String> {
    let params = envelope.params.unwrap_or("{}");
    let [raw] = members(params, ["uri"]).map_err(|e| invalid(&format!("Invalid params: {e}")))?;
    let raw = raw.ok_or_else(|| invalid("Invalid params: \"uri\" is missing"))?;
    addressed_uri(call, envelope, log, raw)
}

fn addressed_uri(call: &Call, envelope: &Envelope<'_>, log: &mut Log, raw: &str) -> Result<Addressed, String> {
    let uri = string(raw).map_err(|_| invalid("Invalid params: \"uri\" must be a string"))?;
    log.item("mcp.resource", &uri);
    let unknown = || {
        let data = serde_json::json!({"uri": &*uri});
        jsonrpc::error_object(code::RESOURCE_NOT_FOUND, "Resource not found", Some(&data))
    };
    let (index, own) = call.backend.naming.split_uri(&uri).ok_or_else(unknown)?;
    let target = call.target(index).ok_or_else(unknown)?;
    if !call.rules.allows_resource(target, own, "") {
        return Err(unknown());
    }
    let edited = call.federated().then(|| {
        let mut splice = Splice::new(envelope.text);
        splice.replace(raw, quote(own));
        splice.finish()
    });
    Ok(Addressed { target: index, edited, tool: None })
}

/// Completions are asked for an argument of a prompt, or a part of a resource template; who may not see that may not
/// have it completed.
fn completion(call: &Call, envelope: &Envelope<'_>) -> Result<Addressed, String> {
    let log = &mut Log::default();
    let reference = envelope
        .params
        .and_then(|params| view::member(params, ["ref"]))
        .ok_or_else(|| invalid("Invalid params: \"ref\" is missing"))?;
    let [name, uri] = members(reference, ["name", "uri"]).map_err(|e| invalid(&format!("Invalid params: {e}")))?;
    match (name, uri) {
        (None, Some(uri)) => addressed_uri(call, envelope, log, uri),
        (Some(raw), None) => {
            let name = string(raw).map_err(|_| invalid("Invalid params: \"name\" must be a string"))?;
            let unknown = || invalid(&format!("Unknown prompt: {name}"));
            let (index, own) = call.backend.naming.find(Named::Prompt, &name).ok_or_else(unknown)?;
            let target = call.target(index).ok_or_else(unknown)?;
            if !call.rules.allows_prompt(&call.backend, target, own, None) {
                return Err(unknown());
            }
            let edited = call.federated().then(|| {
                let mut splice = Splice::new(envelope.text);
                splice.replace(raw, quote(own));
                splice.finish()
            });
            Ok(Addressed { target: index, edited, tool: None })
        }
        _ => Err(invalid("Invalid params: \"ref\" must name a prompt or a resource")),
    }
}

/// Requests of a federation that are for no target in particular.
async fn federated(call: &Rc<Call>, method: Method, envelope: &Envelope<'_>, log: &mut Log) -> Outcome {
    let id = envelope.id.unwrap_or("null");
    let result = match method {
        Method::Ping => Ok("{}".to_owned()),
        Method::SetLevel => set_level(call, envelope).await,
        _ if lists::is_list(method) => lists::merged(call, method, envelope.params).await.map(|(list, _)| list),
        _ => Err(jsonrpc::error_object(code::METHOD_NOT_FOUND, "Method not found", None)),
    };
    Outcome::Message(match result {
        Ok(result) => jsonrpc::result(id, &result),
        Err(error) => {
            log.error("refused");
            jsonrpc::raw_error(Some(id), &error)
        }
    })
}

/// Sets the level at each target that logs; it is set when one of them took it.
async fn set_level(call: &Rc<Call>, envelope: &Envelope<'_>) -> Result<String, String> {
    let limits = &call.io.shared.limits;
    let asked = call.backend.targets.iter().map(|target| async move {
        let link = connect::link(call, target, limits.list_patience).await?;
        if !link.features().has(Features::LOGGING) {
            return Ok(());
        }
        if link.is_modern() {
            call.session.wishes.note(&target.name, Method::SetLevel, envelope.params.unwrap_or("{}"));
            return Ok(());
        }
        let id = call.session.next_id();
        let message = jsonrpc::request(&id, Method::SetLevel.as_str(), envelope.params.unwrap_or("{}"));
        let how = How { method: Method::SetLevel, patience: limits.list_patience, relays: false };
        let raw = exchange::request(call, target, &message, how).await?;
        let outbox = &call.session.outbox;
        let answer =
            raw.into_answer(target, limits.message_bytes).response(&id, |other| outbox.push(target.index, other));
        let text = match tokio::time::timeout(limits.list_answer, answer).await {
            Ok(text) => text?,
            Err(_) => return Err(Fault::timeout(&target.name, "answer", limits.list_answer)),
        };
        match Envelope::parse(&text).ok().and_then(|e| e.error) {
            Some(error) => Err(Fault::new(&target.name, Kind::Rpc(error.into()), "refused the level")),
            None => {
                call.session.wishes.note(&target.name, Method::SetLevel, envelope.params.unwrap_or("{}"));
                Ok(())
            }
        }
    });
    let results = join_all(asked).await;
    if results.iter().any(Result::is_ok) {
        return Ok("{}".to_owned());
    }
    Err(results
        .into_iter()
        .find_map(Result::err)
        .map_or_else(|| invalid("no target logs"), |fault| fault.error_object()))
}

/// Handles a notification or a response of the client: neither has an answer.
pub(crate) async fn tell(call: &Rc<Call>, envelope: &Envelope<'_>, body: &Bytes, log: &mut Log) {
    log.method(if envelope.kind == jsonrpc::Kind::Response { "response" } else { envelope.method() });
    let method = Method::parse(envelope.method());
    if method == Method::Initialized {
        call.session.set_initialized();
    }
    if envelope.kind == jsonrpc::Kind::Response
        && let Some(id) = envelope.id
    {
        // A question of the gateway's own, on behalf of a target; in a federation the target's place is before the id.
        let own = string(id).ok().and_then(|tagged| Naming::untag(&tagged).map(|(_, own)| own.to_owned()));
        if call.session.answer(own.as_deref().filter(|_| call.federated()).unwrap_or(id), envelope.text) {
            return;
        }
    }
    if !call.federated() {
        return to_all(call, body).await;
    }
    let raw = match (envelope.kind, method) {
        (jsonrpc::Kind::Response, _) => envelope.id,
        (_, Method::Progress) => envelope.params.and_then(|p| view::member(p, ["progressToken"])),
        (_, Method::Cancelled) => {
            let id = envelope.params.and_then(|p| view::member(p, ["requestId"]));
            // A list that is still being merged has no single target; its answer is not far.
            if let Some(target) = id.and_then(|id| call.session.find(id)).and_then(|index| call.target(index)) {
                to_one(call, target, body.clone()).await;
            }
            return;
        }
        _ => return to_all(call, body).await,
    };
    let addressed = raw.and_then(|raw| view::untagged(envelope.text, raw));
    match addressed.and_then(|(index, text)| Some((call.target(index)?, text))) {
        Some((target, text)) => {
            log.target(&target.name);
            to_one(call, target, text.into()).await;
        }
        None => tracing::debug!(method = envelope.method(), "a client's message belongs to no target; it is dropped"),
    }
}

async fn to_all(call: &Rc<Call>, body: &Bytes) {
    join_all(call.backend.targets.iter().map(|target| to_one(call, target, body.clone()))).await;
}

/// Tells a target, if there is a link to it: for a message that has no answer none is made.
async fn to_one(call: &Rc<Call>, target: &Arc<Target>, body: Bytes) {
    let slot = call.session.slot(target);
    let Some(link) = slot.ready() else { return };
    if link.is_modern() {
        // There is nothing to tell a target that knows no session.
        return;
    }
    let told = exchange::notify(&call.io, target, &link, &call.forwarded, body);
    match tokio::time::timeout(NOTIFY, told).await {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => {
            if matches!(fault.kind, Kind::SessionGone) {
                slot.discard(&link);
            }
            tracing::debug!(reason = fault.reason(), "a client's message was not taken: {fault}");
        }
        Err(_) => tracing::debug!(mcp_target = %target.name, "a client's message was not taken in time"),
    }
}

impl Outcome {
    pub(crate) async fn into_response(self, call: &Call, id: &str) -> Response<Body> {
        match self {
            Self::Message(bytes) => reply::json(StatusCode::OK, bytes),
            Self::Relay(relay) => relay.into_response().await,
            Self::Passed(response) => response,
            Self::Fault(fault) => reply::fault(&fault, id, call.federated()),
        }
    }

    /// The response alone, for a batch.
    pub(crate) async fn into_message(self, id: &str) -> Bytes {
        match self {
            Self::Message(bytes) => bytes,
            Self::Relay(relay) => relay.into_message().await,
            Self::Passed(_) => jsonrpc::error(Some(id), code::INTERNAL, "the answer is not a message"),
            Self::Fault(fault) => fault.response(id),
        }
    }
}

/// Whether the backend has one target whose stream can be passed through as it is.
pub(crate) fn is_plain(call: &Call) -> bool {
    let Some(target) = call.target(0) else { return false };
    !call.federated()
        && matches!(target.transport, Transport::StreamableHttp(_))
        && !call.session.slot(target).ready().is_some_and(|link| link.is_modern())
}
