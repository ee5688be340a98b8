//! Answers of the gateway's own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::headers::Header;

/// Answers requests in the backend's stead.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DirectResponse {
    /// Status code.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,

    /// Body; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub body: Option<String>,

    /// Headers. `Content-Type` is `text/plain; charset=utf-8` where none is given and there is a body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<Header>,
}
