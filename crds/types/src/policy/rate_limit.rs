//! Rate limits: buckets that each proxy fills by itself, and limits that all proxies share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Limits the rate of requests. Where the service of a global limit is differs between the YAML file and Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RateLimit", extend("x-kubernetes-validations" = [{
    "rule": "has(self.local) || has(self.global)",
    "message": "at least one of local and global must be set"
}]))]
pub struct RateLimit<G> {
    /// A limit that each proxy counts by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalRateLimit>,

    /// A limit that all proxies share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<G>,
}

/// A limit that each proxy counts by itself: one of tokenBucket and buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.tokenBucket) != has(self.buckets)",
    "message": "exactly one of tokenBucket and buckets must be set"
}]))]
pub struct LocalRateLimit {
    /// The bucket from which each request takes what it costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_bucket: Option<TokenBucket>,

    /// Several buckets; a request takes what it costs from all of them, or is refused and takes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub buckets: Option<Vec<TokenBucket>>,

    /// Whether every response says how much is left, in `x-ratelimit-limit`, `x-ratelimit-remaining` and `x-ratelimit-reset`. A
    /// refusal does always. `Off` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_rate_limit_headers: Option<RateLimitHeaders>,
}

/// Whether responses say how much is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RateLimitHeaders {
    /// They do not.
    #[default]
    Off,
    /// As draft-ietf-httpapi-ratelimit-headers-03 writes it, with `x-` before the names.
    DraftVersion03,
}

/// A bucket from which each request takes what it costs; a request that finds too little in it is answered with 429.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "duration(self.fillInterval) > duration('0s')", "message": "fillInterval must be more than 0" },
    { "rule": "!has(self.maxKeys) || has(self.key)", "message": "maxKeys needs a key" },
    { "rule": "!has(self.cost) || !has(self.unit) || self.unit == 'Requests'", "message": "cost is for requests" }
]))]
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

    /// CEL expressions; requests for which all have the same values share a bucket, such as `jwt.sub`. Those for which one has no
    /// value share one, too. One bucket for all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 4096)))]
    pub key: Vec<String>,

    /// Keys of which each proxy keeps a bucket at a time. Beyond, the fullest buckets make place. 10000 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub max_keys: Option<u32>,

    /// What is counted. `Requests` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<RateLimitUnit>,

    /// CEL expression for what a request costs, a whole number. A request for which it has no value is refused. 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cost: Option<String>,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RateLimitUnit {
    /// Requests.
    #[default]
    Requests,
    /// Tokens of language models, of requests to backends that serve one. Requests to other backends cost nothing.
    Tokens,
}

fn one() -> u32 {
    1
}

fn is_one(value: &u32) -> bool {
    *value == 1
}
