use super::*;
use crate::testing::{Nothing, context, request};

fn spec() -> v1::GlobalRateLimit {
    let entry = |key: &str, expression: &str| global::Entry {
        key: key.into(),
        kind: Some(global::entry::Kind::Expression(expression.into())),
    };
    let entries = vec![entry("user", "request.headers['x-user']")];
    let descriptors = vec![global::Descriptor { entries, ..Default::default() }];
    let envoy = global::Envoy { domain: "d".into(), descriptors, authority: String::new() };
    let service = Some(global::Service::Envoy(envoy));
    v1::GlobalRateLimit { backend_key: "Service/ns/limits/8081".into(), service, ..Default::default() }
}

fn compile(spec: &v1::GlobalRateLimit) -> Result<GlobalRateLimit, String> {
    GlobalRateLimit::compile(spec, "TrafficPolicy ns/p", Arc::default())
}

#[tokio::test]
async fn a_service_that_nobody_configured_refuses_also_where_failures_pass() {
    for fail_open in [false, true] {
        let policy = compile(&v1::GlobalRateLimit { fail_open, ..spec() }).expect("compiles");
        let mut head = request("GET", "/", &[("x-user", "ada")]);
        let reply = policy.on_request(&mut head, &mut context(), &Nothing).await.expect_err("is refused");
        assert_eq!(reply.response.status(), 503);
        assert_eq!(reply.reason.code(), "rate_limit_error");
        assert!(reply.reason.detail().starts_with("TrafficPolicy ns/p: "));
    }
}

#[test]
fn an_outage_refuses_unless_the_policy_lets_pass() {
    let concluded = |fail_open| {
        let policy = compile(&v1::GlobalRateLimit { fail_open, ..spec() }).expect("compiles");
        let passed = policy.concluded(Err(Error::Timeout(Duration::from_millis(100))));
        (passed.map(|verdict| verdict.is_some()).map_err(|r| r.response.status().as_u16()), policy)
    };
    let (closed, policy) = concluded(false);
    assert_eq!((closed, policy.counters.unavailable.load(Ordering::Relaxed)), (Err(503), 1));
    assert_eq!(concluded(true).0, Ok(false));
}

#[test]
fn what_cannot_be_applied_does_not_compile() {
    let with = |change: fn(&mut v1::GlobalRateLimit)| {
        let mut spec = spec();
        change(&mut spec);
        compile(&spec).map(|_| ()).expect_err("must not compile")
    };
    assert!(with(|s| s.backend_key.clear()).contains("reference"));
    assert!(with(|s| s.service = None).contains("service"));
    assert!(with(|s| s.timeout_milliseconds = Some(0)).contains("timeout"));
    assert!(with(|s| s.service = Some(global::Service::Envoy(global::Envoy::default()))).contains("domain"));
    assert!(with(|s| s.service = Some(global::Service::Redis(global::Redis::default()))).contains("buckets"));
}
