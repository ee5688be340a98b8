//! Authentication of callers by API keys.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::credentials::{AuthMode, CredentialLocation};
use super::source::SecretReference;

/// Asks callers for one of these keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyAuth {
    /// Whether a key must be present. `strict` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,

    /// Where the key is looked for; the first place that has one counts. `Authorization: Bearer`, then `X-API-Key`, by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub locations: Vec<CredentialLocation>,

    /// The keys.
    #[schemars(length(min = 1, max = 4096))]
    pub keys: Vec<ApiKey>,
}

/// A key: exactly one of `key`, `keyHash` and `file`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// Whose key it is; rules see it as `apiKey.name`. `key<n>` by default, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,

    /// The key itself. `$NAME` stands for an environment variable, `$$` for a dollar sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub key: Option<String>,

    /// SHA-256 of the key: `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 71, max = 71))]
    pub key_hash: Option<String>,

    /// Path of a file with the key, without the line break at its end; relative to the working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub file: Option<String>,

    /// What rules may ask about the key, as `apiKey.metadata`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub metadata: BTreeMap<String, serde_json::Value>,
}

impl std::fmt::Debug for ApiKey {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Asks callers for one of the keys in Secrets. Each entry of a Secret is a key: its name is the entry's, its value the key
/// itself, `sha256:` with its hash in hexadecimal digits, or a JSON object with `key` or `keyHash` and `metadata`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretApiKeyAuth {
    /// Whether a key must be present. `strict` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,

    /// Where the key is looked for; the first place that has one counts. `Authorization: Bearer`, then `X-API-Key`, by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub locations: Vec<CredentialLocation>,

    /// The Secrets, of the policy's namespace.
    #[schemars(length(min = 1, max = 16))]
    pub secret_refs: Vec<SecretReference>,
}
