//! The chain: all policies of one level, merged in the order of phases.

use std::sync::Arc;

use agentgateway_proto::v1::{self, policy_spec::Kind};
use http::{request, response};

use crate::{McpRules, PolicyError, Reply, RequestContext, State, deny};

/// A policy, and where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Attached<'a> {
    /// What it does.
    pub spec: &'a v1::PolicySpec,
    /// The user's object, "TrafficPolicy ns/name" or "HTTPRoute ns/name rule 0".
    pub source: &'a str,
    /// Identity of the policy on its target: its state, such as a rate limit's level, is kept under it.
    pub key: &'a str,
}

/// Policies of one level (gateway, route or backend), immutable.
#[derive(Debug, Default)]
pub struct Chain {
    steps: Vec<Step>,
    mcp: Vec<McpRules>,
    passthrough: bool,
    errors: Vec<PolicyError>,
}

#[derive(Debug)]
enum Step {
    Deny(Arc<str>),
}

impl Chain {
    /// Compiles policies. Never fails: what protects and does not compile becomes a deny.
    pub fn compile(attached: &[Attached<'_>], _state: &State) -> Chain {
        let mut chain = Chain::default();
        for policy in attached {
            match &policy.spec.kind {
                Some(Kind::Deny(deny)) => chain.steps.push(Step::Deny(deny.reason.as_str().into())),
                Some(Kind::McpAuthorization(rules)) => {
                    let (rules, error) = McpRules::compile(rules);
                    chain.mcp.push(rules);
                    chain.errors.extend(error.map(|reason| PolicyError {
                        origin: policy.source.to_owned(),
                        policy: "mcpAuthorization",
                        reason,
                        denies: true,
                    }));
                }
                _ => chain.steps.push(Step::Deny("a policy that this proxy does not know".into())),
            }
        }
        chain
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.mcp.is_empty() && !self.passthrough
    }

    /// Policies that do not compile.
    pub fn errors(&self) -> &[PolicyError] {
        &self.errors
    }

    /// Applies the policies to a request.
    ///
    /// # Errors
    /// The answer that a policy gives in the backend's stead.
    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub async fn on_request(&self, _head: &mut request::Parts, _context: &mut RequestContext) -> Result<(), Reply> {
        for step in &self.steps {
            match step {
                Step::Deny(reason) => return Err(deny::reply(reason)),
            }
        }
        Ok(())
    }

    /// Applies the policies to a response, also to one that a policy gave.
    pub fn on_response(&self, _head: &mut response::Parts, _context: &RequestContext) {}

    /// Rules on MCP items; each policy is evaluated by itself, and all must allow.
    pub fn mcp_authorization(&self) -> &[McpRules] {
        &self.mcp
    }

    /// Whether backends get the caller's own credentials.
    pub fn passthrough(&self) -> bool {
        self.passthrough
    }
}
