//! A peer that lacks single fields, kinds and enum values.

use super::*;

fn view(lacks: &[&str]) -> View {
    let mut capabilities = Capabilities::own();
    for name in lacks {
        assert!(capabilities.fields.remove(*name) || capabilities.kinds.remove(*name), "{name} is not known at all");
    }
    View::new("infra/gw", capabilities)
}

fn spec(kind: policy_spec::Kind) -> v1::PolicySpec {
    v1::PolicySpec { kind: Some(kind) }
}

fn limit() -> v1::PolicySpec {
    spec(policy_spec::Kind::LocalRateLimit(v1::LocalRateLimit {
        max_tokens: 1,
        tokens_per_fill: 1,
        fill_interval_milliseconds: 1_000,
        ..Default::default()
    }))
}

fn cors() -> v1::PolicySpec {
    spec(policy_spec::Kind::Cors(v1::Cors { max_age_seconds: 5, ..Default::default() }))
}

fn policy(spec: v1::PolicySpec) -> Resource {
    Resource::Policy(v1::Policy {
        key: "p".into(),
        source_kind: "TrafficPolicy".into(),
        source_namespace: "a".into(),
        source_name: "b".into(),
        target: Some(policy::Target::Route(v1::RouteTarget {
            kind: "HTTPRoute".into(),
            namespace: "a".into(),
            name: "r".into(),
            rule_name: "first".into(),
        })),
        spec: Some(spec),
    })
}

fn seen(view: &View, resource: &Resource) -> Resource {
    let adapted = view.adapt(&Arc::new(Snapshot::of([resource])));
    let kind = resource.kind();
    let encoded = &adapted.kind(kind).expect("kind")[resource.key()];
    assert_eq!(encoded.version, agentgateway_proto::resource::Version::of(&encoded.bytes), "the hash of what is sent");
    Resource::decode(kind, &encoded.bytes).expect("decodes")
}

fn is_deny(spec: &v1::PolicySpec) -> bool {
    matches!(spec.kind, Some(policy_spec::Kind::Deny(_)))
}

#[test]
fn a_peer_that_knows_more_or_the_same_has_no_view() {
    let views = Views::default();
    let mut more = Capabilities::own();
    more.fields.insert("Policy.from_the_future".into());
    assert!(views.of("g", more).is_none());
    let mut less = Capabilities::own();
    less.fields.remove("Cors.allow_origins");
    let first = views.of("g", less.clone()).expect("a view");
    assert!(Arc::ptr_eq(&first, &views.of("g", less).expect("a view")), "streams of one release share a view");
}

#[test]
fn an_unknown_field_of_a_policy_that_protects_becomes_a_deny_on_the_same_target() {
    let original = policy(limit());
    let Resource::Policy(seen) = seen(&view(&["LocalRateLimit.fill_interval_milliseconds"]), &original) else {
        panic!("a policy")
    };
    let Resource::Policy(original) = original else { panic!("a policy") };
    assert_eq!(seen.target, original.target);
    let Some(policy_spec::Kind::Deny(deny)) = seen.spec.and_then(|s| s.kind) else { panic!("a deny") };
    assert_eq!(deny.policy, "TrafficPolicy a/b");
    assert!(deny.reason.contains("LocalRateLimit.fill_interval_milliseconds"));
}

#[test]
fn an_unknown_policy_becomes_a_deny() {
    let Resource::Policy(seen) = seen(&view(&["PolicySpec.local_rate_limit"]), &policy(limit())) else {
        panic!("a policy")
    };
    assert!(is_deny(&seen.spec.expect("spec")));
}

#[test]
fn an_unknown_enum_value_counts_as_an_unknown_field() {
    let jwt = spec(policy_spec::Kind::Jwt(v1::JwtAuthentication {
        providers: Vec::new(),
        mode: v1::AuthenticationMode::Optional.into(),
        ..v1::JwtAuthentication::default()
    }));
    let Resource::Policy(seen) = seen(&view(&["AuthenticationMode.OPTIONAL"]), &policy(jwt)) else {
        panic!("a policy")
    };
    assert!(is_deny(&seen.spec.expect("spec")));
}

#[test]
fn an_unknown_target_denies_the_whole_gateway() {
    let Resource::Policy(seen) = seen(&view(&["RouteTarget.rule_name"]), &policy(limit())) else { panic!("a policy") };
    assert_eq!(seen.target, Some(policy::Target::Gateway("infra/gw".into())));
    assert!(is_deny(&seen.spec.expect("spec")));
}

#[test]
fn a_policy_that_does_not_protect_is_sent_as_it_is() {
    let original = policy(cors());
    assert_eq!(seen(&view(&["Cors.max_age_seconds", "RouteTarget.rule_name"]), &original), original);
}

#[test]
fn what_the_peer_knows_is_untouched() {
    let original = policy(limit());
    assert_eq!(seen(&view(&["Cors.max_age_seconds"]), &original), original);
}

#[test]
fn inline_policies_and_matches_of_routes() {
    let original = v1::Route {
        key: "r".into(),
        r#match: Some(v1::RouteMatch {
            headers: vec![v1::KeyedMatch {
                name: "x".into(),
                value: Some(v1::keyed_match::Value::Regex("a.*".into())),
            }],
            ..Default::default()
        }),
        inline_policies: vec![cors(), limit()],
        backends: vec![v1::RouteBackend { inline_policies: vec![limit()], ..Default::default() }],
        ..Default::default()
    };
    let resource = Resource::Route(original.clone());
    let Resource::Route(seen_route) = seen(&view(&["LocalRateLimit.max_tokens"]), &resource) else { panic!("a route") };
    assert_eq!(seen_route.inline_policies[0], original.inline_policies[0]);
    assert!(is_deny(&seen_route.inline_policies[1]));
    assert!(is_deny(&seen_route.backends[0].inline_policies[0]));

    let Resource::Route(seen_route) = seen(&view(&["KeyedMatch.regex"]), &resource) else { panic!("a route") };
    assert_eq!(seen_route.inline_policies.len(), 3);
    assert!(is_deny(&seen_route.inline_policies[2]));
}

#[test]
fn unknown_kinds_are_not_sent_and_changes_cost_what_changed() {
    let view = view(&["Endpoint"]);
    let endpoint = Resource::Endpoint(v1::Endpoint { key: "e".into(), ..Default::default() });
    let bind = |key: &str| Resource::Bind(v1::Bind { key: key.into(), ..Default::default() });
    let first = Arc::new(Snapshot::of(&[endpoint, bind("a"), bind("b")]));
    let adapted = view.adapt(&first);
    assert!(adapted.kind(Kind::Endpoint).expect("kind").is_empty());
    assert!(Arc::ptr_eq(&adapted, &view.adapt(&first)));

    let mut edit = first.edit();
    edit.remove(Kind::Bind, "a");
    edit.insert(&bind("c"));
    let next = view.adapt(&Arc::new(edit.finish()));
    assert_eq!(next.generation(), Snapshot::of(&[bind("b"), bind("c")]).generation());
}

fn listener() -> v1::Listener {
    v1::Listener {
        key: "l".into(),
        tls: Some(v1::ServerTls {
            client_validation: Some(v1::ClientValidation {
                authorities: vec!["pem".into()],
                mode: v1::client_validation::Mode::AllowInsecureFallback.into(),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn a_listener_is_withheld_from_a_proxy_that_would_ask_clients_for_less() {
    for lacks in [
        &["ServerTls.client_validation"][..],
        &["ClientValidation.authorities"],
        &["ClientValidation.Mode.ALLOW_INSECURE_FALLBACK"],
    ] {
        let adapted = view(lacks).adapt(&Arc::new(Snapshot::of(&[Resource::Listener(listener())])));
        assert!(adapted.kind(Kind::Listener).expect("kind").is_empty(), "{lacks:?}");
    }
    let known = Resource::Listener(listener());
    assert_eq!(seen(&view(&["ServerTls.alpn"]), &known), known, "what it does not know is not set");
}

#[test]
fn a_listener_that_comes_to_ask_too_much_is_taken_away() {
    let view = view(&["ServerTls.min_version"]);
    let first = Arc::new(Snapshot::of(&[Resource::Listener(listener())]));
    assert_eq!(view.adapt(&first).kind(Kind::Listener).expect("kind").len(), 1);
    let mut asks = listener();
    asks.tls.as_mut().expect("TLS").min_version = v1::TlsVersion::Tls13.into();
    let mut edit = first.edit();
    edit.insert(&Resource::Listener(asks));
    assert!(view.adapt(&Arc::new(edit.finish())).kind(Kind::Listener).expect("kind").is_empty());
}

#[test]
fn a_backend_is_not_reached_by_a_proxy_that_would_check_or_encrypt_less() {
    let original = v1::Backend {
        key: "b".into(),
        kind: Some(v1::backend::Kind::Host(v1::HostBackend::default())),
        tls: Some(v1::BackendTls {
            hostname: "a.example".into(),
            subject_alt_names: vec![v1::SubjectAltName {
                kind: Some(v1::subject_alt_name::Kind::Uri("spiffe://td/a".into())),
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let resource = Resource::Backend(original);
    for lacks in ["BackendTls.hostname", "BackendTls.subject_alt_names", "SubjectAltName.uri"] {
        let Resource::Backend(seen) = seen(&view(&[lacks]), &resource) else { panic!("a backend") };
        assert_eq!((seen.kind, seen.tls), (None, None), "{lacks}");
    }
    assert_eq!(seen(&view(&["BackendTls.client_certificate"]), &resource), resource);
}
