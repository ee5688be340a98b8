use agentgateway_proto::v1::backend_authentication;
use serde_json::json;

use super::*;
use crate::Reason;
use crate::testing::{Nothing, context, request};

fn spec(kind: Kind) -> v1::PolicySpec {
    v1::PolicySpec { kind: Some(kind) }
}

fn chain(specs: &[v1::PolicySpec]) -> Chain {
    let attached: Vec<_> = specs.iter().map(|spec| Attached { spec, source: "TrafficPolicy ns/p", key: "k" }).collect();
    Chain::compile(&attached, &State::new())
}

fn rules(allow: &str) -> v1::Authorization {
    v1::Authorization { allow: vec![allow.into()], ..Default::default() }
}

fn jwt() -> v1::JwtAuthentication {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"});
    let jwks = json!({ "keys": [key] }).to_string();
    let provider = v1::JwtProvider { issuer: "i".into(), jwks, ..Default::default() };
    v1::JwtAuthentication { providers: vec![provider], ..Default::default() }
}

fn limit(max_tokens: u64) -> v1::PolicySpec {
    spec(Kind::LocalRateLimit(v1::LocalRateLimit {
        max_tokens,
        tokens_per_fill: 1,
        fill_interval_milliseconds: 3_600_000,
        ..Default::default()
    }))
}

fn cors() -> v1::PolicySpec {
    spec(Kind::Cors(v1::Cors { allow_origins: vec!["https://a.example".into()], ..Default::default() }))
}

fn set(name: &str, value: &str) -> v1::HeaderModifier {
    v1::HeaderModifier { set: vec![v1::Header { name: name.into(), value: value.into() }], ..Default::default() }
}

async fn answer(chain: &Chain, head: &mut request::Parts) -> Result<(), Reply> {
    chain.on_request(head, &mut context(), &mut Reach { services: &Nothing, body: &mut None }).await
}

async fn reason(chain: &Chain) -> Reason {
    answer(chain, &mut request("GET", "/", &[])).await.expect_err("is answered").reason
}

#[tokio::test]
async fn an_empty_chain_does_nothing() {
    let chain = chain(&[]);
    assert!(chain.is_empty() && chain.errors().is_empty());
    assert!(answer(&chain, &mut request("GET", "/", &[])).await.is_ok());
}

#[tokio::test]
async fn policies_run_in_the_order_of_phases_whatever_the_order_given() {
    let redirect = spec(Kind::RequestRedirect(v1::RequestRedirect::default()));
    let refuse = spec(Kind::Authorization(rules("false")));
    let all = [redirect.clone(), limit(1), refuse.clone(), spec(Kind::Jwt(jwt())), cors()];
    assert!(matches!(reason(&chain(&all)).await, Reason::Unauthenticated(..)));
    assert!(matches!(reason(&chain(&all[..3])).await, Reason::Unauthorized(_)));
    let limited = chain(&all[..2]);
    assert_eq!(reason(&limited).await, Reason::Redirect);
    assert!(matches!(reason(&limited).await, Reason::RateLimited(_)));
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "PUT")];
    let reply = answer(&chain(&all), &mut request("OPTIONS", "/", &preflight)).await.expect_err("is answered");
    assert_eq!(reply.reason, Reason::Preflight, "a preflight request carries no token");
}

#[tokio::test]
async fn header_filters_see_what_comes_before_and_rules_do_not_see_them() {
    let modifier = spec(Kind::RequestHeaderModifier(set("x-a", "set")));
    let rule = spec(Kind::Authorization(rules("request.headers['x-a'] == 'sent'")));
    let chain = chain(&[modifier, rule]);
    let mut head = request("GET", "/", &[("x-a", "sent")]);
    answer(&chain, &mut head).await.expect("is allowed");
    assert_eq!(head.headers["x-a"], "set");
    assert!(answer(&chain, &mut request("GET", "/", &[("x-a", "set")])).await.is_err());
}

#[tokio::test]
async fn what_does_not_compile_denies_and_is_listed() {
    let bad_jwt = v1::JwtAuthentication {
        providers: vec![v1::JwtProvider { issuer: "i".into(), ..Default::default() }],
        ..Default::default()
    };
    for (kind, name, protects) in [
        (Kind::Authorization(rules("nonsense")), "authorization", true),
        (Kind::Jwt(bad_jwt), "jwtAuth", true),
        (Kind::LocalRateLimit(v1::LocalRateLimit::default()), "localRateLimit", true),
        (Kind::Cors(v1::Cors { allow_origins: vec!["x".into()], ..Default::default() }), "cors", false),
        (Kind::RequestHeaderModifier(set("a b", "c")), "requestHeaderModifier", false),
        (Kind::UrlRewrite(v1::UrlRewrite { hostname: "a b".into(), path: None }), "urlRewrite", false),
        (Kind::BackendAuth(v1::BackendAuthentication { kind: None }), "backendAuth", true),
    ] {
        let chain = chain(&[spec(kind)]);
        assert!(matches!(reason(&chain).await, Reason::Denied(_)), "{name}");
        let [error] = chain.errors() else { panic!("one error for {name}") };
        assert_eq!((error.policy, error.protects, &*error.source_object), (name, protects, "TrafficPolicy ns/p"));
    }
}

#[tokio::test]
async fn a_kind_that_is_unknown_denies() {
    let chain = chain(&[v1::PolicySpec { kind: None }]);
    let reply = answer(&chain, &mut request("GET", "/", &[])).await.expect_err("is refused");
    assert_eq!(reply.response.status(), 403);
    assert_eq!(reply.response.body(), "denied by policy");
    assert!(chain.errors()[0].protects);
}

#[tokio::test]
async fn a_deny_says_why_in_the_log_alone() {
    let deny = v1::Deny { reason: "the ConfigMap is missing".into(), policy: "TrafficPolicy ns/p jwt".into() };
    let chain = chain(&[spec(Kind::Deny(deny)), cors()]);
    let reply = answer(&chain, &mut request("GET", "/", &[])).await.expect_err("is refused");
    assert_eq!(reply.response.body(), "denied by policy");
    assert_eq!(reply.reason.detail(), "TrafficPolicy ns/p jwt: the ConfigMap is missing");
    assert!(chain.errors().is_empty());
}

#[tokio::test]
async fn each_limit_of_a_list_has_a_bucket_of_its_own() {
    let chain = chain(&[limit(3), limit(2)]);
    let mut allowed = 0;
    for _ in 0..5 {
        allowed += usize::from(answer(&chain, &mut request("GET", "/", &[])).await.is_ok());
    }
    assert_eq!(allowed, 2);
}

#[test]
fn rules_on_items_and_passthrough_are_kept_for_the_backend() {
    let passthrough = backend_authentication::Kind::Passthrough(backend_authentication::Passthrough {});
    let chain = chain(&[
        spec(Kind::McpAuthorization(rules("mcp.tool.name == 'a'"))),
        spec(Kind::McpAuthorization(rules("nonsense"))),
        spec(Kind::BackendAuth(v1::BackendAuthentication { kind: Some(passthrough) })),
    ]);
    assert!(chain.backend_auth().is_some() && !chain.is_empty());
    assert_eq!(chain.mcp_authorization().len(), 2);
    assert_eq!(chain.errors().len(), 1);
    let item = crate::McpItem::Tool { target: "t", name: "a", federated_name: "t_a", arguments: None };
    let (head, context) = (request("POST", "/", &[]), context());
    let allows: Vec<_> = chain.mcp_authorization().iter().map(|r| r.allows(&item, &context.input(&head))).collect();
    assert_eq!(allows, [true, false]);
}

#[tokio::test]
async fn responses_get_headers_of_cors_and_modifiers() {
    let chain = chain(&[spec(Kind::ResponseHeaderModifier(set("x-a", "b"))), cors()]);
    let mut context = context();
    let mut head = request("GET", "/", &[("origin", "https://a.example")]);
    let mut reach = Reach { services: &Nothing, body: &mut None };
    chain.on_request(&mut head, &mut context, &mut reach).await.expect("goes on");
    let (mut response, ()) = http::Response::new(()).into_parts();
    chain.on_response(&mut response, &mut context);
    assert_eq!(response.headers["x-a"], "b");
    assert_eq!(response.headers["access-control-allow-origin"], "https://a.example");
}

#[tokio::test]
async fn of_policies_that_do_not_protect_the_most_specific_has_the_last_word() {
    let origins = |origin: &str| Kind::Cors(v1::Cors { allow_origins: vec![origin.into()], ..Default::default() });
    let specs = [
        (spec(Kind::RequestHeaderModifier(set("x-a", "route"))), "route"),
        (spec(origins("https://a.example")), "route"),
        (spec(Kind::Authorization(rules("true"))), "route"),
        (spec(Kind::RequestHeaderModifier(set("x-a", "gateway"))), "gateway"),
        (spec(origins("https://b.example")), "gateway"),
        (spec(Kind::Authorization(rules("false"))), "gateway"),
    ];
    let attached: Vec<_> = specs.iter().map(|(spec, source)| Attached { spec, source, key: source }).collect();
    let all = Chain::compile(&attached, &State::new());
    assert!(matches!(reason(&all).await, Reason::Unauthorized(from) if &*from == "gateway"), "what protects adds up");
    let told: Vec<_> = all.in_force().iter().map(|p| format!("{} of {}", p.policy, p.source)).collect();
    let expected = [
        "cors of route",
        "authorization of route",
        "authorization of gateway",
        "requestHeaderModifier of gateway",
        "requestHeaderModifier of route",
    ];
    assert_eq!(told, expected);
    let chain = Chain::compile(&attached[..5], &State::new());
    let mut head = request("GET", "/", &[]);
    answer(&chain, &mut head).await.expect("passes");
    assert_eq!(head.headers["x-a"], "route");
}
