//! Plugins and profiles, with the names of llm-d's EndpointPickerConfig.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, Size};

/// How each request's server is chosen: scorers give each server from 0 to 1, times their weight, and a picker takes the best or
/// draws by the sums.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPickerConfig {
    /// Scorers and pickers.
    #[schemars(length(min = 1, max = 32))]
    pub plugins: Vec<PluginSpec>,

    /// Which of them are used and how much they count: one profile. All, with the weight 1, by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1))]
    pub scheduling_profiles: Vec<SchedulingProfile>,

    /// Lets requests wait in the proxy while the pool is saturated. By default none waits, and those of a priority below 0
    /// are refused then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_control: Option<FlowControl>,
}

/// Who waits while the pool is saturated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlowControl {
    /// Requests that wait, of all priorities together. No bound beyond those of the bands by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_requests: Option<u64>,

    /// Bytes of their bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Size>,

    /// How long a request waits. `60s` by default.
    #[serde(default, rename = "defaultRequestTTL", skip_serializing_if = "Option::is_none")]
    pub default_request_ttl: Option<Duration>,

    /// Bounds by priority.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub priority_bands: Vec<PriorityBand>,

    /// Of priorities from 0 up that have no band of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_priority_band: Option<BandLimits>,

    /// Of priorities below 0 that have no band of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_negative_priority_band: Option<BandLimits>,
}

/// Bounds of the waiting requests of one priority.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriorityBand {
    /// The priority.
    pub priority: i32,

    /// Requests that wait. 5000 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_requests: Option<u64>,

    /// Bytes of their bodies. `1G` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Size>,

    /// Between tenants, which the header `x-llm-d-inference-fairness-id` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fairness_policy_ref: Option<FairnessPolicy>,
}

/// Bounds of the waiting requests of a priority without a band of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BandLimits {
    /// Requests that wait. 5000 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_requests: Option<u64>,

    /// Bytes of their bodies. `1G` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Size>,

    /// Between tenants, which the header `x-llm-d-inference-fairness-id` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fairness_policy_ref: Option<FairnessPolicy>,
}

/// Who of several tenants comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FairnessPolicy {
    /// The request that came first.
    #[default]
    #[serde(rename = "global-strict-fairness-policy")]
    GlobalStrict,
    /// One of each in turn.
    #[serde(rename = "round-robin-fairness-policy")]
    RoundRobin,
}

/// A scorer or picker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginSpec {
    /// Name by which profiles refer to it; its type by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,

    /// What it is: queue-scorer, kv-cache-utilization-scorer, running-requests-size-scorer, prefix-cache-scorer,
    /// lora-affinity-scorer, load-aware-scorer, token-load-scorer, active-request-scorer, session-affinity-scorer,
    /// max-score-picker, weighted-random-picker, random-picker or utilization-detector.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 253))]
    pub plugin_type: String,

    /// Its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<PluginParameters>,
}

/// Settings of plugins; each belongs to one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginParameters {
    /// Of prefix-cache-scorer: tokens of a block. 64 by default, and not less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 64, max = 4096))]
    pub block_size_tokens: Option<u32>,

    /// Of prefix-cache-scorer: tokens of a prompt that are looked at. 131072 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 64, max = 262144))]
    pub max_prefix_tokens_to_match: Option<u32>,

    /// Of prefix-cache-scorer: blocks that are remembered for each server. 31250 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub lru_capacity_per_server: Option<u32>,

    /// Of load-aware-scorer: waiting requests from which on a server gets 0. 128 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub threshold: Option<u64>,

    /// Of token-load-scorer: tokens in flight from which on a server gets 0. 4194304 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub queue_threshold_tokens: Option<u64>,

    /// Of utilization-detector: waiting requests at which a server is saturated. 5 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub queue_depth_threshold: Option<u32>,

    /// Of utilization-detector: use of the KV cache at which a server is saturated. 0.8 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 1.0))]
    pub kv_cache_util_threshold: Option<f64>,

    /// Of pickers: servers that are chosen, the first for the request, the others for when it fails there. 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub max_num_of_endpoints: Option<u32>,
}

/// Which plugins are used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchedulingProfile {
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The plugins.
    #[schemars(length(min = 1, max = 32))]
    pub plugins: Vec<PluginRef>,
}

/// A plugin and what it counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub plugin_ref: String,

    /// What a scorer's numbers are multiplied with. 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub weight: Option<f64>,
}
