//! CEL authorization rules, as the YAML file spells them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rules that decide whether a request, or an item of an MCP server, is allowed.
///
/// Deny rules are evaluated first, then require rules, then allow rules. With any allow rule, what matches none of
/// them is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// The rules; allow rules are alternatives, require rules must all hold.
    #[schemars(length(min = 1, max = 128))]
    pub rules: Vec<Rule>,
}

/// One rule: exactly one of `allow`, `deny` and `require`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.allow) ? 1 : 0) + (has(self.deny) ? 1 : 0) + (has(self.require) ? 1 : 0) == 1",
    "message": "exactly one of allow, deny and require must be set"
}]))]
pub struct Rule {
    /// CEL expression; where it holds, the request is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub allow: Option<String>,

    /// CEL expression; where it holds, the request is refused, whatever the other rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub deny: Option<String>,

    /// CEL expression; where it does not hold, the request is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub require: Option<String>,
}
