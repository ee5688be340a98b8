//! Rules on MCP items: which tools, prompts and resources a client may see and use.

use agentgateway_expression::{Expression, HttpInput, McpItem, Outcome};
use agentgateway_proto::v1;

/// The rules of one policy. Several policies are evaluated each by itself, and all must allow.
#[derive(Debug)]
pub struct McpRules {
    /// None where a rule does not compile: then nothing is allowed.
    rules: Option<Rules>,
}

#[derive(Debug)]
struct Rules {
    allow: Vec<Expression>,
    deny: Vec<Expression>,
    require: Vec<Expression>,
}

impl McpRules {
    /// Compiles the rules; on an error nothing is allowed.
    pub(crate) fn compile(spec: &v1::Authorization) -> (McpRules, Option<String>) {
        let compile = |rules: &[String]| -> Result<Vec<Expression>, String> {
            rules
                .iter()
                .map(|rule| Expression::compile(rule).map_err(|e| format!("rule {rule:?}: {e}")))
                .collect()
        };
        let rules = || -> Result<Rules, String> {
            Ok(Rules { allow: compile(&spec.allow)?, deny: compile(&spec.deny)?, require: compile(&spec.require)? })
        };
        match rules() {
            Ok(rules) => (McpRules { rules: Some(rules) }, None),
            Err(reason) => (McpRules { rules: None }, Some(reason)),
        }
    }

    /// Whether these rules let a client see and use `item`.
    ///
    /// A rule that speaks of another kind of item is no match for an allow or a deny and not held for a require. Any other
    /// evaluation error is no match for an allow, a match for a deny, and not held for a require.
    pub fn allows(&self, item: &McpItem<'_>, input: &HttpInput<'_>) -> bool {
        let Some(rules) = &self.rules else { return false };
        let holds = |rule: &Expression| rule.evaluate_mcp(item, input);
        if rules.deny.iter().any(|rule| matches!(holds(rule), Outcome::True | Outcome::Error(_))) {
            return false;
        }
        if !rules.require.iter().all(|rule| holds(rule) == Outcome::True) {
            return false;
        }
        rules.allow.is_empty() || rules.allow.iter().any(|rule| holds(rule) == Outcome::True)
    }
}
