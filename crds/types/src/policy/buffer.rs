//! Bodies of requests that are read whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Size;

/// Reads bodies of requests whole before the requests go on, and refuses larger ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Buffer {
    /// Largest body, such as `64Ki`, up to `1Gi`; one that is larger is answered with 413.
    pub max_request_size: Size,
}
