//! What a backend may have at one time, and how many retries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Bounds of a backend, all its endpoints together, in each proxy. What is over a bound is answered with 503.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreakers {
    /// Connections. Requests above wait for one. Without a bound by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_connections: Option<u32>,

    /// Requests that wait for a connection. 1024 by default where `maxConnections` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pending_requests: Option<u32>,

    /// Requests whose answer is not complete. Without a bound by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,

    /// Retries at one time. Without a bound by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
}

/// Bounds the retries of a backend by its requests, in the spelling of Gateway API (GEP-3388).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryConstraint {
    /// Retries as a share of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<RetryBudget>,

    /// Retries that are allowed in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_retry_rate: Option<RetryRate>,
}

/// Retries as a share of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudget {
    /// Retries in percent of the requests of the interval. 20 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub percent: Option<u32>,

    /// How far back requests count. `10s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

/// Retries that are allowed in any case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryRate {
    /// Retries in each interval. 10 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000000))]
    pub count: Option<u32>,

    /// `1s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}
