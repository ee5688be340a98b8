//! Which endpoint a request gets, in the spelling of kgateway's BackendConfigPolicy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Which endpoint a request gets: at most one of `leastRequest`, `roundRobin`, `random`, `ringHash` and `maglev`; without
/// one, the one with fewer requests of two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.leastRequest), has(self.roundRobin), has(self.random), has(self.ringHash), has(self.maglev)].filter(x, x).size() <= 1",
    "message": "at most one of leastRequest, roundRobin, random, ringHash and maglev may be set"
}]))]
pub struct LoadBalancer {
    /// Of some endpoints drawn at random the one with the fewest requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_request: Option<LeastRequest>,

    /// One endpoint after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_robin: Option<RoundRobin>,

    /// Any endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<RandomChoice>,

    /// Equal requests to one endpoint, by a hash ring: when an endpoint goes, its requests alone get another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_hash: Option<RingHash>,

    /// Equal requests to one endpoint, by Maglev's table: more even than a ring, and a few more move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maglev: Option<Maglev>,

    /// When fewer endpoints, in percent, are healthy than this, and none of another priority can take over, all get
    /// requests. 50 by default; 0 for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub healthy_panic_threshold: Option<u32>,

    /// Endpoints near the proxy before others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<TrafficDistribution>,
}

/// Of some endpoints the one with the fewest requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeastRequest {
    /// Endpoints that are drawn. 2 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 32))]
    pub choice_count: Option<u32>,

    /// Gives new endpoints their share little by little.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
}

/// One endpoint after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoundRobin {
    /// Gives new endpoints their share little by little.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
}

/// Any endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RandomChoice {}

/// Gives endpoints that are new, or back, their share little by little.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlowStart {
    /// After this long an endpoint has its whole share.
    pub window: Duration,

    /// The share is the part of the window that is over, to the power of 1 by this: more than 1 begins faster. 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.1, max = 100.0))]
    pub aggression: Option<f64>,

    /// Least share, in percent. 10 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub min_weight_percent: Option<u32>,
}

/// A hash ring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingHash {
    /// Points of the ring at least. 1024 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub minimum_ring_size: Option<u32>,

    /// Points of the ring at most. 65536 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub maximum_ring_size: Option<u32>,

    /// What makes requests equal. Those that have nothing of it get any endpoint.
    #[schemars(length(min = 1, max = 16))]
    pub hash_policies: Vec<HashPolicy>,
}

/// Maglev's table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Maglev {
    /// What makes requests equal. Those that have nothing of it get any endpoint.
    #[schemars(length(min = 1, max = 16))]
    pub hash_policies: Vec<HashPolicy>,
}

/// A property of requests: exactly one of `header`, `cookie`, `sourceIP` and `expression`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.header), has(self.cookie), has(self.sourceIP), has(self.expression)].filter(x, x).size() == 1",
    "message": "exactly one of header, cookie, sourceIP and expression must be set"
}]))]
pub struct HashPolicy {
    /// A header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HashedName>,

    /// A cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<HashedName>,

    /// The client's address.
    #[serde(default, rename = "sourceIP", skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<SourceIp>,

    /// A CEL expression, such as `jwt.sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expression: Option<String>,

    /// What comes after this counts only where a request has nothing of it. False by default: all count together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<bool>,
}

/// A header or a cookie by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HashedName {
    /// Name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
}

/// The client's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceIp {}

/// Which endpoints come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrafficDistribution {
    /// Those in the proxy's zone, then those in its region; others as far as these are too few.
    PreferClose,
}
