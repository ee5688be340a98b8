//! Plugins and profiles, with the names of llm-d's EndpointPickerConfig.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// max-score-picker, weighted-random-picker or random-picker.
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
