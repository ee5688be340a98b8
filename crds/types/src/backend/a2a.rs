//! Agents that speak A2A, as both the `Backend` resource and the YAML file spell them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An agent that speaks A2A 0.3 or 1.0 over JSON-RPC or HTTP+JSON. The URLs of its card become those of the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct A2aBackend {
    /// A host and a port: `agent.example.com:9999`, `10.0.0.1:9999`, `[::1]:9999`.
    #[schemars(length(min = 1, max = 262))]
    pub host: String,

    /// Scheme and authority under which clients reach the gateway, such as `https://agents.example.com`, for the URLs of the
    /// agent's card. As each request says by default, which is wrong where something before the gateway ends TLS.
    #[serde(default, rename = "publicURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^https?://[^/?#@]+$"))]
    pub public_url: Option<String>,

    /// Whether the agent takes several messages of one `messageId` for one, so that a retry policy may send a message again
    /// that the agent perhaps has already. False by default: then only what never left the gateway is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent_messages: Option<bool>,
}
