//! Pools of self-hosted model servers, and how each request's is chosen, in the spelling of llm-d's EndpointPickerConfig.

mod picker;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::{AppProtocol, HostPort};

pub use picker::{
    BandLimits, EndpointPickerConfig, FairnessPolicy, FlowControl, PluginParameters, PluginRef, PluginSpec,
    PriorityBand, SchedulingProfile,
};

/// Self-hosted model servers that serve the same models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferenceHosts {
    /// The servers.
    #[schemars(length(min = 1, max = 1024))]
    pub hosts: Vec<HostPort>,

    /// Protocol that they speak; HTTP/1.1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<AppProtocol>,

    /// How each request's server is chosen; by queue, KV cache, cached prefix, adapters and requests in flight by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picker: Option<EndpointPickerConfig>,

    /// Where the servers show their state; `/metrics` of vLLM by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<InferenceMetrics>,

    /// What requests can ask for by the header `x-llm-d-inference-objective`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub objectives: Vec<NamedObjective>,

    /// Other names for the models that requests ask for. A rule for one model comes before one for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub model_rewrites: Vec<ModelRewriteRule>,

    /// Another service that chooses, by the endpoint-picker protocol of the Gateway API Inference Extension; the proxy itself by
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_picker: Option<ExternalPicker>,

    /// A header of responses that says which server was chosen and why. None by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub choice_header: Option<String>,
}

/// A service that chooses each request's server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalPicker {
    /// Host and port of the service, which speaks HTTP/2 without TLS.
    #[schemars(length(min = 1, max = 262))]
    pub host: String,

    /// What becomes of requests when it cannot be asked or says nothing that can be used; `FailClose` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<PickerFailureMode>,
}

/// What becomes of requests without a picker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PickerFailureMode {
    /// They are refused.
    #[default]
    FailClose,
    /// The proxy's own picker chooses.
    FailOpen,
}

/// Where model servers show their state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferenceMetrics {
    /// Whose metrics they are; vLLM's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<InferenceEngine>,

    /// Path; `/metrics` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path: Option<String>,

    /// Port; that of the server by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

/// Engines of model servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InferenceEngine {
    /// vLLM.
    #[default]
    #[serde(rename = "vllm")]
    Vllm,
    /// SGLang.
    #[serde(rename = "sglang")]
    Sglang,
    /// Triton with TensorRT-LLM.
    #[serde(rename = "triton-tensorrt-llm")]
    TritonTensorrtLlm,
    /// TensorRT-LLM's own server.
    #[serde(rename = "trtllm-serve")]
    TrtllmServe,
}

/// What requests can ask for by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedObjective {
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Higher ones come first; below 0 a request is refused when the pool is saturated. 0 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// Other names for a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelRewriteRule {
    /// The model that requests ask for; all models by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,

    /// The models that they get, shared out by weight.
    #[schemars(length(min = 1, max = 16))]
    pub targets: Vec<ModelRewriteTarget>,
}

/// A model that requests get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelRewriteTarget {
    /// Name of the model.
    #[schemars(length(min = 1, max = 256))]
    pub model_rewrite: String,

    /// Share of the requests. 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub weight: Option<u32>,
}
