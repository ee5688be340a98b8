//! Rate limits that each proxy counts by itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Limits the rate of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{ "rule": "has(self.local)", "message": "local must be set" }]))]
pub struct RateLimit {
    /// A limit that each proxy counts by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalRateLimit>,
}

/// A limit that each proxy counts by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRateLimit {
    /// The bucket from which each request takes one token.
    pub token_bucket: TokenBucket,
}

/// A bucket from which each request takes one token; a request that finds it empty is answered with 429.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "duration(self.fillInterval) > duration('0s')",
    "message": "fillInterval must be more than 0"
}]))]
pub struct TokenBucket {
    /// Most tokens in the bucket, and those in it at the start: the largest burst.
    #[schemars(range(min = 1, max = 2147483647))]
    pub max_tokens: u32,

    /// Tokens that each fill adds. 1 by default.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 2147483647))]
    pub tokens_per_fill: u32,

    /// Time between fills, such as `1s`.
    pub fill_interval: Duration,
}

fn one() -> u32 {
    1
}

fn is_one(value: &u32) -> bool {
    *value == 1
}
