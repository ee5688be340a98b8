//! Endpoints that fail get no requests for a while, in the spelling of kgateway's BackendConfigPolicy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Ejects endpoints whose answers fail, as the proxy sees it: they get no requests for a while.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// Answers from 500 on, and failures without an answer, in a row. 5 by default; 0 for not counting them.
    #[serde(default, rename = "consecutive5xx", skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10000))]
    pub consecutive_5xx: Option<u32>,

    /// Answers 502, 503 and 504, and failures without an answer, in a row. Not counted by themselves by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10000))]
    pub consecutive_gateway_errors: Option<u32>,

    /// An endpoint that serves for so long is forgiven one earlier ejection. `10s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,

    /// How long the first ejection lasts; the second lasts twice as long, and so on. `30s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_ejection_time: Option<Duration>,

    /// How long an ejection lasts at most. `5m` by default, or `baseEjectionTime` where that is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ejection_time: Option<Duration>,

    /// Most endpoints, in percent, that are ejected at one time; one always may be, unless this is 0. 10 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub max_ejection_percent: Option<u32>,
}
