//! Secrets and ConfigMaps: asked for when a reference to one is permitted, waited for, and forgotten when nothing uses them.

#![allow(clippy::expect_used, reason = "test support")]

mod support;

use std::collections::BTreeMap;

use agentgateway_controlplane_translate::{Change, Counters, Name, Object, ObjectKey, Output, Settings, Translator};
use serde_json::{Value, json};
use support::{at, by_key, objects, print_snapshot};

const CERTIFICATES: &str = include_str!("golden/certificates.yaml");

fn object(manifest: Value) -> Object {
    Object::read(manifest).expect("a kind that is translated")
}

fn gateway(generation: i64, secrets: &[&str]) -> Object {
    let references: Vec<Value> = secrets.iter().map(|name| json!({"name": name})).collect();
    object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "gw", "namespace": "infra", "generation": generation},
        "spec": {
            "gatewayClassName": "agentgateway",
            "listeners": [{
                "name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": references},
                "allowedRoutes": {"namespaces": {"from": "All"}},
            }],
        },
    }))
}

fn known() -> BTreeMap<ObjectKey, Object> {
    by_key(&objects(CERTIFICATES))
}

fn secret(name: &str) -> Object {
    let wanted = format!("Secret infra/{name}");
    known().into_iter().find(|(key, _)| key.to_string() == wanted).expect("a Secret").1
}

/// The Secret of one name with what is in another.
fn renewed(name: &str, from: &str) -> Object {
    let text =
        CERTIFICATES.replace(&format!("{{name: {from}, namespace: infra}}"), "{name: renewed, namespace: infra}");
    let text = text.replace(&format!("{{name: {name}, namespace: infra}}"), "{name: old, namespace: infra}");
    let text = text.replace("{name: renewed, namespace: infra}", &format!("{{name: {name}, namespace: infra}}"));
    let wanted = format!("Secret infra/{name}");
    objects(&text).into_iter().find(|object| object.key().to_string() == wanted).expect("a Secret")
}

fn start(gateway: Object) -> (Translator, Output) {
    let class = object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "agentgateway"},
        "spec": {"controllerName": "kgateway.dev/agentgateway"},
    }));
    let routes = (0..100).map(|i| {
        object(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": format!("r{i}"), "namespace": "app"},
            "spec": {"parentRefs": [{"name": "gw", "namespace": "infra"}], "hostnames": [format!("r{i}.example.com")]},
        }))
    });
    let mut translator = Translator::new(Settings::default());
    let output = translator.apply([class, gateway].into_iter().chain(routes).map(Change::set), &at(0));
    (translator, output)
}

fn names(keys: &std::collections::BTreeSet<ObjectKey>) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

fn listener(translator: &Translator) -> Option<Value> {
    let snapshot = translator.snapshot(&Name::new("infra", "gw"))?;
    print_snapshot(snapshot)["Listener"].get(0).cloned()
}

#[test]
fn a_gateway_waits_for_its_certificate_and_says_nothing_meanwhile() {
    let (mut translator, output) = start(gateway(1, &["a"]));
    assert_eq!(names(&output.references.added), ["Secret infra/a"]);
    assert_eq!(translator.unread().count(), 1);
    assert!(output.snapshots.is_empty() && output.workloads.is_empty());
    assert!(!output.statuses.iter().any(|update| update.key.to_string().starts_with("Gateway infra")));
    let output = translator.apply([Change::set(secret("a"))], &at(1));
    assert_eq!(translator.unread().count(), 0);
    assert!(output.snapshots.contains_key(&Name::new("infra", "gw")));
    assert!(listener(&translator).is_some());
}

#[test]
fn a_secret_that_is_not_there_is_told_once_somebody_has_said_so() {
    let (mut translator, output) = start(gateway(1, &["nowhere"]));
    let asked = output.references.added.into_iter().map(Change::gone);
    let output = translator.apply(asked, &at(1));
    let told = output.statuses.iter().find(|update| update.key.to_string() == "Gateway infra/gw").expect("a status");
    let status = told.status.to_value().expect("serialises");
    let conditions = status["listeners"][0]["conditions"].as_array().expect("conditions").clone();
    assert!(conditions.iter().any(|c| c["reason"] == "InvalidCertificateRef"), "{conditions:?}");
}

#[test]
fn what_works_goes_on_while_a_new_reference_is_read() {
    let (mut translator, _) = start(gateway(1, &["a"]));
    translator.apply([Change::set(secret("a"))], &at(1));
    let before = listener(&translator);
    let output = translator.apply([Change::set(gateway(2, &["a", "b"]))], &at(2));
    assert_eq!(names(&output.references.added), ["Secret infra/b"]);
    assert!(output.snapshots.is_empty());
    assert_eq!(listener(&translator), before);
    translator.apply([Change::set(secret("b"))], &at(3));
    let certificates = listener(&translator).expect("a listener")["tls"]["certificates"].clone();
    assert_eq!(certificates.as_array().map(Vec::len), Some(2));
}

#[test]
fn a_renewed_certificate_costs_its_gateway_and_no_route() {
    let (mut translator, _) = start(gateway(1, &["a"]));
    translator.apply([Change::set(secret("a"))], &at(1));
    let (before, old) = (translator.counters(), listener(&translator));
    let output = translator.apply([Change::set(renewed("a", "b"))], &at(2));
    let after = translator.counters();
    assert_eq!(after, Counters { gateways: before.gateways + 1, ..before });
    assert_ne!(listener(&translator), old);
    assert_eq!((output.statuses.len(), output.workloads.len()), (0, 0));
    // The same again, as after a restart of the watch, is nothing.
    let output = translator.apply([Change::set(renewed("a", "b"))], &at(3));
    assert_eq!(translator.counters(), after);
    assert!(output.snapshots.is_empty());
}

#[test]
fn what_nobody_uses_is_forgotten_and_asked_for_again() {
    let (mut translator, _) = start(gateway(1, &["a"]));
    translator.apply([Change::set(secret("a"))], &at(1));
    let output = translator.apply([Change::set(gateway(2, &["b"]))], &at(2));
    assert_eq!(
        (names(&output.references.added), names(&output.references.removed)),
        (vec!["Secret infra/b".to_owned()], vec!["Secret infra/a".to_owned()])
    );
    translator.apply([Change::set(secret("b"))], &at(3));
    let output = translator.apply([Change::set(gateway(3, &["a"]))], &at(4));
    assert_eq!(names(&output.references.added), ["Secret infra/a"]);
    assert_eq!(translator.unread().count(), 1);
    let output = translator.apply([Change::gone(gateway(3, &["a"]).key())], &at(5));
    assert_eq!(names(&output.references.removed), ["Secret infra/a"]);
}

#[test]
fn what_is_not_permitted_is_not_asked_for() {
    let manifest = object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "gw", "namespace": "infra"},
        "spec": {"gatewayClassName": "agentgateway", "listeners": [{
            "name": "https", "port": 443, "protocol": "HTTPS",
            "tls": {"certificateRefs": [{"name": "a", "namespace": "other"}]},
        }]},
    }));
    let (mut translator, output) = start(manifest);
    assert!(output.references.added.is_empty());
    let grant = object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "g", "namespace": "other"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra"}],
            "to": [{"group": "", "kind": "Secret"}],
        },
    }));
    let output = translator.apply([Change::set(grant.clone())], &at(1));
    assert_eq!(names(&output.references.added), ["Secret other/a"]);
    let output = translator.apply([Change::gone(grant.key())], &at(2));
    assert_eq!(names(&output.references.removed), ["Secret other/a"]);
}
