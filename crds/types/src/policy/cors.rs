//! Cross-origin resource sharing; the fields are those of Gateway API's CORS filter.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Answers browsers' cross-origin checks (the CORS protocol of the Fetch standard).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Origins that may read responses: `*`, `https://example.com`, or with one wildcard `https://*.example.com`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub allow_origins: Vec<String>,

    /// Whether browsers may send cookies and credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,

    /// Methods that browsers may use; `*` for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub allow_methods: Vec<String>,

    /// Request headers that browsers may send; `*` for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub allow_headers: Vec<String>,

    /// Response headers that scripts may read; `*` for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub expose_headers: Vec<String>,

    /// Seconds for which browsers may keep the answer of a preflight request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2147483647))]
    pub max_age: Option<u32>,
}
