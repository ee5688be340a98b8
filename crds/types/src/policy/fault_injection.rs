//! Faults that the gateway makes itself, to see how clients bear them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Delays or answers a share of the requests, to see how clients bear it: at least one of `delay` and `abort`. A request may
/// get both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.delay) || has(self.abort)",
    "message": "at least one of delay and abort must be set"
}]))]
pub struct FaultInjection {
    /// Holds requests back before they go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<FaultDelay>,

    /// Answers requests with an error in the backend's stead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<FaultAbort>,
}

/// Holds requests back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultDelay {
    /// How long. At most `1h`.
    pub fixed_delay: Duration,

    /// Share of the requests, in percent. 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub percentage: Option<u32>,
}

/// Answers requests with an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultAbort {
    /// Status code: 400 to 599. Calls of gRPC get the status that belongs to it.
    #[schemars(range(min = 400, max = 599))]
    pub http_status: u16,

    /// Share of the requests, in percent. 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub percentage: Option<u32>,
}
