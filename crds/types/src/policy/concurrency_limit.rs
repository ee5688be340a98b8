//! How many requests are served at a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds how many requests each proxy serves at a time. A request counts until the last byte of its response is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConcurrencyLimit {
    /// Most requests at a time; those beyond are answered at once.
    #[schemars(range(min = 1, max = 1000000))]
    pub max_requests: u32,

    /// CEL expressions; requests for which all have the same values are counted together. Those for which one has no value are,
    /// too. All together by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 4096)))]
    pub key: Vec<String>,

    /// Status of the answer to requests beyond: 429 or 503. 503 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [429, 503]))]
    pub status_code: Option<u16>,

    /// After how many seconds they may come again, in `retry-after`. 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub retry_after_seconds: Option<u32>,
}
