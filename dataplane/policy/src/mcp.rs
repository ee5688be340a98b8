//! Rules on MCP items: which tools, prompts and resources a client may see and use.

use agentgateway_expression::{Expression, HttpInput, McpItem};
use agentgateway_proto::v1;

use crate::rules::{Rules, beyond_requests};

/// The rules of one policy. Several policies are evaluated each by itself, and all must allow.
#[derive(Debug)]
pub struct McpRules {
    /// None where a rule does not compile: then nothing is allowed.
    rules: Option<Rules>,
}

impl McpRules {
    /// Compiles the rules; on an error nothing is allowed.
    pub(crate) fn compile(spec: &v1::Authorization) -> (McpRules, Option<String>) {
        let of_calls = |rule: &Expression| beyond_requests(rule).filter(|_| rule.uses_a2a());
        let compiled = Rules::compile(spec).and_then(|rules| rules.all_without(of_calls));
        match compiled {
            Ok(rules) => (McpRules { rules: Some(rules) }, None),
            Err(reason) => (McpRules { rules: None }, Some(reason)),
        }
    }

    /// Whether these rules let a client see and use `item`.
    pub fn allows(&self, item: &McpItem<'_>, input: &HttpInput<'_>) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.allow(|rule| rule.evaluate_mcp(item, input)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, request};

    fn allows(allow: &[&str], deny: &[&str], require: &[&str], item: &McpItem<'_>) -> bool {
        let list = |rules: &[&str]| rules.iter().map(ToString::to_string).collect();
        let spec = v1::Authorization { allow: list(allow), deny: list(deny), require: list(require) };
        let (head, context) = (request("POST", "/mcp", &[]), context());
        McpRules::compile(&spec).0.allows(item, &context.input(&head))
    }

    const ECHO: McpItem<'_> =
        McpItem::Tool { target: "everything", name: "echo", federated_name: "everything_echo", arguments: None };
    const PROMPT: McpItem<'_> =
        McpItem::Prompt { target: "everything", name: "simple", federated_name: "everything_simple", arguments: None };

    #[test]
    fn with_an_allow_rule_what_matches_none_is_hidden() {
        let rules = ["mcp.tool.name in ['everything_echo']", "mcp.tool.name == 'other'"];
        assert!(allows(&rules, &[], &[], &ECHO));
        assert!(!allows(&rules, &[], &[], &PROMPT), "a rule on tools alone hides prompts");
        assert!(allows(&["has(mcp.prompt)"], &[], &[], &PROMPT));
    }

    #[test]
    fn a_deny_on_another_kind_does_not_match_and_a_requirement_does_not_hold() {
        assert!(!allows(&[], &["mcp.tool.name == 'echo'"], &[], &ECHO));
        assert!(allows(&[], &["mcp.tool.name == 'echo'"], &[], &PROMPT));
        assert!(allows(&[], &["mcp.tool.name != 'echo'"], &[], &ECHO));
        assert!(!allows(&[], &[], &["mcp.tool.name == 'echo'"], &PROMPT));
    }

    #[test]
    fn an_evaluation_error_never_lets_an_item_through() {
        assert!(!allows(&["jwt.sub == 'a'"], &[], &[], &ECHO));
        assert!(!allows(&[], &["jwt.sub == 'a'"], &[], &ECHO));
        assert!(!allows(&[], &[], &["jwt.sub == 'a'"], &ECHO));
    }

    #[test]
    fn rules_that_do_not_compile_allow_nothing() {
        assert!(!allows(&["true", "mcp.toool.name == 'a'"], &[], &[], &ECHO));
        assert!(!allows(&[], &["mcp.toool.name == 'a'"], &[], &ECHO));
        assert!(!allows(&[], &[], &[], &ECHO));
    }
}
