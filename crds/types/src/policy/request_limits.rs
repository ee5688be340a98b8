//! Limits of requests themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits of requests themselves. Of several policies each holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.maxBodyBytes) || has(self.maxHeaderBytes) || has(self.maxHeaders)",
    "message": "at least one of maxBodyBytes, maxHeaderBytes and maxHeaders must be set"
}]))]
pub struct RequestLimits {
    /// Bytes of the body; a larger one is answered with 413, also when it is streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1099511627776_i64))]
    pub max_body_bytes: Option<u64>,

    /// Bytes of the names and values of all header lines; more are answered with 431. The gateway itself takes no more than 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub max_header_bytes: Option<u32>,

    /// Header lines; more are answered with 431. The gateway itself takes no more than 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 128))]
    pub max_headers: Option<u32>,
}
