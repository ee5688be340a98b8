//! Where requests carry credentials, and whether they must.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a credential must be present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AuthMode {
    /// A valid one must be present.
    #[default]
    Strict,
    /// It may be absent; one that is present must be valid.
    Optional,
    /// Requests are never refused; what a valid one says is used.
    Permissive,
}

/// Where a request carries a credential: exactly one of `header`, `queryParameter` and `cookie`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.header) ? 1 : 0) + (has(self.queryParameter) ? 1 : 0) + (has(self.cookie) ? 1 : 0) == 1",
    "message": "exactly one of header, queryParameter and cookie must be set"
}]))]
pub struct CredentialLocation {
    /// In a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderLocation>,

    /// In the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_parameter: Option<NamedLocation>,

    /// In a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<NamedLocation>,
}

/// A header, and what stands in it before the credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderLocation {
    /// Name; case does not matter.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,

    /// What stands before the credential, such as `Bearer `; case does not matter. Nothing by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub prefix: Option<String>,
}

/// A query parameter or a cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedLocation {
    /// Name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
}
