//! The fields of a TrafficPolicy as messages.

use agentgateway_convert::{Error, policy as convert};
use agentgateway_crds::TrafficPolicy;
use agentgateway_expression::Expression;
use agentgateway_proto::v1;
use agentgateway_types::policy::Rbac;

use crate::Name;

pub(super) use agentgateway_convert::policy::Scope;

/// One field of a policy.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) spec: v1::PolicySpec,
    /// Why it is a deny.
    pub(super) problem: Option<String>,
}

/// All fields that are set, as they apply in `scope`.
pub(super) fn specs(policy: &TrafficPolicy, scope: Scope) -> Vec<Field> {
    let name = Name::of(policy);
    let mut fields = Vec::new();
    if let Some(rbac) = &policy.spec.rbac {
        fields.push(field(&name, "rbac", rbac_spec(rbac, scope)));
    }
    if let Some(limit) = &policy.spec.rate_limit {
        let made = match &limit.local {
            Some(local) => {
                convert::local_rate_limit(&local.token_bucket).map_err(|e| wrong("spec.rateLimit.local.tokenBucket", e))
            }
            None => Err("spec.rateLimit.local: must be set".to_owned()),
        };
        fields.push(field(&name, "rateLimit", made));
    }
    fields
}

/// A policy of which nothing can be applied: one deny.
pub(super) fn refused(name: &Name, field_name: &'static str, reason: &str) -> Vec<Field> {
    vec![field(name, field_name, Err(reason.to_owned()))]
}

fn field(name: &Name, field: &'static str, made: Result<v1::PolicySpec, String>) -> Field {
    match made {
        Ok(spec) => Field { name: field, spec, problem: None },
        Err(problem) => {
            let spec = convert::deny(format!("TrafficPolicy {name} {field}"), problem.clone());
            Field { name: field, spec, problem: Some(format!("all requests are refused: {problem}")) }
        }
    }
}

fn rbac_spec(rbac: &Rbac, scope: Scope) -> Result<v1::PolicySpec, String> {
    for (i, source) in rbac.policy.match_expressions.iter().enumerate() {
        let at = format!("spec.rbac.policy.matchExpressions[{i}]");
        let expression = Expression::compile(source).map_err(|error| format!("{at}: {error}"))?;
        if scope == Scope::Http && expression.uses_mcp() {
            return Err(format!("{at}: mcp is known on a Backend of type MCP only"));
        }
    }
    convert::rbac(rbac, scope).map_err(|e| wrong("spec.rbac", e))
}

fn wrong(field: &str, error: Error) -> String {
    error.within(agentgateway_types::Path::of(field)).to_string()
}
