//! Listeners with TLS and of streams, and TLS of backends.

use agentgateway_proto::v1::listener::Protocol;

use super::*;
use crate::snapshot::{Bind, StreamListener, StreamRoute, TlsListener};

fn certificate() -> v1::Certificate {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("a certificate");
    v1::Certificate { chain: made.cert.pem().into(), private_key: made.signing_key.serialize_pem().into() }
}

fn of(name: &str, hostname: &str, protocol: Protocol, tls: Option<v1::ServerTls>) -> Resource {
    let Resource::Listener(plain) = listener(name, hostname) else { unreachable!() };
    Resource::Listener(v1::Listener { protocol: protocol.into(), tls, ..plain })
}

fn server() -> v1::ServerTls {
    v1::ServerTls { certificates: vec![certificate()], ..v1::ServerTls::default() }
}

fn tcp_route(name: &str, listener: &str, created: i64, hostnames: &[&str], backends: &[(u32, &str)]) -> Resource {
    let listener_key = key::listener(&gateway(), listener);
    Resource::TcpRoute(v1::TcpRoute {
        key: key::stream_route(&object("TCPRoute", name), 0, &listener_key),
        listener_key,
        source: Some(object("TCPRoute", name)),
        hostnames: hostnames.iter().map(ToString::to_string).collect(),
        backends: backends
            .iter()
            .map(|(weight, key)| v1::RouteBackend {
                weight: *weight,
                backend_key: (*key).into(),
                inline_policies: vec![],
            })
            .collect(),
        created,
        ..v1::TcpRoute::default()
    })
}

fn bound(store: &Store) -> Arc<Bind> {
    store.snapshot().binds.get("tcp/0.0.0.0/80/ns/gw").cloned().expect("a bind")
}

fn by_name(store: &Store, name: &str) -> Option<TlsListener> {
    match &bound(store).listeners {
        Listeners::Tls(all) => all.matching(name).next().cloned(),
        _ => None,
    }
}

fn stream(store: &Store) -> Arc<StreamListener> {
    match &bound(store).listeners {
        Listeners::Stream(Some(listener)) => Arc::clone(listener),
        other => panic!("{other:?}"),
    }
}

fn printed(route: Option<&Arc<StreamRoute>>) -> Option<&str> {
    route.map(|r| &*r.printed)
}

#[test]
fn listeners_with_tls_share_a_port_by_server_name() {
    let mut store = store();
    let listeners = [
        of("https", "", Protocol::Https, Some(server())),
        of("through", "*.pass.example", Protocol::Tls, None),
        of("ends", "tcp.example", Protocol::Tls, Some(server())),
    ];
    assert_eq!(store.apply(listeners.into_iter().chain([bind()]).collect(), vec![]), []);
    assert!(matches!(by_name(&store, "x.example"), Some(TlsListener::Https(_))));
    let through = by_name(&store, "a.pass.example").expect("a listener");
    assert!(matches!(&through, TlsListener::Stream(_)) && through.tls().is_none());
    assert!(matches!(by_name(&store, "tcp.example").expect("one").tls(), Some(Ok(_))));
}

#[test]
fn plaintext_and_tls_on_one_port_is_tls_alone() {
    let mut store = store();
    let rejected =
        store.apply(vec![listener("http", ""), of("https", "a.com", Protocol::Https, Some(server())), bind()], vec![]);
    assert!(rejected.iter().any(|r| r.kind == Kind::Bind && r.reason.contains("cannot share")), "{rejected:?}");
    assert!(by_name(&store, "a.com").is_some() && by_name(&store, "b.com").is_none());
}

#[test]
fn tls_stays_as_it_is_while_its_settings_do() {
    let mut store = store();
    let settings = server();
    store.apply(vec![of("https", "", Protocol::Https, Some(settings.clone())), bind()], vec![]);
    let before = by_name(&store, "a").and_then(|l| l.tls().cloned()).expect("TLS").expect("works");
    store.apply(vec![deny(v1::policy::Target::Gateway("ns/gw".into()))], vec![]);
    let after = by_name(&store, "a").and_then(|l| l.tls().cloned()).expect("TLS").expect("works");
    assert!(Arc::ptr_eq(&before, &after), "sessions of clients stay good");
    store.apply(vec![of("https", "", Protocol::Https, Some(server()))], vec![]);
    let renewed = by_name(&store, "a").and_then(|l| l.tls().cloned()).expect("TLS").expect("works");
    assert!(!Arc::ptr_eq(&before, &renewed));
    let broken = v1::ServerTls { client_validation: Some(v1::ClientValidation::default()), ..settings };
    let rejected = store.apply(vec![of("https", "", Protocol::Https, Some(broken))], vec![]);
    assert!(rejected.iter().any(|r| r.kind == Kind::Listener && r.reason.contains("no authority")), "{rejected:?}");
    assert!(matches!(by_name(&store, "a").expect("stays").tls(), Some(Err(_))), "no good settings from before");
}

#[test]
fn the_oldest_route_of_a_stream_wins_and_the_next_follows_it() {
    let mut store = store();
    let routes =
        [tcp_route("young", "tcp", 9, &[], &[(1, "b")]), tcp_route("old", "tcp", 5, &[], &[(3, "a"), (0, "")])];
    let listener = of("tcp", "", Protocol::Tcp, None);
    assert_eq!(store.apply(routes.into_iter().chain([listener, bind()]).collect(), vec![]), []);
    let found = stream(&store);
    let route = found.routes.matching("").next().expect("a route");
    assert_eq!((&*route.printed, route.total_weight), ("ns/old.0.tcp", 3));
    assert_eq!(route.backends[1].1, None, "an invalid reference");
    let old = tcp_route("old", "tcp", 5, &[], &[]);
    store.apply(vec![], vec![(Kind::TcpRoute, old.key().to_owned())]);
    assert_eq!(printed(stream(&store).routes.matching("").next()), Some("ns/young.0.tcp"));
}

#[test]
fn routes_of_tls_are_found_by_server_name() {
    let mut store = store();
    let routes = [
        tcp_route("exact", "tls", 0, &["a.example"], &[(1, "a")]),
        tcp_route("wild", "tls", 0, &["*.example"], &[(1, "b")]),
    ];
    store.apply(routes.into_iter().chain([of("tls", "", Protocol::Tls, None), bind()]).collect(), vec![]);
    let Some(TlsListener::Stream(listener)) = by_name(&store, "a.example") else { panic!("no listener") };
    for (name, route) in
        [("a.example", Some("ns/exact.0.tls")), ("b.example", Some("ns/wild.0.tls")), ("example", None)]
    {
        assert_eq!(printed(listener.routes.matching(name).next()), route, "{name}");
    }
}

#[test]
fn a_route_needs_a_listener_of_its_kind() {
    let mut store = store();
    let rejected = store.apply(vec![tcp_route("r", "http", 0, &[], &[]), listener("http", ""), bind()], vec![]);
    assert!(rejected.iter().any(|r| r.kind == Kind::TcpRoute && r.reason.contains("speaks HTTP")), "{rejected:?}");
    let rejected = store.apply(vec![of("http", "", Protocol::Tcp, None)], vec![]);
    assert_eq!(rejected, [], "now it has");
    let rejected = store.apply(vec![Resource::Route(route("h", "http", "/"))], vec![]);
    assert!(rejected.iter().any(|r| r.kind == Kind::Route && r.reason.contains("does not speak HTTP")), "{rejected:?}");
}

#[test]
fn a_denied_listener_refuses_streams() {
    use v1::policy::Target;
    let base = || vec![of("tcp", "", Protocol::Tcp, None), bind()];
    let limit = || v1::PolicySpec { kind: Some(v1::policy_spec::Kind::LocalRateLimit(v1::LocalRateLimit::default())) };
    let policy = |target, spec| {
        let Resource::Policy(policy) = deny(target) else { unreachable!() };
        Resource::Policy(v1::Policy { spec: Some(spec), ..policy })
    };
    let of_listener = || Target::ListenerKey(key::listener(&gateway(), "tcp"));
    let of_gateway = || Target::Gateway("ns/gw".into());
    for (policy, denied) in [
        (deny(of_gateway()), true),
        (deny(of_listener()), true),
        (policy(of_listener(), limit()), true),
        (policy(of_gateway(), limit()), false),
        (policy(of_gateway(), v1::PolicySpec::default()), true),
    ] {
        let mut store = store();
        store.apply(base(), vec![]);
        assert!(stream(&store).denied.is_none());
        store.apply(vec![policy.clone()], vec![]);
        assert_eq!(stream(&store).denied.is_some(), denied, "{policy:?}");
    }
}

fn encrypted(tls: v1::BackendTls) -> Resource {
    let Resource::Backend(plain) = service() else { unreachable!() };
    Resource::Backend(v1::Backend { tls: Some(tls), ..plain })
}

fn kind(store: &Store) -> &BackendKind {
    &store.snapshot().backends.get("Service/ns/s/80").expect("a backend").kind
}

#[test]
fn tls_of_a_backend_that_cannot_be_applied_breaks_it() {
    let mut store = store();
    let good = v1::BackendTls { hostname: "s.example".into(), ..v1::BackendTls::default() };
    assert_eq!(store.apply(vec![encrypted(good.clone())], vec![]), []);
    assert!(matches!(kind(&store), BackendKind::Cluster(_)));
    let refused = v1::BackendTls { refused: "no such ConfigMap".into(), ..good.clone() };
    assert_eq!(store.apply(vec![encrypted(refused)], vec![]), [], "the control plane knows, it said so");
    let BackendKind::Broken(reason) = kind(&store) else { panic!("good settings from before") };
    assert!(reason.contains("no such ConfigMap"), "{reason}");
    store.apply(vec![encrypted(good.clone())], vec![]);
    let bad = v1::BackendTls { hostname: "no host".into(), ..good };
    assert_eq!(store.apply(vec![encrypted(bad)], vec![]).len(), 1);
    assert!(matches!(kind(&store), BackendKind::Broken(_)), "good settings from before");
}

#[test]
fn the_certificate_of_the_gateway_reaches_backends_with_tls_and_is_no_policy_of_requests() {
    let mut store = store();
    let tls = v1::BackendTls { hostname: "s.example".into(), ..v1::BackendTls::default() };
    let endpoint = Resource::Endpoint(v1::Endpoint {
        key: key::endpoint("Service/ns/s/80", "10.0.0.1", 8443),
        backend_key: "Service/ns/s/80".into(),
        address: "10.0.0.1".into(),
        port: 8443,
        ..v1::Endpoint::default()
    });
    store.apply(
        base().into_iter().filter(|r| r.kind() != Kind::Backend).chain([encrypted(tls), endpoint]).collect(),
        vec![],
    );
    let endpoint = |store: &Store| match kind(store) {
        BackendKind::Cluster(cluster) => {
            Arc::clone(cluster.known_endpoint(([10, 0, 0, 1], 8443).into()).expect("known").endpoint())
        }
        other => panic!("{other:?}"),
    };
    let before = endpoint(&store);
    let Resource::Policy(policy) = deny(v1::policy::Target::Gateway("ns/gw".into())) else { unreachable!() };
    let spec = v1::PolicySpec { kind: Some(v1::policy_spec::Kind::BackendClientCertificate(certificate())) };
    let policy = Resource::Policy(v1::Policy { spec: Some(spec), ..policy });
    let key = policy.key().to_owned();
    assert_eq!(store.apply(vec![policy], vec![]), []);
    assert!(!Arc::ptr_eq(&before, &endpoint(&store)), "connections without it are not used any more");
    assert!(listening(&store, "").expect("a listener").policies.is_empty());
    store.apply(vec![], vec![(Kind::Policy, key)]);
    assert!(Arc::ptr_eq(&before, &endpoint(&store)));
}
