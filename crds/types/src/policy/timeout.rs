//! How long requests may take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// How long requests may take; `0s` means without a limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeout {
    /// From the head of the request to the end of the response, retries included. A response that has not begun by then is
    /// answered with 504, one that has is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Duration>,

    /// From the moment at which one try's request is sent to the head of its response; 504. Not more than `requestTimeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request_timeout: Option<Duration>,

    /// From one piece of a response's body to the next; then the response is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle_timeout: Option<Duration>,
}
