//! Lists: of one target as the caller may see them, and of a federation as one.
//!
//! A federation's list is complete in one answer: all pages of all targets, in the targets' order. There is no cursor
//! for the client, so none can outlive a target or a page.

use std::borrow::Cow;
use std::sync::Arc;

use futures::future::join_all;

use crate::call::Call;
use crate::exchange::{self, How};
use crate::fault::{Fault, Kind};
use crate::jsonrpc::{self, Envelope, members, quote, string};
use crate::limits::{LIST_ITEMS, LIST_PAGES};
use crate::modern::translate::Caching;
use crate::naming::Named;
use crate::protocol::{Method, code};
use crate::splice::Splice;
use crate::target::Target;

/// Where a list method has its items.
fn items_member(method: Method) -> Option<&'static str> {
    match method {
        Method::ToolsList => Some("tools"),
        Method::PromptsList => Some("prompts"),
        Method::ResourcesList => Some("resources"),
        Method::ResourceTemplatesList => Some("resourceTemplates"),
        _ => None,
    }
}

/// Whether the method lists items.
pub(crate) fn is_list(method: Method) -> bool {
    items_member(method).is_some()
}

/// An item as the caller sees it; nothing when it may not.
fn visible<'a>(call: &Call, target: &Target, method: Method, item: &'a str) -> Option<Cow<'a, str>> {
    let seen = || -> Result<Option<Cow<'a, str>>, serde_json::Error> {
        let naming = &call.backend.naming;
        let (raw, allowed, federated) = match method {
            Method::ResourcesList | Method::ResourceTemplatesList => {
                let member = if method == Method::ResourcesList { "uri" } else { "uriTemplate" };
                let [raw, name] = members(item, [member, "name"])?;
                let uri = string(raw.unwrap_or_default())?;
                let name = name.map(string).transpose()?.unwrap_or_default();
                let allowed = call.rules.allows_resource(target, &uri, &name);
                (raw, allowed, call.federated().then(|| naming.uri(target.index, &uri)))
            }
            _ => {
                let [raw] = members(item, ["name"])?;
                let name = string(raw.unwrap_or_default())?;
                let named = if method == Method::ToolsList { Named::Tool } else { Named::Prompt };
                if !naming.note(named, target.index, &name) {
                    tracing::debug!(mcp_target = %target.name, %name, "another target has this name already");
                    return Ok(None);
                }
                let allowed = match method {
                    Method::ToolsList => call.rules.allows_tool(&call.backend, target, &name, None),
                    _ => call.rules.allows_prompt(&call.backend, target, &name, None),
                };
                (raw, allowed, call.federated().then(|| naming.name(target.index, &name)))
            }
        };
        if !allowed {
            return Ok(None);
        }
        let (Some(raw), Some(federated)) = (raw, federated) else { return Ok(Some(Cow::Borrowed(item))) };
        let mut splice = Splice::new(item);
        splice.replace(raw, quote(&federated));
        Ok(Some(Cow::Owned(splice.finish())))
    };
    seen().unwrap_or_else(|error| {
        tracing::warn!(mcp_target = %target.name, method = method.as_str(), %error, "an item of a list cannot be read; it is left out");
        None
    })
}

/// A response to a list, with what the caller may not see taken out.
pub(crate) fn filtered(call: &Call, target: &Target, method: Method, text: String) -> Result<String, Fault> {
    let Some(member) = items_member(method) else { return Ok(text) };
    let edit = || -> Result<Option<String>, String> {
        let envelope = Envelope::parse(&text).map_err(|e| e.to_string())?;
        let Some(result) = envelope.result else { return Ok(None) };
        let [raw] = members(result, [member]).map_err(|e| e.to_string())?;
        let Some(raw) = raw else { return Ok(None) };
        let items = jsonrpc::items(raw).map_err(|e| e.to_string())?;
        let kept: Vec<_> = items.iter().filter_map(|item| visible(call, target, method, item)).collect();
        let mut splice = Splice::new(&text);
        splice.replace(raw, array(&kept));
        Ok(Some(splice.finish()))
    };
    match edit() {
        Ok(edited) => Ok(edited.unwrap_or(text)),
        Err(why) => Err(Fault::new(&target.name, Kind::Protocol, format!("answered {} badly: {why}", method.as_str()))),
    }
}

fn array<T: AsRef<str>>(items: &[T]) -> String {
    let mut out = String::with_capacity(items.iter().map(|i| i.as_ref().len() + 1).sum::<usize>() + 2);
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(item.as_ref());
    }
    out.push(']');
    out
}

/// What a list's items are named as; resources have URIs.
fn named(method: Method) -> Option<Named> {
    match method {
        Method::ToolsList => Some(Named::Tool),
        Method::PromptsList => Some(Named::Prompt),
        _ => None,
    }
}

fn is_owner(call: &Call, named: Named, target: &Target, item: &str) -> bool {
    let naming = &call.backend.naming;
    !naming.are_bare()
        || crate::view::member(item, ["name"])
            .and_then(|name| string(name).ok())
            .is_some_and(|name| naming.note(named, target.index, &name))
}

/// Lists all targets when only that tells whose a name is, which a client has learnt elsewhere.
pub(crate) async fn look_up(call: &Call, method: Method, params: Option<&str>) {
    let (named, list) = match method {
        Method::ToolsCall => (Named::Tool, Method::ToolsList),
        Method::PromptsGet => (Named::Prompt, Method::PromptsList),
        _ => return,
    };
    let name = params.and_then(|params| crate::view::member(params, ["name"])).and_then(|name| string(name).ok());
    if name.is_some_and(|name| call.backend.naming.must_look_up(named, &name)) {
        // What fails is left out, and the name stays unknown.
        drop(merged(call, list, None).await);
    }
}

/// The federation's list: the text of the result, or of the error object when no target gave one.
pub(crate) async fn merged(call: &Call, method: Method, params: Option<&str>) -> Result<(String, Caching), String> {
    let Some(member) = items_member(method) else {
        return Err(jsonrpc::error_object(code::METHOD_NOT_FOUND, "Method not found", None));
    };
    if params.and_then(|p| crate::view::member(p, ["cursor"])).is_some_and(|cursor| cursor != "null") {
        return Err(jsonrpc::error_object(
            code::INVALID_PARAMS,
            "Invalid cursor: lists of this server have one page",
            None,
        ));
    }
    let asked = call.backend.targets.iter().map(|target| async move {
        let listed = all_pages(call, target, method, member).await;
        target.set_suspect(listed.as_ref().is_err_and(|f| matches!(f.kind, Kind::Timeout | Kind::Unreachable)));
        (target, listed)
    });
    let mut items = Vec::new();
    let mut faults = Vec::new();
    let mut answered = false;
    let mut caching = Caching { ttl: u64::MAX, is_public: call.rules.is_open() };
    for (target, listed) in join_all(asked).await {
        match listed {
            Ok((mut own, how_long)) => {
                answered = true;
                if let Some(named) = named(method) {
                    // All have answered only now: a target before this one may have the same name.
                    own.retain(|item| is_owner(call, named, target, item));
                }
                caching = caching.and(how_long);
                let room = LIST_ITEMS.saturating_sub(items.len());
                if own.len() > room {
                    tracing::warn!(mcp_target = %target.name, method = method.as_str(), "a list has more than {LIST_ITEMS} items; the rest is left out");
                }
                items.extend(own.into_iter().take(room));
            }
            Err(fault) => {
                tracing::warn!(method = method.as_str(), reason = fault.reason(), "left out of a list: {fault}");
                // The target may be back any time.
                caching = caching.and(Caching::UNKNOWN);
                faults.push(fault);
            }
        }
    }
    match faults.first() {
        Some(first) if call.backend.fails_closed => Err(first.error_object()),
        Some(first) if !answered => Err(match faults.len() {
            1 => first.error_object(),
            n => jsonrpc::error_object(code::INTERNAL, &format!("none of {n} targets answered; {first}"), None),
        }),
        _ => Ok((format!(r#"{{"{member}":{}}}"#, array(&items)), caching)),
    }
}

/// All items of one target that the caller may see.
async fn all_pages(
    call: &Call,
    target: &Arc<Target>,
    method: Method,
    member: &'static str,
) -> Result<(Vec<String>, Caching), Fault> {
    let limits = &call.io.shared.limits;
    let (patience, answer) = if target.is_suspect() {
        (limits.suspect_patience, limits.suspect_patience)
    } else {
        (limits.list_patience, limits.list_answer.min(target.request_timeout(limits)))
    };
    let link = crate::connect::link(call, target, patience).await?;
    if !link.features().has(crate::capabilities::Features::needed(method)) {
        return Ok((Vec::new(), Caching { ttl: u64::MAX, is_public: true }));
    }
    match tokio::time::timeout(answer, read_pages(call, target, method, member, patience, link.is_modern())).await {
        Ok(result) => result,
        Err(_) => {
            let fault = Fault::timeout(&target.name, &format!("answer {}", method.as_str()), answer);
            target.settle(&fault);
            Err(fault)
        }
    }
}

async fn read_pages(
    call: &Call,
    target: &Arc<Target>,
    method: Method,
    member: &'static str,
    patience: std::time::Duration,
    is_modern: bool,
) -> Result<(Vec<String>, Caching), Fault> {
    let limits = &call.io.shared.limits;
    let protocol =
        |why: String| Fault::new(&target.name, Kind::Protocol, format!("answered {} badly: {why}", method.as_str()));
    let mut items = Vec::new();
    if let Some(named) = named(method) {
        call.backend.naming.forget(named, target.index);
    }
    let mut bytes = 0;
    let mut cursor: Option<String> = None;
    let mut caching = Caching { ttl: u64::MAX, is_public: true };
    for _ in 0..LIST_PAGES {
        let id = call.session.next_id();
        let params = match (cursor.as_deref(), is_modern) {
            (None, false) => String::new(),
            (Some(cursor), false) => format!(r#"{{"cursor":{cursor}}}"#),
            (None, true) => format!(r#"{{"_meta":{{{}}}}}"#, call.session.meta_members()),
            (Some(cursor), true) => format!(r#"{{"cursor":{cursor},"_meta":{{{}}}}}"#, call.session.meta_members()),
        };
        let message = jsonrpc::request(&id, method.as_str(), &params);
        let how = How { method, patience, relays: false };
        let raw = exchange::request(call, target, &message, how).await?;
        let outbox = &call.session.outbox;
        let text = raw
            .into_answer(target, limits.message_bytes)
            .response(&id, |other| outbox.push(target.index, other))
            .await?;
        let envelope = Envelope::parse(&text).map_err(|e| protocol(e.to_string()))?;
        if let Some(error) = envelope.error {
            return Err(Fault::new(
                &target.name,
                Kind::Rpc(error.into()),
                format!("refused {}: {error}", method.as_str()),
            ));
        }
        let [page, next] =
            members(envelope.result.unwrap_or("{}"), [member, "nextCursor"]).map_err(|e| protocol(e.to_string()))?;
        caching = caching.and(Caching::of(envelope.result.unwrap_or("{}")));
        bytes += text.len();
        if bytes > limits.message_bytes {
            return Err(protocol(format!("its pages are larger than {} bytes together", limits.message_bytes)));
        }
        for item in jsonrpc::items(page.unwrap_or("[]")).map_err(|e| protocol(e.to_string()))? {
            items.extend(visible(call, target, method, item).map(Cow::into_owned));
        }
        let next = next.filter(|n| n.starts_with('"')).map(str::to_owned);
        if next.is_none() || next == cursor || items.len() > LIST_ITEMS {
            return Ok((items, caching));
        }
        cursor = next;
    }
    Err(protocol(format!("it has more than {LIST_PAGES} pages")))
}
