//! `server/discover`: what the targets said of themselves last, without asking them again.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agentgateway_upstream::Body;
use futures::future::join_all;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::call::Call;
use crate::capabilities::{self, Handshake};
use crate::connect;
use crate::jsonrpc;
use crate::limits::DISCOVER_GRACE;
use crate::modern::relay::fault;
use crate::modern::translate::Caching;
use crate::protocol::{Version, meta};
use crate::reply;

/// Answers at once when every target was heard of before. A single target that was not is waited for; of several, those
/// that do not answer soon are taken to have everything, until the next request.
pub(crate) async fn answer(call: &Rc<Call>, id: &str) -> Response<Body> {
    let limits = &call.io.shared.limits;
    let asked = call.backend.targets.iter().map(|target| async move {
        if let Some(known) = target.known() {
            return Ok(Some(known));
        }
        let longest = target.connect_timeout(limits);
        let patience = if call.federated() { DISCOVER_GRACE } else { longest + Duration::from_secs(1) };
        connect::link(call, target, patience).await.map(|_| target.known())
    });
    let mut found = Vec::new();
    let mut failure = None;
    for (target, asked) in call.backend.targets.iter().zip(join_all(asked).await) {
        match asked {
            Ok(Some(known)) => found.push((&*target.name, known)),
            Ok(None) => {}
            Err(why) => failure = Some(why),
        }
    }
    if let (false, Some(why)) = (call.federated(), &failure) {
        return fault(why, id);
    }
    let incomplete = found.len() < call.backend.targets.len();
    reply::json(StatusCode::OK, jsonrpc::result(id, &result(call.federated(), &found, incomplete).to_string()))
}

fn result(is_federated: bool, found: &[(&str, Arc<Handshake>)], incomplete: bool) -> Value {
    let mut caching = Caching { ttl: if incomplete { 0 } else { u64::MAX }, is_public: !incomplete };
    for (_, known) in found {
        caching = caching.and(known.caching);
    }
    let merged = if is_federated {
        let all: Vec<(&str, Handshake)> = found.iter().map(|(name, known)| (*name, (**known).clone())).collect();
        capabilities::merge(Version::MODERN, &all, incomplete)
    } else {
        let text = found.first().map_or("{}", |(_, known)| &*known.text);
        serde_json::from_str(text).unwrap_or_else(|_| json!({}))
    };
    let mut capabilities = merged.get("capabilities").cloned().unwrap_or_else(|| json!({}));
    if let Some(all) = capabilities.as_object_mut() {
        // What only a session can have.
        all.remove("tasks");
    }
    let versions: Vec<&str> = Version::ALL.iter().rev().map(|v| v.as_str()).collect();
    let mut result = json!({
        "resultType": "complete",
        "supportedVersions": versions,
        "capabilities": capabilities,
        "ttlMs": caching.ttl,
        "cacheScope": if caching.is_public { "public" } else { "private" },
        "_meta": {meta::SERVER: merged.get("serverInfo").cloned().unwrap_or_default()},
    });
    if let Some(instructions) = merged.get("instructions") {
        result["instructions"] = instructions.clone();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_federation_is_as_stale_as_its_stalest_target() {
        let legacy = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"tasks":{}},"serverInfo":{"name":"a","version":"1"}}"#;
        let legacy = Arc::new(Handshake::parse(legacy).unwrap());
        let modern =
            r#"{"supportedVersions":["2026-07-28"],"capabilities":{"prompts":{}},"ttlMs":500,"cacheScope":"public"}"#;
        let modern = Arc::new(Handshake::discovered(modern, Version::LATEST).unwrap());
        let one = result(false, &[("b", Arc::clone(&modern))], false);
        assert_eq!((&one["ttlMs"], &one["cacheScope"]), (&json!(500), &json!("public")));
        assert_eq!(one["capabilities"], json!({"prompts": {}}));
        let two = result(true, &[("a", legacy), ("b", modern)], false);
        assert_eq!((&two["ttlMs"], &two["cacheScope"]), (&json!(500), &json!("private")));
        assert!(two["capabilities"]["tools"].is_object() && two["capabilities"]["prompts"].is_object());
        assert_eq!(two["supportedVersions"][0], "2026-07-28");
        assert!(result(true, &[], true)["capabilities"]["resources"].is_object());
    }
}
