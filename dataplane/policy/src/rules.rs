//! Rule sets, as authorization of requests and of MCP items have them: deny first, then require, then allow.

use agentgateway_expression::{Expression, Outcome};
use agentgateway_proto::v1;

/// Why an expression has no meaning on a request alone, if it has none.
pub(crate) fn beyond_requests(expression: &Expression) -> Option<&'static str> {
    expression.subject().map(|subject| match subject {
        "mcp" => "mcp is known in rules on MCP items only",
        _ => "a2a is known in rules on calls of agents only",
    })
}

/// The compiled rules of one policy.
#[derive(Debug)]
pub(crate) struct Rules {
    allow: Box<[Expression]>,
    deny: Box<[Expression]>,
    require: Box<[Expression]>,
}

impl Rules {
    /// Compiles every rule, or says which one does not compile.
    pub(crate) fn compile(spec: &v1::Authorization) -> Result<Rules, String> {
        let compile = |rules: &[String]| -> Result<Box<[Expression]>, String> {
            rules.iter().map(|rule| Expression::compile(rule).map_err(|e| format!("rule {rule:?}: {e}"))).collect()
        };
        if spec.allow.is_empty() && spec.deny.is_empty() && spec.require.is_empty() {
            return Err("it has no rules".into());
        }
        Ok(Rules { allow: compile(&spec.allow)?, deny: compile(&spec.deny)?, require: compile(&spec.require)? })
    }

    /// Refuses the first rule against which there is an `objection`.
    pub(crate) fn all_without(self, objection: impl Fn(&Expression) -> Option<&'static str>) -> Result<Rules, String> {
        let mut all = self.deny.iter().chain(&self.require).chain(&self.allow);
        let objected = all.find_map(|rule| Some(format!("rule {:?}: {}", rule.source(), objection(rule)?)));
        drop(all);
        objected.map_or(Ok(self), Err)
    }

    /// Whether the rules allow what `holds` evaluates them on.
    ///
    /// A rule that speaks of another kind of item is no match for an allow or a deny and not held for a require. Any other
    /// evaluation error is no match for an allow, a match for a deny, and not held for a require.
    pub(crate) fn allow(&self, holds: impl Fn(&Expression) -> Outcome) -> bool {
        let denied = self.deny.iter().any(|rule| matches!(holds(rule), Outcome::True | Outcome::Error(_)));
        !denied
            && self.require.iter().all(|rule| holds(rule) == Outcome::True)
            && (self.allow.is_empty() || self.allow.iter().any(|rule| holds(rule) == Outcome::True))
    }
}
