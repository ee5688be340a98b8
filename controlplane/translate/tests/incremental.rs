//! A change costs what it changes, and ends where a translation from nothing would.

#![allow(clippy::expect_used, reason = "test support")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use agentgateway_controlplane_translate::{Change, Counters, Name, Object, ObjectKey, Output, Settings, Translator};
use agentgateway_proto::kind::Kind;
use agentgateway_proto::snapshot::Snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{at, final_state, objects};

const ROUTES: usize = 1000;
const SERVICES: usize = 100;

fn gateway() -> Name {
    Name::new("infra", "gw")
}

fn object(manifest: Value) -> Object {
    Object::read(manifest).expect("a kind that is translated")
}

fn route(index: usize, path: &str) -> Object {
    object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": format!("r{index}"), "namespace": "app"},
        "spec": {
            "parentRefs": [{"name": "gw", "namespace": "infra"}],
            "hostnames": [format!("r{index}.example.com")],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": path}}, {"path": {"type": "Exact", "value": "/x"}}],
                "backendRefs": [{"name": format!("s{}", index % SERVICES), "port": 80}],
            }],
        },
    }))
}

fn service(index: usize, protocol: Option<&str>) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s{index}"), "namespace": "app"},
        "spec": {"ports": [{"port": 80, "appProtocol": protocol}]},
    }))
}

fn slice(index: usize, addresses: &[&str]) -> Object {
    let endpoints: Vec<Value> = addresses.iter().map(|a| json!({"addresses": [a]})).collect();
    object(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("s{index}-1"), "namespace": "app",
            "labels": {"kubernetes.io/service-name": format!("s{index}")},
        },
        "ports": [{"port": 8080}], "endpoints": endpoints,
    }))
}

fn gateway_object(status: Value) -> Object {
    object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "gw", "namespace": "infra"}, "status": status,
        "spec": {
            "gatewayClassName": "agentgateway",
            "listeners": [{
                "name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}},
            }],
        },
    }))
}

fn many_routes() -> Vec<Object> {
    let class = object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "agentgateway"},
        "spec": {"controllerName": "kgateway.dev/agentgateway"},
    }));
    let mut all = vec![class, gateway_object(Value::Null)];
    all.extend((0..ROUTES).map(|i| route(i, "/")));
    all.extend((0..SERVICES).map(|i| service(i, None)));
    all.extend((0..SERVICES).map(|i| slice(i, &["10.0.0.1", "10.0.0.2"])));
    all
}

/// Applies one change; gives the work it took, the keys that differ by kind, and the output.
fn step(translator: &mut Translator, change: Change) -> (Counters, BTreeMap<&'static str, BTreeSet<String>>, Output) {
    let before = translator.counters();
    let old = translator.snapshot(&gateway()).expect("a snapshot").clone();
    let output = translator.apply([change], &at(1));
    let after = translator.counters();
    let work = Counters {
        gateways: after.gateways - before.gateways,
        routes: after.routes - before.routes,
        backends: after.backends - before.backends,
        policies: after.policies - before.policies,
    };
    let new = translator.snapshot(&gateway()).expect("a snapshot");
    (work, changed_keys(&old, new), output)
}

fn changed_keys(old: &Snapshot, new: &Snapshot) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut changed = BTreeMap::new();
    for kind in Kind::PUSH_ORDER {
        let (Some(before), Some(after)) = (old.kind(kind), new.kind(kind)) else { continue };
        if before.ptr_eq(after) {
            continue;
        }
        let keys = before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key));
        let keys: BTreeSet<String> = keys.map(ToString::to_string).collect();
        if !keys.is_empty() {
            changed.insert(kind.message(), keys);
        }
    }
    changed
}

fn fresh(objects: impl IntoIterator<Item = Object>) -> Translator {
    let mut translator = Translator::new(Settings::default());
    translator.apply(objects.into_iter().map(Change::set), &at(0));
    translator
}

fn generation(translator: &Translator) -> String {
    translator.snapshot(&gateway()).expect("a snapshot").generation().version.to_string()
}

#[test]
fn one_changed_route_of_a_thousand_is_one_translation_and_its_own_resources() {
    let mut translator = fresh(many_routes());
    assert_eq!(translator.counters().routes, ROUTES as u64);
    let (work, changed, output) = step(&mut translator, Change::set(route(500, "/new")));
    assert_eq!(work, Counters { routes: 1, ..Counters::default() });
    let own = "HTTPRoute/app/r500/0/0/Gateway/infra/gw/http".to_owned();
    assert_eq!(changed, BTreeMap::from([("Route", BTreeSet::from([own]))]));
    let statuses: Vec<String> = output.statuses.iter().map(|update| update.key.to_string()).collect();
    assert_eq!((statuses, output.workloads.len()), (vec!["HTTPRoute app/r500".to_owned()], 0));
    let mut objects = many_routes();
    objects.push(route(500, "/new"));
    assert_eq!(generation(&translator), generation(&fresh(objects)));
}

#[test]
fn a_route_that_comes_or_goes_changes_the_count_of_its_gateway_alone() {
    let mut translator = fresh(many_routes());
    let (work, changed, output) = step(&mut translator, Change::gone(route(7, "/").key()));
    assert_eq!(work, Counters { routes: 1, ..Counters::default() });
    assert_eq!(changed.get("Route").map(BTreeSet::len), Some(2));
    let updated: Vec<String> = output.statuses.iter().map(|update| update.key.to_string()).collect();
    assert_eq!(updated, ["Gateway infra/gw"]);
    let status = output.statuses[0].status.to_value().expect("serialises");
    assert_eq!(status["listeners"][0]["attachedRoutes"], json!(ROUTES - 1));
}

#[test]
fn a_changed_service_costs_the_routes_that_refer_to_it() {
    let mut translator = fresh(many_routes());
    let (work, changed, _) = step(&mut translator, Change::set(service(3, Some("kubernetes.io/h2c"))));
    assert_eq!((work.routes, work.backends), ((ROUTES / SERVICES) as u64, 1));
    assert_eq!(changed, BTreeMap::from([("Backend", BTreeSet::from(["Service/app/s3/80".to_owned()]))]));
}

#[test]
fn a_changed_slice_costs_its_endpoints() {
    let mut translator = fresh(many_routes());
    let (work, changed, output) = step(&mut translator, Change::set(slice(3, &["10.0.0.2", "10.0.0.9"])));
    assert_eq!(work, Counters { backends: 1, ..Counters::default() });
    let endpoint = |address: &str| format!("Service/app/s3/80/{address}/8080");
    let endpoints = BTreeSet::from([endpoint("10.0.0.1"), endpoint("10.0.0.9")]);
    assert_eq!(changed, BTreeMap::from([("Endpoint", endpoints)]));
    assert!(output.statuses.is_empty());
}

#[test]
fn a_status_that_was_written_costs_nothing() {
    let mut translator = Translator::new(Settings::default());
    let output = translator.apply(many_routes().into_iter().map(Change::set), &at(0));
    let update = output.statuses.iter().find(|update| update.key.to_string() == "Gateway infra/gw").expect("a status");
    let back = gateway_object(update.status.to_value().expect("serialises"));
    let (work, changed, output) = step(&mut translator, Change::set(back));
    assert_eq!(work, Counters::default());
    assert!(changed.is_empty() && output.statuses.is_empty() && output.snapshots.is_empty());
}

#[test]
fn a_status_that_is_not_back_yet_is_given_out_once() {
    let mut translator = fresh(many_routes());
    let pending = translator.pending_statuses().len();
    assert_eq!(pending, ROUTES + 2, "each route, the Gateway and its class");
    let again = translator.apply([Change::set(slice(0, &["10.0.0.7"]))], &at(2));
    assert!(again.statuses.is_empty());
}

fn sets() -> Vec<Object> {
    let mut gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "gw", "namespace": "infra"},
        "spec": {
            "gatewayClassName": "agentgateway", "allowedListeners": {"namespaces": {"from": "All"}},
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP", "hostname": "gw.example.com"}],
        },
    });
    gateway["metadata"]["generation"] = json!(1);
    let mut all = many_routes();
    all.truncate(1);
    all.push(object(gateway));
    all.extend((0..50).map(|i| set(i, &format!("s{i}.example.com"))));
    all.extend((0..500).map(|i| {
        object(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": format!("r{i}"), "namespace": "app"},
            "spec": {"parentRefs": [{"kind": "ListenerSet", "name": format!("set{}", i % 50)}]},
        }))
    }));
    all
}

fn set(index: usize, hostname: &str) -> Object {
    object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet",
        "metadata": {"name": format!("set{index}"), "namespace": "app"},
        "spec": {
            "parentRef": {"name": "gw", "namespace": "infra"},
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP", "hostname": hostname}],
        },
    }))
}

#[test]
fn a_changed_listener_set_costs_its_gateway_and_its_own_routes() {
    let mut translator = fresh(sets());
    let (work, changed, output) = step(&mut translator, Change::set(set(7, "new.example.com")));
    assert_eq!(work, Counters { gateways: 1, routes: 10, ..Counters::default() });
    assert_eq!(changed, BTreeMap::from([("Listener", BTreeSet::from(["ListenerSet/app/set7/http".to_owned()]))]));
    let statuses: Vec<String> = output.statuses.iter().map(|update| update.key.to_string()).collect();
    assert_eq!(statuses, ["ListenerSet app/set7"]);
}

#[test]
fn a_backend_tls_policy_costs_the_ports_that_it_applies_to() {
    let mut translator = fresh(many_routes());
    let policy = object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy",
        "metadata": {"name": "p", "namespace": "app"},
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": "s3"}],
            "validation": {"hostname": "a.example.com", "wellKnownCACertificates": "System"},
        },
    }));
    let (work, changed, output) = step(&mut translator, Change::set(policy.clone()));
    assert_eq!(work, Counters { backends: 1, policies: 1, ..Counters::default() });
    assert_eq!(changed, BTreeMap::from([("Backend", BTreeSet::from(["Service/app/s3/80".to_owned()]))]));
    assert_eq!(output.statuses.len(), 1);
    let (work, changed, _) = step(&mut translator, Change::gone(policy.key()));
    assert_eq!((work.backends, work.routes, changed.len()), (1, 0, 1));
}

#[test]
fn a_grpc_route_that_takes_a_host_costs_the_route_that_loses_it() {
    let mut translator = fresh(many_routes());
    let grpc = object(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
        "metadata": {"name": "g", "namespace": "app", "creationTimestamp": "2020-01-01T00:00:00Z"},
        "spec": {"parentRefs": [{"name": "gw", "namespace": "infra"}], "hostnames": ["r5.example.com"]},
    }));
    let (work, _, output) = step(&mut translator, Change::set(grpc.clone()));
    assert_eq!(work, Counters { routes: 2, ..Counters::default() });
    let lost = output.statuses.iter().find(|update| update.key.to_string() == "HTTPRoute app/r5").expect("a status");
    assert_eq!(lost.status.to_value().expect("serialises")["parents"][0]["conditions"][0]["reason"], "Conflicted");
    let (work, ..) = step(&mut translator, Change::gone(grpc.key()));
    assert_eq!((work.routes, work.gateways), (2, 0));
    assert_eq!(generation(&translator), generation(&fresh(many_routes())));
}

/// The states that objects may have, by identity.
fn variants() -> Vec<Vec<Object>> {
    let mut by_key: BTreeMap<ObjectKey, Vec<Object>> = BTreeMap::new();
    let certificates = include_str!("golden/certificates.yaml");
    // The other pair, and one that is of no use, are states that the Secret may have.
    let renewed = certificates.replace("{name: b, namespace: infra}", "{name: a, namespace: infra}");
    let renewed = renewed.replace("{name: junk, namespace: infra}", "{name: a, namespace: infra}");
    let used = |object: &Object| {
        ["Secret infra/a", "ConfigMap infra/ca", "ConfigMap app/ca"].contains(&object.key().to_string().as_str())
    };
    let all = objects(include_str!("variants.yaml")).into_iter().chain(objects(&renewed).into_iter().filter(used));
    for object in all {
        by_key.entry(object.key()).or_default().push(object);
    }
    by_key.into_values().collect()
}

/// One edit: which object, and which of its states, or none.
type Pick = (prop::sample::Index, Option<prop::sample::Index>);

fn change(pick: &Pick, variants: &[Vec<Object>]) -> Change {
    let states = pick.0.get(variants);
    match &pick.1 {
        Some(state) => Change::set(state.get(states).clone()),
        None => Change::gone(states[0].key()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Random edits in random batches end where a translation of the last objects from nothing ends.
    #[test]
    fn edits_end_where_a_fresh_translation_ends(
        batches in prop::collection::vec(
            prop::collection::vec((any::<prop::sample::Index>(), prop::option::weighted(0.75, any::<prop::sample::Index>())), 1..5),
            1..30,
        )
    ) {
        let variants = variants();
        let mut translator = Translator::new(Settings::default());
        let mut world: BTreeMap<ObjectKey, Object> = variants.iter().map(|states| (states[0].key(), states[0].clone())).collect();
        let mut outputs = support::apply(&mut translator, world.values().cloned().map(Change::set), &world, 0);
        for batch in &batches {
            let changes: Vec<Change> = batch.iter().map(|pick| change(pick, &variants)).collect();
            for change in &changes {
                match &change.object {
                    Some(object) => world.insert(change.key.clone(), object.clone()),
                    None => world.remove(&change.key),
                };
            }
            let gone: BTreeSet<ObjectKey> = changes.iter().map(|c| c.key.clone()).filter(|k| !world.contains_key(k)).collect();
            outputs.extend(support::apply(&mut translator, changes, &world, 0));
            // An object that is gone has no status any more.
            outputs.iter_mut().for_each(|output| output.statuses.retain(|update| !gone.contains(&update.key)));
        }
        let mut other = Translator::new(Settings::default());
        let expected = support::apply(&mut other, world.values().cloned().map(Change::set), &world, 0);
        let (mut ended, expected) = (final_state(&translator, &outputs), final_state(&other, &expected));
        // A Gateway, its ListenerSets or a class that are no longer ours keep the status that we gave, until their new owner writes one.
        let of_gateway = |key: &str| key.starts_with("Gateway") || key.starts_with("ListenerSet");
        let left = |key: &str| of_gateway(key) && expected["statuses"].get(key).is_none();
        ended["statuses"].as_object_mut().expect("statuses").retain(|key, _| !left(key));
        prop_assert_eq!(ended, expected);
    }
}
