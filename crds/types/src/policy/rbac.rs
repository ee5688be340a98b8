//! CEL authorization rules, as TrafficPolicy spells them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Allows or refuses what matches one of the expressions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rbac {
    /// What the action applies to.
    pub policy: RbacPolicy,

    /// `Allow`: what matches none of the expressions is refused. `Deny`: what matches one of them is refused. `Allow` by
    /// default.
    #[serde(default, skip_serializing_if = "is_allow")]
    pub action: RbacAction,
}

/// Expressions, of which one must match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RbacPolicy {
    /// CEL expressions; they are alternatives.
    #[schemars(length(min = 1, max = 128), inner(length(min = 1, max = 4096)))]
    pub match_expressions: Vec<String>,
}

/// What is done with what matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RbacAction {
    /// What matches is allowed, everything else is refused.
    #[default]
    Allow,
    /// What matches is refused.
    Deny,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_allow(action: &RbacAction) -> bool {
    *action == RbacAction::Allow
}
