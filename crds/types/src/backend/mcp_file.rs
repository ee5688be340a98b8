//! MCP backends as the YAML file spells them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{McpCircuitBreaker, McpFailureMode, McpPrefixMode, McpTimeouts};
use crate::file::ConnectionPolicies;
use crate::policy::TextSource;

/// MCP servers behind one endpoint. The tools of several carry their target's name as a prefix: `target_tool`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpGroup {
    /// The servers.
    #[schemars(length(min = 1, max = 32))]
    pub targets: Vec<McpTarget>,

    /// Whether names of tools and prompts carry their target's name; `Conditional` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_mode: Option<McpPrefixMode>,

    /// What becomes of a handshake or a list when a target fails; `FailOpen` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<McpFailureMode>,
}

/// One MCP server: exactly one of `stdio`, `mcp`, `sse` and `openapi`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.stdio) ? 1 : 0) + (has(self.mcp) ? 1 : 0) + (has(self.sse) ? 1 : 0) + (has(self.openapi) ? 1 : 0) == 1",
    "message": "exactly one of stdio, mcp, sse and openapi must be set"
}]))]
pub struct McpTarget {
    /// Name of the server, unique among the targets; lower-case letters, digits and `-`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,

    /// A server that the proxy starts and speaks to over its standard input and output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdio: Option<Stdio>,

    /// A server reached over streamable HTTP; `path` is `/mcp` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpAddress>,

    /// A server reached over the older HTTP+SSE transport; `path` is `/sse` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sse: Option<McpAddress>,

    /// An HTTP API, whose operations are tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openapi: Option<McpOpenApi>,

    /// What is done to the connections to the server; in the place of those of the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<ConnectionPolicies>,

    /// How long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<McpTimeouts>,

    /// When it is not asked; by default it always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<McpCircuitBreaker>,
}

/// An HTTP API that an OpenAPI document describes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpOpenApi {
    /// Host name or IP address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,

    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// Path before those of the document; by default that of the first server that the document names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path: Option<String>,

    /// The document: OpenAPI 3.0 or 3.1, as JSON, of at most 1 MiB.
    pub schema: TextSource,
}

/// A command that the proxy starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stdio {
    /// The program, by path or by its name in `PATH`.
    #[schemars(length(min = 1, max = 4096))]
    pub cmd: String,

    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 4096)))]
    pub args: Vec<String>,

    /// Environment variables added to those of the proxy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 128))]
    pub env: BTreeMap<String, String>,
}

/// Where an MCP server listens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpAddress {
    /// Host name or IP address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,

    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// Path of the MCP endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path: Option<String>,
}
