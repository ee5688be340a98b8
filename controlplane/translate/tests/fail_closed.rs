//! A policy that protects and cannot be applied refuses everything, whatever it was before.

#![allow(clippy::expect_used, reason = "test support")]

mod support;

use agentgateway_controlplane_translate::{Change, Name, Object, Settings, Translator};
use serde_json::{Value, json};
use support::{at, objects, print_snapshot};

const GOOD: &str = "request.method == 'GET'";
const BROKEN: &str = "request.method ==";

fn policy(expression: &str) -> Object {
    Object::read(json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "TrafficPolicy",
        "metadata": {"name": "p", "namespace": "app"},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "r"}],
            "rbac": {"policy": {"matchExpressions": [GOOD, expression]}},
        },
    }))
    .expect("a policy")
}

fn start(policy: Object) -> Translator {
    let route = Object::read(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "app"},
        "spec": {
            "parentRefs": [{"name": "gw", "namespace": "infra"}],
            "rules": [{"backendRefs": [{"name": "web", "port": 80}]}],
        },
    }));
    let base = objects(include_str!("golden/base.yaml")).into_iter().chain(route).chain([policy]);
    let mut translator = Translator::new(Settings::default());
    translator.apply(base.map(Change::set), &at(0));
    translator
}

fn policy_spec(translator: &Translator) -> Value {
    let snapshot = translator.snapshot(&Name::new("infra", "gw")).expect("a snapshot");
    print_snapshot(snapshot)["Policy"][0]["spec"].clone()
}

#[test]
fn broken_at_first() {
    assert!(policy_spec(&start(policy(BROKEN)))["deny"].is_object());
}

#[test]
fn good_then_broken_then_good() {
    let mut translator = start(policy(GOOD));
    assert_eq!(policy_spec(&translator)["authorization"]["allow"], json!([GOOD, GOOD]));
    let output = translator.apply([Change::set(policy(BROKEN))], &at(1));
    assert!(policy_spec(&translator)["deny"].is_object());
    let told = output.statuses.iter().find(|update| update.key.to_string() == "TrafficPolicy app/p");
    let status = told.and_then(|update| update.status.to_value().ok()).unwrap_or_default();
    assert_eq!(status["ancestors"][0]["conditions"][0]["reason"], "Invalid");
    translator.apply([Change::set(policy(GOOD))], &at(2));
    assert!(policy_spec(&translator)["deny"].is_null());
}

/// After a restart the translator knows nothing of what was good before, and says the same.
#[test]
fn a_restart_makes_no_difference() {
    let mut translator = start(policy(GOOD));
    translator.apply([Change::set(policy(BROKEN))], &at(1));
    assert_eq!(policy_spec(&translator), policy_spec(&start(policy(BROKEN))));
}
