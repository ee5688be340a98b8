//! An MCP server by its address, as the `Backend` resource spells it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An MCP server by its address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpStaticTarget {
    /// Host name or IP address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,

    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// Path of the MCP endpoint; by default `/mcp` for `StreamableHTTP` and `/sse` for `SSE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path: Option<String>,

    /// MCP transport; `StreamableHTTP` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<McpProtocol>,
}

/// MCP transport; `StreamableHTTP` by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum McpProtocol {
    /// Streamable HTTP.
    #[default]
    #[serde(rename = "StreamableHTTP")]
    StreamableHttp,
    /// The older transport with a stream of server-sent events.
    #[serde(rename = "SSE")]
    Sse,
}
