use agentgateway_callout::processor::ProcessingMode;
use agentgateway_callout::processor::processing_mode::BodySendMode;
use agentgateway_proto::v1::external_processing::{Body as Sent, Mode as ModeSpec, MutationRules};

use super::mode::BodyMode;
use super::*;
use crate::testing::{Nothing, context, request};

fn spec() -> v1::ExternalProcessing {
    v1::ExternalProcessing { backend_key: "Service/ns/guard/9000".into(), ..Default::default() }
}

fn error(change: impl FnOnce(&mut v1::ExternalProcessing)) -> String {
    let mut spec = spec();
    change(&mut spec);
    ExternalProcessing::compile(&spec, "s", false).map(|_| ()).expect_err("must not compile")
}

#[test]
fn what_cannot_be_applied_does_not_compile() {
    let mode = |request: Sent| Some(ModeSpec { request_body: request.into(), ..ModeSpec::default() });
    assert!(error(|s| s.backend_key.clear()).contains("reference"));
    assert!(error(|s| s.authority = "a b".into()).contains("host name"));
    assert!(error(|s| s.message_timeout_milliseconds = Some(0)).contains("0 ms"));
    assert!(error(|s| s.max_message_timeout_milliseconds = 1 << 40).contains("no time"));
    assert!(error(|s| s.max_body_bytes = 1 << 40).contains("cannot be kept"));
    assert!(error(|s| s.request_attributes = vec!["response.code".into()]).contains("response"));
    assert!(error(|s| s.response_attributes = vec!["response.body".into()]).contains("bodies"));
    assert!(error(|s| s.mode = Some(ModeSpec { request_body: 99, ..ModeSpec::default() })).contains("unknown"));
    assert!(error(|s| (s.observability, s.mode) = (true, mode(Sent::Buffered))).contains("STREAMED"));
    let rules = MutationRules { deny: vec!["a b".into()], ..MutationRules::default() };
    assert!(error(|s| s.mutation_rules = Some(rules)).contains("a b"));
}

#[tokio::test]
async fn a_service_that_nobody_configured_refuses_also_where_failures_pass() {
    for fail_open in [false, true] {
        let spec = v1::ExternalProcessing { fail_open, ..spec() };
        let policy = ExternalProcessing::compile(&spec, "TrafficPolicy ns/p", false).expect("compiles");
        let mut reach = Reach { services: &Nothing, body: &mut None };
        let answer = policy.on_request(&mut request("GET", "/", &[]), &mut context(), &mut reach).await;
        let reply = answer.expect_err("is refused");
        assert_eq!(reply.response.status(), 500);
        assert_eq!(reply.reason.code(), "ext_proc_error");
        assert_eq!(reply.reason.detail(), "TrafficPolicy ns/p: its backend does not exist");
    }
}

#[test]
fn modes_by_default_and_by_the_processor() {
    let compile = |request: Sent| {
        Mode::compile(&ModeSpec { request_body: request.into(), ..ModeSpec::default() }, false).expect("compiles")
    };
    let mode = compile(Sent::None);
    assert!(mode.request.headers && mode.response.headers && !mode.request.trailers);
    let by = ProcessingMode { response_body_mode: BodySendMode::Buffered.into(), ..ProcessingMode::default() };
    let other = mode.overridden(&by).expect("may be had");
    assert_eq!(other.response.body, BodyMode::Whole { partial: false });
    assert!(compile(Sent::FullDuplexStreamed).request.trailers, "they end the stream");
    assert_eq!(compile(Sent::FullDuplexStreamed).overridden(&by), None);
    let by = ProcessingMode { request_body_mode: BodySendMode::FullDuplexStreamed.into(), ..ProcessingMode::default() };
    assert_eq!(mode.overridden(&by), None);
    assert_eq!(mode.overridden(&ProcessingMode { request_body_mode: 99, ..ProcessingMode::default() }), None);
}
