//! The CustomResourceDefinitions as YAML, in the form in which they are kept in `crds/generated`.

use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::{Backend, DirectResponse, GROUP, GatewayExtension, GatewayParameters, POLICY_LABEL, TrafficPolicy};

/// A definition and the name of its file.
#[derive(Debug)]
pub struct Definition {
    /// Name of the file, without a folder.
    pub file: String,
    /// Its content.
    pub yaml: String,
}

const HEADER: &str =
    "# Generated from the types in crds/; change those, then run `cargo run -p agentgateway-crds --bin gen-crds`.\n";

/// All definitions, or why one cannot be written as YAML.
pub fn all() -> Result<Vec<Definition>, String> {
    let mut definitions = Vec::new();
    for (definition, policy) in [
        (Backend::crd(), false),
        (TrafficPolicy::crd(), true),
        (GatewayExtension::crd(), false),
        (DirectResponse::crd(), false),
        (GatewayParameters::crd(), false),
    ] {
        let plural = definition.spec.names.plural.clone();
        let value = serde_json::to_value(definition).map_err(|e| format!("{plural}: {e}"))?;
        let yaml = serde_norway::to_string(&finish(value, policy)).map_err(|e| format!("{plural}: {e}"))?;
        definitions.push(Definition { file: format!("{GROUP}_{plural}.yaml"), yaml: format!("{HEADER}{yaml}") });
    }
    Ok(definitions)
}

fn finish(mut definition: Value, policy: bool) -> Value {
    let mut labels = Map::new();
    labels.insert("app.kubernetes.io/name".into(), json!("agentgateway"));
    if policy {
        labels.insert(POLICY_LABEL.0.into(), json!(POLICY_LABEL.1));
    }
    if let Some(metadata) = definition.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("labels".into(), Value::Object(labels));
    }
    for version in definition.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
            tidy(schema);
            // The derive has no description for the object as a whole; `kubectl explain` shows that one first.
            if let Some(of_spec) = schema.pointer("/properties/spec/description").cloned()
                && let Some(root) = schema.as_object_mut()
            {
                root.insert("description".into(), of_spec);
            }
        }
    }
    sorted(definition)
}

/// Takes out of a schema what Rust's types put there and the API server has no use for: number formats that it warns
/// about, and `nullable`, without which a null is what it looks like, an absent field, for every rule.
fn tidy(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("nullable");
    object.remove("title");
    if object.get("format").and_then(Value::as_str).is_some_and(|f| f.starts_with("uint")) {
        object.remove("format");
    }
    for key in ["minimum", "maximum"] {
        if let Some(number) = object.get(key).and_then(Value::as_f64).filter(|n| n.fract() == 0.0) {
            object.insert(key.into(), json!(number as i64));
        }
    }
    for properties in object.get_mut("properties").and_then(Value::as_object_mut).into_iter() {
        properties.values_mut().for_each(tidy);
    }
    for key in ["items", "additionalProperties"] {
        object.get_mut(key).into_iter().for_each(tidy);
    }
}

/// Keys in order, so that the files do not depend on how a map keeps them.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(k, v)| (k, sorted(v))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
