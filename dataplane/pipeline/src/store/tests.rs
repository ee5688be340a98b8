//! Compilation in steps gives what compilation from scratch gives.

use std::sync::Arc;

use agentgateway_proto::v1::bind::Transport;
use agentgateway_proto::{key, v1};
use http::{HeaderMap, Method};

use super::*;
use crate::protocol::ProtocolBackend;
use crate::snapshot::{BackendKind, Listeners};

mod streams;

struct NoProtocols;

impl ProtocolFactory for NoProtocols {
    fn compile(
        &self,
        _: &v1::Backend,
        _: &dyn Fn(&str) -> Option<Arc<agentgateway_upstream::Cluster>>,
    ) -> Result<Arc<dyn ProtocolBackend>, String> {
        Err("no protocol in this test".to_owned())
    }
}

fn store() -> Store {
    Store::new(Environment {
        endpoints: Arc::default(),
        balancers: Arc::default(),
        location: agentgateway_upstream::balancer::Location { region: "north".into(), zone: "north-a".into() },
        policy_state: Arc::new(State::new()),
        metrics: Arc::default(),
        protocols: Arc::new(NoProtocols),
    })
}

fn object(kind: &str, name: &str) -> v1::ObjectRef {
    v1::ObjectRef { kind: kind.into(), namespace: "ns".into(), name: name.into() }
}

fn gateway() -> v1::ObjectRef {
    object("Gateway", "gw")
}

fn bind() -> Resource {
    Resource::Bind(v1::Bind {
        key: key::bind(&gateway(), Transport::Tcp, "0.0.0.0", 80),
        gateway: Some(gateway()),
        address: "0.0.0.0".into(),
        port: 80,
        ..v1::Bind::default()
    })
}

fn listener(name: &str, hostname: &str) -> Resource {
    Resource::Listener(v1::Listener {
        key: key::listener(&gateway(), name),
        bind_key: key::bind(&gateway(), Transport::Tcp, "0.0.0.0", 80),
        gateway: Some(gateway()),
        name: name.into(),
        hostname: hostname.into(),
        protocol: v1::listener::Protocol::Http.into(),
        ..v1::Listener::default()
    })
}

fn route(name: &str, listener: &str, prefix: &str) -> v1::Route {
    let listener_key = key::listener(&gateway(), listener);
    v1::Route {
        key: key::route(&object("HTTPRoute", name), 0, 0, &listener_key),
        listener_key,
        source: Some(object("HTTPRoute", name)),
        r#match: Some(v1::RouteMatch {
            path: Some(v1::route_match::Path::Prefix(prefix.into())),
            ..Default::default()
        }),
        backends: vec![v1::RouteBackend { weight: 1, backend_key: "Service/ns/s/80".into(), inline_policies: vec![] }],
        ..Default::default()
    }
}

fn service() -> Resource {
    Resource::Backend(v1::Backend {
        key: "Service/ns/s/80".into(),
        kind: Some(v1::backend::Kind::Service(v1::ServiceBackend {
            authority: "s.ns:80".into(),
            ..Default::default()
        })),
        ..Default::default()
    })
}

fn deny(target: v1::policy::Target) -> Resource {
    Resource::Policy(v1::Policy {
        key: "TrafficPolicy/ns/p/deny".into(),
        source_kind: "TrafficPolicy".into(),
        source_namespace: "ns".into(),
        source_name: "p".into(),
        target: Some(target),
        spec: Some(v1::PolicySpec {
            kind: Some(v1::policy_spec::Kind::Deny(v1::Deny { reason: "test".into(), policy: "p".into() })),
        }),
    })
}

/// The listener of HTTP in plaintext that a host name chooses.
fn listening<'a>(store: &'a Store, host: &str) -> Option<&'a Arc<Listener>> {
    match &store.snapshot().binds.get("tcp/0.0.0.0/80/ns/gw")?.listeners {
        Listeners::Http(all) => all.matching(host).next(),
        _ => None,
    }
}

/// Printed name of the route that a request takes.
fn find(store: &Store, host: &str, path: &str) -> Option<String> {
    let listener = listening(store, host)?;
    listener.router.find(host, path, None, &Method::GET, &HeaderMap::new()).map(|r| r.printed.to_string())
}

fn base() -> Vec<Resource> {
    vec![service(), Resource::Route(route("a", "http", "/a")), listener("http", ""), bind()]
}

#[test]
fn a_route_is_found_moved_and_removed() {
    let mut store = store();
    assert_eq!(store.apply(base(), vec![]), []);
    assert_eq!(find(&store, "h", "/a/x").as_deref(), Some("ns/a.0.0.http"));
    let moved = Resource::Route(route("a", "http", "/b"));
    let key = moved.key().to_owned();
    assert_eq!(store.apply(vec![moved], vec![]), []);
    assert_eq!(find(&store, "h", "/a"), None);
    assert_eq!(find(&store, "h", "/b").as_deref(), Some("ns/a.0.0.http"));
    store.apply(vec![], vec![(Kind::Route, key)]);
    assert_eq!(find(&store, "h", "/b"), None);
}

#[test]
fn a_route_that_does_not_compile_leaves_the_last_good_one() {
    let mut store = store();
    store.apply(base(), vec![]);
    let mut bad = route("a", "http", "/");
    bad.r#match = Some(v1::RouteMatch { path: Some(v1::route_match::Path::Regex("(".into())), ..Default::default() });
    let rejected = store.apply(vec![Resource::Route(bad)], vec![]);
    assert_eq!(rejected.len(), 1);
    assert_eq!(find(&store, "h", "/a").as_deref(), Some("ns/a.0.0.http"));
}

#[test]
fn listeners_swap_host_names_and_keep_their_routes() {
    let mut store = store();
    let routes = [Resource::Route(route("a", "one", "/")), Resource::Route(route("b", "two", "/"))];
    store.apply(
        routes.into_iter().chain([listener("one", "a.com"), listener("two", "b.com"), bind()]).collect(),
        vec![],
    );
    assert_eq!(find(&store, "a.com", "/").as_deref(), Some("ns/a.0.0.one"));
    store.apply(vec![listener("one", "b.com"), listener("two", "a.com")], vec![]);
    assert_eq!(find(&store, "a.com", "/").as_deref(), Some("ns/b.0.0.two"));
    assert_eq!(find(&store, "b.com", "/").as_deref(), Some("ns/a.0.0.one"));
    store.apply(vec![], vec![(Kind::Listener, key::listener(&gateway(), "one"))]);
    assert_eq!(find(&store, "b.com", "/"), None);
}

#[test]
fn two_listeners_of_one_host_name_are_refused() {
    let mut store = store();
    let rejected = store.apply(vec![listener("one", "a.com"), listener("two", "a.com"), bind()], vec![]);
    assert!(rejected.iter().any(|r| r.kind == Kind::Bind && r.reason.contains("two listeners")), "{rejected:?}");
}

#[test]
fn policies_reach_their_targets_and_leave_them() {
    use v1::policy::Target;
    let targets = [
        Target::Gateway("ns/gw".into()),
        Target::ListenerKey(key::listener(&gateway(), "http")),
        Target::Route(v1::RouteTarget {
            kind: "HTTPRoute".into(),
            namespace: "ns".into(),
            name: "a".into(),
            rule_name: String::new(),
        }),
        Target::BackendKey("Service/ns/s/80".into()),
    ];
    for target in targets {
        let mut store = store();
        store.apply(base(), vec![]);
        let empty = |store: &Store| {
            let listener = listening(store, "").expect("listener");
            let route = listener.router.find("h", "/a", None, &Method::GET, &HeaderMap::new()).expect("route").clone();
            let backend = store.snapshot().backends.get("Service/ns/s/80").expect("backend").clone();
            [listener.policies.is_empty(), route.policies.is_empty(), backend.policies.is_empty()]
        };
        assert_eq!(empty(&store), [true; 3]);
        let policy = deny(target.clone());
        let key = policy.key().to_owned();
        store.apply(vec![policy], vec![]);
        assert_eq!(empty(&store).iter().filter(|e| !**e).count(), 1, "{target:?}");
        store.apply(vec![], vec![(Kind::Policy, key)]);
        assert_eq!(empty(&store), [true; 3], "{target:?}");
    }
}

#[test]
fn an_endpoint_changes_its_backend_only() {
    let mut store = store();
    store.apply(base(), vec![]);
    let route_before = store.snapshot().binds.get("tcp/0.0.0.0/80/ns/gw").cloned().expect("bind");
    let endpoint = Resource::Endpoint(v1::Endpoint {
        key: key::endpoint("Service/ns/s/80", "10.0.0.1", 8080),
        backend_key: "Service/ns/s/80".into(),
        address: "10.0.0.1".into(),
        port: 8080,
        ..Default::default()
    });
    assert_eq!(store.apply(vec![endpoint], vec![]), []);
    let after = store.snapshot().binds.get("tcp/0.0.0.0/80/ns/gw").cloned().expect("bind");
    assert!(Arc::ptr_eq(&route_before, &after), "no route was compiled");
    let backend = store.snapshot().backends.get("Service/ns/s/80").expect("backend").clone();
    assert!(matches!(&backend.kind, BackendKind::Cluster(_)));
}

#[test]
fn replacing_by_a_file_removes_what_is_not_in_it() {
    let mut store = store();
    store.replace(base());
    let mut next = base();
    next.retain(|r| r.kind() != Kind::Route);
    next.push(Resource::Route(route("b", "http", "/b")));
    store.replace(next);
    assert_eq!(find(&store, "h", "/a"), None);
    assert_eq!(find(&store, "h", "/b").as_deref(), Some("ns/b.0.0.http"));
    assert_eq!(store.resources().len(), 4);
}

#[test]
fn of_a_routes_settings_those_of_the_rule_count_before_those_of_the_whole() {
    let timeout = |rule_name: &str, name: &str, milliseconds: u64| {
        let target = v1::RouteTarget {
            kind: "HTTPRoute".into(),
            namespace: "ns".into(),
            name: "a".into(),
            rule_name: rule_name.into(),
        };
        let spec = v1::Timeouts { request_milliseconds: Some(milliseconds), ..v1::Timeouts::default() };
        Resource::Policy(v1::Policy {
            key: name.into(),
            target: Some(v1::policy::Target::Route(target)),
            spec: Some(v1::PolicySpec { kind: Some(v1::policy_spec::Kind::Timeouts(spec)) }),
            ..Default::default()
        })
    };
    let mut store = store();
    let mut named = route("a", "http", "/a");
    named.rule_name = "checkout".into();
    store.apply(vec![service(), Resource::Route(named), listener("http", ""), bind()], vec![]);
    // Keys in the order in which the less specific one would come first.
    store.apply(vec![timeout("", "1", 1000), timeout("checkout", "2", 2000), timeout("other", "3", 3000)], vec![]);
    let listener = listening(&store, "h").expect("listener");
    let route = listener.router.find("h", "/a", None, &Method::GET, &HeaderMap::new()).expect("route");
    let exchange = agentgateway_policy::Exchange::of(std::iter::once(&*route.policies)).expect("is set");
    assert_eq!(exchange.request_timeout, Some(std::time::Duration::from_secs(2)));
}
