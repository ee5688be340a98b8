//! A request of a client without a session, from its headers to the target's answer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use agentgateway_upstream::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

use crate::answer::Answer;
use crate::call::Call;
use crate::connect;
use crate::dispatch::{self, patience};
use crate::downstream::Admitted;
use crate::exchange::{self, How, Raw};
use crate::fault::Kind as FaultKind;
use crate::jsonrpc::{self, Envelope, Kind, string};
use crate::link::Link;
use crate::lists;
use crate::log::Log;
use crate::modern::check::{self, Meta, Refusal};
use crate::modern::parked::Parked;
use crate::modern::relay::{self, QUESTION, Sent};
use crate::modern::{discover, held, listen};
use crate::protocol::{Method, PARAM_PREFIX, code, meta};
use crate::reply;
use crate::splice::Splice;
use crate::view;

/// Answers a request or notification.
pub(crate) async fn handle(
    mut admitted: Admitted,
    envelope: &Envelope<'_>,
    body: &Bytes,
    log: &mut Log,
) -> Response<Body> {
    log.method(envelope.method());
    let headers = admitted.rules.headers();
    let id = match (envelope.kind, envelope.id) {
        (Kind::Request, Some(id)) => id,
        (Kind::Notification, _) => return notification(headers),
        _ => return Refusal::new(code::INVALID_REQUEST, "Invalid Request: there are no responses").into_response(None),
    };
    let refused = |refusal: Refusal, log: &mut Log| {
        log.error("refused");
        refusal.into_response(Some(id))
    };
    let meta = match check::check(headers, envelope) {
        Ok(meta) => meta,
        Err(refusal) => return refused(refusal, log),
    };
    let method = Method::parse(envelope.method());
    if is_gone(method) {
        return refused(Refusal::new(code::METHOD_NOT_FOUND, "Method not found"), log);
    }
    let params = params(headers);
    admitted.forwarded.set_params(params);
    let call = match held::enter(admitted, &meta) {
        Ok(call) => call,
        Err(refusal) => return refused(refusal, log),
    };
    match method {
        Method::Discover => discover::answer(&call, id).await,
        Method::Listen => listen::open(call, envelope, id).await,
        _ if call.federated() && lists::is_list(method) => match lists::merged(&call, method, envelope.params).await {
            Ok((list, caching)) => {
                let result = relay::list_result(&list, caching);
                reply::json(StatusCode::OK, jsonrpc::result(id, &result))
            }
            Err(error) => {
                log.error("refused");
                relay::response(String::from_utf8_lossy(&jsonrpc::raw_error(Some(id), &error)).into_owned())
            }
        },
        _ => to_target(call, method, &meta, envelope, body, log).await,
    }
}

/// Methods that the stateless protocol has no more.
fn is_gone(method: Method) -> bool {
    matches!(
        method,
        Method::Initialize
            | Method::Ping
            | Method::SetLevel
            | Method::ResourcesSubscribe
            | Method::ResourcesUnsubscribe
            | Method::SamplingCreateMessage
            | Method::ElicitationCreate
            | Method::RootsList
    )
}

/// Notifications mean nothing outside of a session; they are taken, as long as their version is one that is spoken here.
fn notification(headers: &HeaderMap) -> Response<Body> {
    if check::says_modern(headers) {
        return reply::accepted();
    }
    Refusal::new(code::UNSUPPORTED_VERSION, "Unsupported protocol version").into_response(None)
}

/// The headers that repeat arguments. The server that defined them checks them against the message, which stays as it is.
fn params(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let own = headers.iter().filter(|(name, _)| name.as_str().starts_with(PARAM_PREFIX));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}

async fn to_target(
    call: Rc<Call>,
    method: Method,
    meta: &Meta<'_>,
    envelope: &Envelope<'_>,
    body: &Bytes,
    log: &mut Log,
) -> Response<Body> {
    let id = envelope.id.unwrap_or("null");
    lists::look_up(&call, method, envelope.params).await;
    let addressed = match dispatch::address(&call, method, envelope, log) {
        Some(Ok(addressed)) => addressed,
        Some(Err(error)) => {
            log.error("refused");
            let text = jsonrpc::raw_error(Some(id), &error);
            return relay::response(modern_code(&String::from_utf8_lossy(&text)));
        }
        None => return relay::refused(Refusal::new(code::METHOD_NOT_FOUND, "Method not found"), id),
    };
    let Some(target) = call.target(addressed.target).cloned() else {
        return relay::refused(Refusal::new(code::INTERNAL, "the target does not exist"), id);
    };
    log.target(&target.name);
    let patience = patience(&call, &target);
    let link = match connect::link(&call, &target, patience).await {
        Ok(link) => link,
        Err(why) => {
            log.error(why.reason());
            return relay::fault(&why, id);
        }
    };
    let edited = addressed.edited.map_or_else(|| body.clone(), Bytes::from);
    let progress = envelope.params.and_then(|p| view::member(p, ["_meta", "progressToken"]));
    let is_passed = matches!(&link, Link::Http(http) if http.version.is_modern());
    let mut sent = Sent {
        target: Arc::clone(&target),
        link,
        method,
        id: id.into(),
        own_id: id.into(),
        progress: progress.map(Into::into),
        logs: meta.log_level.is_some(),
        capabilities: meta.capabilities.into(),
        call,
    };
    if !sent.link.is_modern()
        && let Some(state) = envelope.params.and_then(|params| view::member(params, ["requestState"]))
    {
        return resume(sent, state, envelope, log).await;
    }
    let message = if is_passed {
        edited
    } else {
        if method == Method::Other && !sent.link.is_modern() {
            return relay::refused(Refusal::new(code::METHOD_NOT_FOUND, "Method not found"), id);
        }
        sent.own_id = sent.call.session.next_id().into();
        set_level(&sent, meta).await;
        Bytes::from(renumbered(&edited, &sent.own_id, sent.link.is_modern()))
    };
    let how = How { method, patience, relays: true };
    let since = Instant::now();
    let answered = exchange::request(&sent.call, &target, &message, how).await;
    if let Some(tool) = addressed.tool {
        target.metrics.call(tool, answered.is_ok(), since.elapsed());
    }
    let raw = match answered {
        Ok(raw) => raw,
        Err(why) => {
            log.error(why.reason());
            if matches!(&why.kind, FaultKind::Status(_)) && is_passed {
                tracing::debug!(mcp_target = %target.name, "a request was refused: {why}");
            }
            return relay::fault(&why, id);
        }
    };
    let filters = lists::is_list(method) && !sent.call.rules.is_open();
    match raw {
        Raw::Http(response) if is_passed && !sent.call.federated() && !filters && target.breaker.is_none() => {
            dispatch::passed(response)
        }
        raw => {
            let answer = raw.into_answer(&target, sent.call.io.shared.limits.message_bytes);
            sent.into_response(answer).await
        }
    }
}

/// The gateway's own errors, with the codes of the stateless protocol.
fn modern_code(text: &str) -> String {
    text.replacen(&format!("\"code\":{}", code::RESOURCE_NOT_FOUND), &format!("\"code\":{}", code::INVALID_PARAMS), 1)
}

/// A message under the gateway's own id, which is also its progress token: several clients share one session.
/// A target with a handshake, which has said who the client is, gets to see nothing of it again: some refuse it.
fn renumbered(message: &Bytes, own_id: &str, is_modern: bool) -> String {
    let text = String::from_utf8_lossy(message);
    let Ok(envelope) = Envelope::parse(&text) else { return text.into_owned() };
    let mut splice = Splice::new(&text);
    if let Some(id) = envelope.id {
        splice.replace(id, own_id.to_owned());
    }
    let Some(own) = envelope.params.and_then(|params| view::member(params, ["_meta"])) else { return splice.finish() };
    match serde_json::from_str::<Map<String, Value>>(own) {
        Ok(mut members) if !is_modern => {
            members.retain(|name, _| !meta::OF_CLIENT.contains(&name.as_str()));
            if let (Some(token), Ok(id)) = (members.get_mut("progressToken"), serde_json::from_str(own_id)) {
                *token = id;
            }
            splice.replace(own, Value::Object(members).to_string());
        }
        _ => {
            if let Some(token) = view::member(own, ["progressToken"]) {
                splice.replace(token, own_id.to_owned());
            }
        }
    }
    splice.finish()
}

/// A target with a handshake logs what its session asked for: the level that this request asks for is set first.
async fn set_level(sent: &Sent, meta: &Meta<'_>) {
    let (Some(level), false) = (meta.log_level, sent.link.is_modern()) else { return };
    if !sent.link.features().has(crate::capabilities::Features::LOGGING) {
        return;
    }
    let params = format!(r#"{{"level":{level}}}"#);
    let session = &sent.call.session;
    let known = session.wishes.of(&sent.target.name);
    if known.iter().any(|wish| wish.method == Method::SetLevel && *wish.params == *params) {
        return;
    }
    let id = session.next_id();
    let message = jsonrpc::request(&id, Method::SetLevel.as_str(), &params);
    let asked = exchange::ask(&sent.call.io, &sent.target, &sent.link, &sent.call.forwarded, &id, &message);
    if let Ok(Ok(true)) = tokio::time::timeout(crate::limits::NOTIFY, asked).await {
        session.wishes.note(&sent.target.name, Method::SetLevel, &params);
    }
}

/// Goes on with a call that waited for the client.
async fn resume(mut sent: Sent, state: &str, envelope: &Envelope<'_>, log: &mut Log) -> Response<Body> {
    let id = sent.id.clone();
    let invalid = |why: &str| relay::refused(Refusal::new(code::INVALID_PARAMS, format!("Invalid params: {why}")), &id);
    let unknown = "\"requestState\" is unknown, or its call is over";
    let shared = Arc::clone(&sent.call.io.shared);
    let session = sent.call.session.id;
    let opened = string(state).ok().and_then(|state| shared.sealer.open_state(&state));
    let Some((call, _)) = opened.filter(|(_, own)| *own == session) else {
        log.error("bad_request_state");
        return invalid(unknown);
    };
    let Some(parked) = shared.parked.take(&call, &session) else {
        log.error("bad_request_state");
        return invalid(unknown);
    };
    if parked.method != sent.method || parked.target != (sent.target.index, Arc::clone(&sent.target.name)) {
        return invalid("\"requestState\" belongs to another request");
    }
    let answered = envelope.params.and_then(|params| view::member(params, ["inputResponses", QUESTION]));
    let Some(answer) = answered.filter(|answer| answer.starts_with('{')) else { return ask_again(&sent, parked) };
    sent.own_id = parked.own_id;
    let message = jsonrpc::result(&parked.question.id, answer);
    let told = exchange::notify(&sent.call.io, &sent.target, &sent.link, &sent.call.forwarded, message);
    match tokio::time::timeout(crate::limits::NOTIFY, told).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => return relay::fault(&why, &id),
        Err(_) => return invalid("the target did not take the answer in time"),
    }
    let answer = Answer::from_pump(&sent.target, parked.rest);
    sent.into_response(answer).await
}

/// The client came back without the answer.
fn ask_again(sent: &Sent, parked: Parked) -> Response<Body> {
    let question = parked.question.clone();
    let shared = &sent.call.io.shared;
    let session = sent.call.session.id;
    let state = shared.parked.put(parked).ok().flatten().and_then(|id| shared.sealer.seal_state(&id, &session).ok());
    match state {
        Some(state) => relay::response(relay::input_required(&sent.id, &question, &state)),
        None => relay::refused(Refusal::new(code::INTERNAL, "the call cannot wait any longer"), &sent.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_target_with_a_handshake_gets() {
        let text = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"progressToken":"p","own":1}}}"#;
        let value = |is_modern| -> Value {
            serde_json::from_str(&renumbered(&Bytes::from_static(text.as_bytes()), "\"g-1\"", is_modern)).unwrap()
        };
        let own = &value(false)["params"]["_meta"];
        assert_eq!(own, &serde_json::json!({"progressToken": "g-1", "own": 1}));
        let own = &value(true)["params"]["_meta"];
        assert_eq!((&own["progressToken"], own.as_object().unwrap().len()), (&Value::from("g-1"), 4));
        assert_eq!(value(true)["id"], "g-1");
    }
}
