//! Limits of a port.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// What each proxy takes on a port before it refuses, whatever a client asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.maxLag) || duration(self.maxLag) >= duration('5ms')", "message": "maxLag must not be less than 5ms" }
]))]
pub struct BindLimits {
    /// Connections at a time; one more is closed as soon as it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000000))]
    pub max_connections: Option<u32>,

    /// Connections at a time of one client address; one more is closed as soon as it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000000))]
    pub max_connections_per_client: Option<u32>,

    /// Requests that are served at a time; one more is answered with 503 before anything else is done for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000000))]
    pub max_requests: Option<u32>,

    /// Requests are answered with 503 on a worker thread that comes to its tasks later than this, until it does again; at least
    /// `5ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lag: Option<Duration>,
}
