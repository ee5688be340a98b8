//! Prints a status as lines that a person reads and a script can match.

use std::io::Write;

use agentgateway_controlplane_translate::ObjectKey;
use serde_json::Value;

/// Writes the lines to stdout.
pub(crate) fn status(key: &ObjectKey, status: &Value) {
    let mut text = String::new();
    for line in lines(key, status) {
        text.push_str(&line);
        text.push('\n');
    }
    // Nobody may read it; the program goes on.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn lines(key: &ObjectKey, status: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let list = |field: &str| status.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    if status.get("conditions").is_some() {
        let addresses: Vec<_> =
            list("addresses").iter().filter_map(|a| Some(a.get("value")?.as_str()?.to_owned())).collect();
        let suffix = if addresses.is_empty() { String::new() } else { format!(" address={}", addresses.join(",")) };
        lines.push(format!("{key}{}{suffix}", conditions(status)));
    }
    for listener in list("listeners") {
        let name = listener.get("name").and_then(Value::as_str).unwrap_or_default();
        let routes = listener.get("attachedRoutes").and_then(Value::as_i64).unwrap_or(0);
        lines.push(format!("{key} listener={name}{} attachedRoutes={routes}", conditions(&listener)));
    }
    for (list_name, reference) in [("parents", "parentRef"), ("ancestors", "ancestorRef")] {
        for entry in list(list_name) {
            let part = |field: &str| {
                entry.get(reference).and_then(|r| r.get(field)).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let namespace =
                Some(part("namespace")).filter(|n| !n.is_empty()).unwrap_or_else(|| key.name.namespace.clone());
            let section =
                Some(part("sectionName")).filter(|s| !s.is_empty()).map_or(String::new(), |s| format!("/{s}"));
            lines.push(format!("{key} on={namespace}/{}{section}{}", part("name"), conditions(&entry)));
        }
    }
    lines
}

/// Conditions of problems, which are good when they are false.
const PROBLEMS: [&str; 4] =
    ["Conflicted", "InsecureFrontendValidationMode", "OverlappingTLSConfig", "PartiallyInvalid"];

/// " Type=Status" of each condition; those that are not as they should be with reason and message.
fn conditions(of: &Value) -> String {
    let mut text = String::new();
    for condition in of.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let part = |field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default();
        let (name, status) = (part("type"), part("status"));
        text.push_str(&format!(" {name}={status}"));
        let good = if PROBLEMS.contains(&name) { "False" } else { "True" };
        if status != good {
            text.push_str(&format!("({}: {})", part("reason"), part("message")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentgateway_controlplane_translate::{Name, ObjectKind};
    use serde_json::json;

    #[test]
    fn a_line_for_the_object_its_listeners_and_its_parents() {
        let gateway = ObjectKey { kind: ObjectKind::Gateway, name: Name::new("n", "g") };
        let condition = |t: &str, s: &str| json!({"type": t, "status": s, "reason": "Why", "message": "because"});
        let status_of_gateway = json!({
            "addresses": [{"value": "127.0.0.1"}],
            "conditions": [condition("Accepted", "True"), condition("Programmed", "False")],
            "listeners": [{"name": "http", "attachedRoutes": 2, "conditions": [condition("Conflicted", "False")]}],
        });
        assert_eq!(
            lines(&gateway, &status_of_gateway),
            [
                "Gateway n/g Accepted=True Programmed=False(Why: because) address=127.0.0.1",
                "Gateway n/g listener=http Conflicted=False attachedRoutes=2",
            ]
        );
        let route = ObjectKey { kind: ObjectKind::HttpRoute, name: Name::new("n", "r") };
        let status_of_route = json!({"parents": [{"parentRef": {"name": "g", "sectionName": "s"}, "conditions": [condition("Accepted", "True")]}]});
        assert_eq!(lines(&route, &status_of_route), ["HTTPRoute n/r on=n/g/s Accepted=True"]);
    }
}
