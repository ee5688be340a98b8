//! Protection against requests that other sites' pages make browsers send (cross-site request forgery).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Refuses requests with other methods than GET, HEAD and OPTIONS that do not come from a page of the same host. A request says
/// where it comes from in `Origin`, else in `Referer`; one that says neither is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Csrf {
    /// Of 100 requests so many are checked. 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub percentage_enabled: Option<u32>,

    /// Of 100 requests that are not checked so many are looked at nevertheless: what would be refused is in the log, and passes.
    /// 0 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub percentage_shadowed: Option<u32>,

    /// Origins besides the host of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub additional_origins: Vec<StringMatcher>,
}

/// A pattern: exactly one of `exact`, `prefix`, `suffix`, `contains` and `safeRegex`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.exact) ? 1 : 0) + (has(self.prefix) ? 1 : 0) + (has(self.suffix) ? 1 : 0) + (has(self.contains) ? 1 : 0) + (has(self.safeRegex) ? 1 : 0) == 1",
    "message": "exactly one of exact, prefix, suffix, contains and safeRegex must be set"
}]))]
pub struct StringMatcher {
    /// The whole text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub exact: Option<String>,

    /// What it begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub prefix: Option<String>,

    /// What it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub suffix: Option<String>,

    /// What is somewhere in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub contains: Option<String>,

    /// A regular expression for the whole text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub safe_regex: Option<String>,

    /// Whether upper and lower case are the same. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_case: Option<bool>,
}
