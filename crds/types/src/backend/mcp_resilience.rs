//! How long an MCP server may take, and when it is not asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// How long an MCP server may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.connectTimeout) || duration(self.connectTimeout) > duration('0s')", "message": "connectTimeout must be more than 0" },
    { "rule": "!has(self.requestTimeout) || duration(self.requestTimeout) > duration('0s')", "message": "requestTimeout must be more than 0" }
]))]
pub struct McpTimeouts {
    /// From the start of a connection or process to the end of the MCP handshake. `30s` by default, for a process `2m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Duration>,

    /// From a request to the first part of its answer. `5m` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Duration>,
}

/// After failures in a row, an MCP server is not asked for a while; then one request tries. A failure is no connection, no
/// answer in time, an answer that is not MCP, or an HTTP status from 500 on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.duration) || duration(self.duration) > duration('0s')", "message": "duration must be more than 0" }
]))]
pub struct McpCircuitBreaker {
    /// Failures in a row, from all clients together. 5 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub consecutive_failures: Option<u32>,

    /// How long it is not asked; the first request after that is a try, and so on. `30s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}
