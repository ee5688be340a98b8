use super::*;
use crate::testing::{Nothing, context, request};

fn spec() -> v1::ExternalAuthorization {
    let protocol = Some(Protocol::Grpc(v1::external_authorization::Grpc::default()));
    v1::ExternalAuthorization { backend_key: "Service/ns/authz/9000".into(), protocol, ..Default::default() }
}

async fn ask(spec: &v1::ExternalAuthorization) -> Result<(), Reply> {
    let policy = ExternalAuthorization::compile(spec, "TrafficPolicy ns/p").expect("compiles");
    let mut reach = Reach { services: &Nothing, body: &mut None };
    policy.on_request(&mut request("GET", "/", &[]), &mut context(), &mut reach).await
}

#[tokio::test]
async fn a_service_that_nobody_configured_refuses_also_where_failures_pass() {
    for fail_open in [false, true] {
        let reply = ask(&v1::ExternalAuthorization { fail_open, ..spec() }).await.expect_err("is refused");
        assert_eq!(reply.response.status(), 403);
        assert_eq!(reply.response.body(), "authorization failed", "the reason is for the log alone");
        assert_eq!(reply.reason.code(), "ext_authz_error");
        assert!(reply.reason.detail().starts_with("TrafficPolicy ns/p: "));
    }
    let reply = ask(&v1::ExternalAuthorization { status_on_error: 503, ..spec() }).await.expect_err("is refused");
    assert_eq!(reply.response.status(), 503);
}

#[test]
fn what_cannot_be_applied_does_not_compile() {
    let with = |change: fn(&mut v1::ExternalAuthorization)| {
        let mut spec = spec();
        change(&mut spec);
        ExternalAuthorization::compile(&spec, "s").map(|_| ()).expect_err("must not compile")
    };
    assert!(with(|s| s.backend_key.clear()).contains("reference"));
    assert!(with(|s| s.protocol = None).contains("protocol"));
    assert!(with(|s| s.status_on_error = 200).contains("200"));
    assert!(with(|s| s.forward_body_bytes = u32::MAX).contains("at most"));
    let headers = |s: &mut v1::ExternalAuthorization| {
        let allowed_headers = vec!["a b".into()];
        s.protocol = Some(Protocol::Grpc(v1::external_authorization::Grpc { allowed_headers, ..Default::default() }));
    };
    assert!(with(headers).contains("a b"));
}
