//! Changes to the headers of a request or a response.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Changes headers: first `set`, then `add`, then `remove`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderModifier {
    /// Headers that replace those of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub set: Vec<Header>,

    /// Headers that are added to those of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub add: Vec<Header>,

    /// Names of headers that are removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub remove: Vec<String>,
}

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Name; case does not matter.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,

    /// Value.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}
