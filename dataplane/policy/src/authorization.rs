//! Authorization of requests by CEL rules.

use std::sync::Arc;

use agentgateway_expression::Outcome;
use agentgateway_proto::v1;
use http::StatusCode;
use http::request::Parts;

use crate::rules::{Rules, beyond_requests};
use crate::{Reason, Reply, RequestContext};

/// The rules of one policy.
#[derive(Debug)]
pub(crate) struct Authorization {
    rules: Rules,
    origin: Arc<str>,
}

impl Authorization {
    /// `origin` names the policy in the access log.
    pub(crate) fn compile(spec: &v1::Authorization, origin: &str) -> Result<Authorization, String> {
        let rules = Rules::compile(spec)?.all_without(beyond_requests)?;
        Ok(Authorization { rules, origin: origin.into() })
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) fn on_request(&self, head: &Parts, context: &RequestContext) -> Result<(), Reply> {
        let input = context.input(head);
        let allowed = self.rules.allow(|rule| match rule.evaluate_http(&input) {
            Ok(true) => Outcome::True,
            Ok(false) => Outcome::False,
            Err(error) => Outcome::Error(error),
        });
        if allowed {
            return Ok(());
        }
        Err(Reply::new(StatusCode::FORBIDDEN, "authorization failed", Reason::Unauthorized(Arc::clone(&self.origin))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, request};

    fn allowed(allow: &[&str], deny: &[&str], require: &[&str]) -> bool {
        let list = |rules: &[&str]| rules.iter().map(ToString::to_string).collect();
        let spec = v1::Authorization { allow: list(allow), deny: list(deny), require: list(require) };
        let policy = Authorization::compile(&spec, "test").expect("compiles");
        policy.on_request(&request("GET", "/a", &[("x-a", "1")]), &context()).is_ok()
    }

    #[test]
    fn deny_wins_over_allow_and_every_requirement_must_hold() {
        assert!(allowed(&["request.path == '/a'"], &[], &[]));
        assert!(allowed(&["false", "request.path == '/a'"], &[], &[]));
        assert!(!allowed(&["request.path == '/b'"], &[], &[]));
        assert!(!allowed(&["true"], &["request.path == '/a'"], &[]));
        assert!(allowed(&[], &["request.path == '/b'"], &[]));
        assert!(allowed(&[], &[], &["true", "request.method == 'GET'"]));
        assert!(!allowed(&["true"], &[], &["true", "request.method == 'PUT'"]));
    }

    #[test]
    fn a_rule_that_cannot_be_evaluated_never_lets_a_request_through() {
        assert!(!allowed(&["jwt.sub == 'a'"], &[], &[]));
        assert!(!allowed(&["true"], &["jwt.sub == 'a'"], &[]));
        assert!(!allowed(&["true"], &[], &["jwt.sub == 'a'"]));
        assert!(!allowed(&["'true'"], &[], &[]));
        assert!(!allowed(&["true"], &["'false'"], &[]));
    }

    #[test]
    fn rules_that_do_not_compile_are_named() {
        let compile = |rule: &str| {
            let spec = v1::Authorization { allow: vec![rule.into()], ..Default::default() };
            Authorization::compile(&spec, "test").map(|_| ()).expect_err("must not compile")
        };
        assert!(compile("requst.path == 'a'").contains("unknown variable \"requst\""));
        assert_eq!(
            compile("mcp.tool.name == 'a'"),
            "rule \"mcp.tool.name == 'a'\": mcp is known in rules on MCP items only"
        );
        assert!(Authorization::compile(&v1::Authorization::default(), "test").is_err());
    }
}
