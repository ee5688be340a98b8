//! The JSON schema of the file, for editors, and the names that it knows, for messages about those it does not.

use std::sync::LazyLock;

use agentgateway_types::file::File;
use agentgateway_types::{Path, Segment};
use serde_json::{Value, json};

/// The JSON schema of the file (draft 2020-12). Unknown fields are errors, as they are when the file is loaded.
pub fn schema() -> Value {
    let mut schema = serde_json::to_value(schemars::schema_for!(File)).unwrap_or_default();
    close(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), json!("agentgateway configuration file"));
    }
    schema
}

/// Forbids other fields in every object with known ones, and removes what only an API server reads.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("x-kubernetes-validations");
            if object.remove("x-kubernetes-int-or-string").is_some() {
                object.insert("type".to_owned(), serde_json::json!(["integer", "string"]));
            }
            if object.contains_key("properties") {
                object.entry("additionalProperties").or_insert(json!(false));
            } else if object.get("type") == Some(&json!("object")) && !object.contains_key("additionalProperties") {
                object.insert("additionalProperties".into(), json!(false));
            }
            object.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

/// What to say about a field that no type knows.
pub(crate) fn unknown_field(path: &Path) -> String {
    let Some((Segment::Key(name), parents)) = path.segments().split_last() else {
        return "unknown field".to_owned();
    };
    let known = fields(parents);
    if known.is_empty() {
        return "unknown field; no field is allowed here".to_owned();
    }
    match known.iter().map(|k| (distance(name, k), *k)).min() {
        Some((edits, nearest)) if edits <= 2.min(nearest.len() / 2) => {
            format!("unknown field; did you mean {nearest:?}?")
        }
        _ => format!("unknown field; known are {}", known.join(", ")),
    }
}

/// Names of the fields of the object at `path`.
fn fields(path: &[Segment]) -> Vec<&'static str> {
    let mut schema = resolve(&SCHEMA);
    for segment in path {
        let next = match segment {
            Segment::Key(name) => schema.get("properties").and_then(|p| p.get(name)),
            Segment::Index(_) => schema.get("items"),
        };
        let Some(next) = next else { return Vec::new() };
        schema = resolve(next);
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.map(|p| p.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// Follows references, and takes the alternative that is not null.
fn resolve(mut schema: &'static Value) -> &'static Value {
    loop {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|r| r.strip_prefix('#'))
            .and_then(|pointer| SCHEMA.pointer(pointer));
        let alternative = schema
            .get("anyOf")
            .and_then(Value::as_array)
            .and_then(|all| all.iter().find(|s| s.get("type") != Some(&json!("null"))));
        match target.or(alternative) {
            Some(next) => schema = next,
            None => return schema,
        }
    }
}

/// Levenshtein's distance, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.to_ascii_lowercase().chars().collect(), b.to_ascii_lowercase().chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut before = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let cost = (before + usize::from(x != y)).min(left + 1).min(*cell + 1);
            before = *cell;
            *cell = cost;
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "", 0), ("a", "", 1), ("port", "prot", 2), ("Port", "port", 0), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn suggests_the_nearest_or_lists_all() {
        let at = |path: Path| unknown_field(&path);
        assert_eq!(at(Path::of("binds").index(0).key("prot")), "unknown field; did you mean \"port\"?");
        assert_eq!(
            at(Path::of("binds").index(0).key("nonsense")),
            "unknown field; known are address, limits, listeners, port, proxyProtocol"
        );
        assert_eq!(at(Path::of("bindz")), "unknown field; did you mean \"binds\"?");
        let policies = Path::of("binds").index(0).key("listeners").index(0).key("routes").index(0).key("policies");
        assert_eq!(at(policies.clone().key("JWTAuth")), "unknown field; did you mean \"jwtAuth\"?");
        assert_eq!(
            at(policies.key("backendAuth").key("passthrough").key("x")),
            "unknown field; no field is allowed here"
        );
    }

    #[test]
    fn the_schema_is_closed_and_for_editors_only() {
        let schema = schema();
        assert_eq!(schema["additionalProperties"], json!(false));
        assert!(!schema.to_string().contains("x-kubernetes"));
        assert_eq!(schema["title"], "agentgateway configuration file");
    }
}
