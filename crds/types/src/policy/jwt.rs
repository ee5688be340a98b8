//! Authentication of callers by JSON Web Tokens (RFC 7519).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Validates the caller's JSON Web Token: either one issuer written in place, or several in `providers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.providers) ? !has(self.issuer) && !has(self.audiences) && !has(self.jwks) : has(self.issuer) && has(self.jwks)",
    "message": "either issuer and jwks must be set, or providers alone"
}]))]
pub struct JwtAuth {
    /// Whether a token must be present. `strict` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<JwtMode>,

    /// The `iss` claim that tokens must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: Option<String>,

    /// Values of which one must be in the token's `aud` claim; any audience when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    pub audiences: Vec<String>,

    /// Public keys that sign the issuer's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<KeySet>,

    /// Several issuers, each with its audiences and keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub providers: Vec<JwtProvider>,
}

/// Whether a token must be present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum JwtMode {
    /// A valid token must be present.
    #[default]
    Strict,
    /// A token may be absent; one that is present must be valid.
    Optional,
    /// Requests are never refused; the claims of a valid token are used.
    Permissive,
}

/// An issuer of tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtProvider {
    /// The `iss` claim that tokens must have.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,

    /// Values of which one must be in the token's `aud` claim; any audience when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    pub audiences: Vec<String>,

    /// Public keys that sign the issuer's tokens.
    pub jwks: KeySet,
}

/// Public keys: exactly one of `file` and `inline`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.file) != has(self.inline)",
    "message": "exactly one of file and inline must be set"
}]))]
pub struct KeySet {
    /// Path of a file with a JSON Web Key, a set of them, or a PEM public key; relative to the working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub file: Option<String>,

    /// The keys themselves: a JSON Web Key, a set of them, or a PEM public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub inline: Option<String>,
}
