//! Which requests are sent again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Sends requests again when no connection came about, it broke before a response, one try took too long, or the response has
/// one of `codes`. A request whose body is larger than 64 KiB is sent once, as soon as a byte of it has left the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Tries after the first. 1 by default; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10))]
    pub attempts: Option<u32>,

    /// Least pause before the first retry, doubled for each further one; up to as much again is added at random. `25ms` by
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,

    /// Status codes of responses that are tried again: 400 to 599.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(range(min = 400, max = 599)))]
    pub codes: Vec<u16>,
}
