//! `Backend`: where requests go, beyond Services.

use agentgateway_types::backend::ai::AiBackend;
use agentgateway_types::backend::{
    A2aBackend, McpCircuitBreaker, McpFailureMode, McpOpenApiTarget, McpPrefixMode, McpStaticTarget, McpTimeouts,
    StaticBackend,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A backend beyond Services: MCP servers, an agent that speaks A2A, LLM providers, or hosts by their addresses. HTTPRoutes name
/// it in backendRefs with group gateway.kgateway.dev and kind Backend.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "Backend",
    plural = "backends",
    shortname = "be",
    category = "kgateway",
    namespaced,
    status = "BackendStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Type", "type": "string", "jsonPath": ".spec.type", "description": "Which backend"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Accepted')].status", "description": "Whether the backend is in use"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "self.type == 'AI' ? has(self.ai) : !has(self.ai)", "message": "ai must be set when type is AI, and only then" },
    { "rule": "self.type == 'MCP' ? has(self.mcp) : !has(self.mcp)", "message": "mcp must be set when type is MCP, and only then" },
    { "rule": "self.type == 'A2A' ? has(self.a2a) : !has(self.a2a)", "message": "a2a must be set when type is A2A, and only then" },
    { "rule": "self.type == 'Static' ? has(self.static) : !has(self.static)", "message": "static must be set when type is Static, and only then" }
]))]
pub struct BackendSpec {
    /// Which of the members below describes the backend.
    #[serde(rename = "type")]
    pub backend_type: BackendType,

    /// LLM providers behind one API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ai: Option<AiBackend>,

    /// MCP servers behind one endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpBackend>,

    /// An agent that speaks A2A.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a2a: Option<A2aBackend>,

    /// Hosts by their addresses.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub static_hosts: Option<StaticBackend>,
}

/// Kinds of backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackendType {
    /// MCP servers behind one endpoint.
    #[default]
    #[serde(rename = "MCP")]
    Mcp,
    /// An agent that speaks A2A.
    #[serde(rename = "A2A")]
    A2a,
    /// LLM providers behind one API.
    #[serde(rename = "AI")]
    Ai,
    /// Hosts by their addresses.
    Static,
}

/// MCP servers behind one endpoint. The tools of several carry their target's name as a prefix: `target_tool`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpBackend {
    /// The servers.
    #[schemars(
        length(min = 1, max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub targets: Vec<McpTarget>,

    /// Whether names of tools and prompts carry their target's name; `Conditional` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_mode: Option<McpPrefixMode>,

    /// What becomes of a handshake or a list when a target fails; `FailOpen` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<McpFailureMode>,
}

/// One MCP server by its address, or all that a selector finds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.static) ? 1 : 0) + (has(self.selector) ? 1 : 0) + (has(self.openapi) ? 1 : 0) == 1",
    "message": "exactly one of static, selector and openapi must be set"
}]))]
pub struct McpTarget {
    /// Name of the target, unique in the backend.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,

    /// A server by its address.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub static_target: Option<McpStaticTarget>,

    /// Servers by the labels of their Services. Each port with appProtocol kgateway.dev/mcp (streamable HTTP) or
    /// kgateway.dev/mcp-sse (SSE) of each Service found is a target, named by the Service and the port; the Service's
    /// annotation kgateway.dev/mcp-path sets its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<McpSelector>,

    /// An HTTP API, whose operations are tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openapi: Option<McpOpenApiTarget>,

    /// How long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<McpTimeouts>,

    /// When it is not asked; by default it always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<McpCircuitBreaker>,
}

/// Which Services are MCP servers of the backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.__namespace__) || has(self.service)",
    "message": "at least one of namespace and service must be set"
}]))]
pub struct McpSelector {
    /// Labels of the Services' namespaces; the Backend's own namespace alone when it is not set. An empty selector
    /// matches every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<LabelSelector>,

    /// Labels of the Services; every Service when it is not set or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<LabelSelector>,
}

/// State of a backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendStatus {
    /// Accepted: whether the backend is in use, and why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}
