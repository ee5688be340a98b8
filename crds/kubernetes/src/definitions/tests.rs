use std::collections::BTreeSet;
use std::path::Path;

use agentgateway_types::file::FILE_ONLY;
use serde_json::Value;

use super::*;

fn schemas() -> Vec<(String, Value)> {
    let parse = |d: Definition| (d.file.clone(), serde_norway::from_str::<Value>(&d.yaml).expect("YAML"));
    all()
        .expect("definitions")
        .into_iter()
        .map(parse)
        .map(|(f, v)| (f, v.pointer("/spec/versions/0/schema/openAPIV3Schema").expect("schema").clone()))
        .collect()
}

/// Calls `visit` with the path and the schema of every field.
fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), inner, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
}

#[test]
fn generated_files_are_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../generated");
    let definitions = all().expect("definitions");
    for definition in &definitions {
        let kept = std::fs::read_to_string(folder.join(&definition.file)).unwrap_or_default();
        assert!(
            kept == definition.yaml,
            "crds/generated/{} is stale: run `cargo run -p agentgateway-crds --bin gen-crds`",
            definition.file
        );
    }
    let files = std::fs::read_dir(&folder).expect("crds/generated");
    let kept: BTreeSet<String> = files.map(|f| f.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    let made: BTreeSet<String> = definitions.into_iter().map(|d| d.file).collect();
    assert_eq!(kept, made, "files that no type makes");
}

/// What is below these fields is Kubernetes' own, its descriptions and limits too.
const FOREIGN: [&str; 8] = [
    ".selector.namespace.",
    ".selector.service.",
    ".conditions[]",
    ".strategy.",
    ".updateStrategy.",
    ".affinity.",
    ".tolerations[].",
    ".topologySpreadConstraints[].",
];

fn foreign(path: &str) -> bool {
    FOREIGN.iter().any(|field| path.contains(field))
}

#[test]
fn every_field_says_what_it_is_for() {
    for (file, schema) in schemas() {
        walk("", &schema, &mut |path, field| {
            let item = path.ends_with("[]");
            let implied = path.is_empty() || path == ".spec" || path == ".metadata";
            let described = field["description"].as_str().is_some_and(|d| d.len() > 3);
            assert!(described || item || foreign(path) || implied, "{file}{path} has no description");
        });
    }
}

#[test]
fn everything_that_repeats_has_a_maximum() {
    for (file, schema) in schemas() {
        walk("", &schema, &mut |path, field| {
            let bounded = match field["type"].as_str() {
                Some("array") => field["maxItems"].is_number(),
                Some("string") => field["maxLength"].is_number() || field["enum"].is_array(),
                Some("object") if field["additionalProperties"].is_object() => field["maxProperties"].is_number(),
                _ => true,
            };
            assert!(bounded || foreign(path) || !path.starts_with('.'), "{file}{path} has no maximum");
        });
    }
}

#[test]
fn what_names_the_proxys_machine_is_not_here() {
    for (file, schema) in schemas() {
        walk("", &schema, &mut |path, _| {
            let name = path.rsplit('.').next().unwrap_or_default().trim_end_matches("[]");
            // The environment of the proxy's own container, of literal values, and of no process beside it.
            let of_container = path.trim_end_matches("[]").ends_with(".kube.agentgateway.env");
            let reason = FILE_ONLY.iter().find(|(field, _)| *field == name);
            assert!(reason.is_none() || of_container || foreign(path), "{file}{path}: {reason:?}");
        });
    }
}

#[test]
fn no_construct_that_a_structural_schema_may_not_have() {
    for (file, schema) in schemas() {
        walk("", &schema, &mut |path, field| {
            for key in ["$ref", "definitions", "$defs", "nullable", "anyOf", "oneOf", "const"] {
                assert!(field.get(key).is_none(), "{file}{path} has {key}");
            }
            let format = field["format"].as_str().unwrap_or_default();
            assert!(!format.starts_with("uint"), "{file}{path} has format {format}");
        });
    }
}
