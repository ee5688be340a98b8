//! Rules on calls of agents: who may do what with which task.

use agentgateway_expression::{A2aCall, Expression, HttpInput};
use agentgateway_proto::v1;

use crate::rules::{Rules, beyond_requests};

/// The rules of one policy. Several policies are evaluated each by itself, and all must allow.
#[derive(Debug)]
pub struct A2aRules {
    /// None where a rule does not compile: then nothing is allowed.
    rules: Option<Rules>,
}

impl A2aRules {
    /// Compiles the rules; on an error nothing is allowed.
    pub(crate) fn compile(spec: &v1::Authorization) -> (A2aRules, Option<String>) {
        let of_items = |rule: &Expression| beyond_requests(rule).filter(|_| rule.uses_mcp());
        let compiled = Rules::compile(spec).and_then(|rules| rules.all_without(of_items));
        match compiled {
            Ok(rules) => (A2aRules { rules: Some(rules) }, None),
            Err(reason) => (A2aRules { rules: None }, Some(reason)),
        }
    }

    /// Whether these rules let a client make the call.
    pub fn allows(&self, call: &A2aCall<'_>, input: &HttpInput<'_>) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.allow(|rule| rule.evaluate_a2a(call, input)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, request};

    const SEND: A2aCall<'_> =
        A2aCall { method: "SendMessage", version: "1.0", skill: None, task: None, context: Some("c") };

    fn allows(allow: &[&str], deny: &[&str], require: &[&str], call: &A2aCall<'_>) -> bool {
        let list = |rules: &[&str]| rules.iter().map(ToString::to_string).collect();
        let spec = v1::Authorization { allow: list(allow), deny: list(deny), require: list(require) };
        let (head, context) = (request("POST", "/", &[]), context());
        A2aRules::compile(&spec).0.allows(call, &context.input(&head))
    }

    #[test]
    fn calls_are_told_apart() {
        assert!(allows(&["a2a.method == 'SendMessage' && a2a.context == 'c'"], &[], &[], &SEND));
        assert!(!allows(&["a2a.method == 'GetTask'"], &[], &[], &SEND));
        assert!(!allows(&[], &["a2a.version == '1.0'"], &[], &SEND));
        assert!(allows(&["a2a.method in ['SendMessage']"], &["a2a.method == 'CancelTask'"], &[], &SEND));
    }

    #[test]
    fn what_a_call_does_not_say_never_lets_it_through() {
        assert!(!allows(&["a2a.skill == 'weather'"], &[], &[], &SEND));
        assert!(!allows(&[], &["a2a.skill == 'refunds'"], &[], &SEND), "a client could leave the skill out");
        assert!(allows(&[], &["has(a2a.skill) && a2a.skill == 'refunds'"], &[], &SEND));
        assert!(!allows(&[], &[], &["has(a2a.task)"], &SEND));
        let skilled = A2aCall { skill: Some("weather"), ..SEND };
        assert!(allows(&["a2a.skill == 'weather'"], &[], &[], &skilled));
    }

    #[test]
    fn rules_that_can_never_be_meant_allow_nothing() {
        for (rule, why) in [
            ("a2a.method != 'tasks/cancel'", "its name is \"CancelTask\""),
            ("!(a2a.method in ['GetTask', 'message/send'])", "its name is \"SendMessage\""),
            ("mcp.tool.name == 'a'", "mcp is known in rules on MCP items only"),
            ("a2a.skil == 'a'", "it has method, version, skill, task, context"),
        ] {
            let spec = v1::Authorization { allow: vec![rule.into()], ..v1::Authorization::default() };
            let (rules, reason) = A2aRules::compile(&spec);
            assert!(reason.as_deref().is_some_and(|reason| reason.contains(why)), "{rule}: {reason:?}");
            let (head, context) = (request("POST", "/", &[]), context());
            assert!(!rules.allows(&SEND, &context.input(&head)));
        }
    }
}
