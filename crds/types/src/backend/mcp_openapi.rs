//! An HTTP API as an MCP server, as the `Backend` resource spells it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::KeyReference;

/// An HTTP API that an OpenAPI document describes: its operations are tools.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpOpenApiTarget {
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

    /// The document: OpenAPI 3.0 or 3.1, as JSON.
    pub schema: McpOpenApiSchema,
}

/// Where an OpenAPI document is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpOpenApiSchema {
    /// A ConfigMap of the Backend's namespace; its key is `openapi.json` by default.
    pub config_map_ref: KeyReference,
}
