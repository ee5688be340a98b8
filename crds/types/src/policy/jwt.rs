//! Authentication of callers by JSON Web Tokens (RFC 7519).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::credentials::{AuthMode, CredentialLocation};
use super::source::KeyReference;
use crate::Duration;

/// Validates the caller's JSON Web Token: either one issuer written in place, or several in `providers`. Where keys come from
/// differs between the YAML file and Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "JwtAuth", extend("x-kubernetes-validations" = [{
    "rule": "has(self.providers) ? !has(self.issuer) && !has(self.audiences) && !has(self.requiredClaims) && !has(self.jwks) : has(self.issuer) && has(self.jwks)",
    "message": "either issuer and jwks must be set, or providers alone"
}]))]
pub struct JwtAuth<K> {
    /// Whether a token must be present. `strict` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,

    /// Where the token is looked for; the first place that has one counts. `Authorization: Bearer` by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub locations: Vec<CredentialLocation>,

    /// By how much the issuers' clocks may differ from the gateway's. `30s` by default; at most `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<Duration>,

    /// The `iss` claim that tokens must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: Option<String>,

    /// Values of which one must be in the token's `aud` claim; any audience when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    pub audiences: Vec<String>,

    /// Further claims that the token must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub required_claims: Vec<RequiredClaim>,

    /// Public keys that sign the issuer's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<K>,

    /// Several issuers, each with its audiences and keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub providers: Vec<JwtProvider<K>>,
}

/// An issuer of tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "JwtProvider")]
pub struct JwtProvider<K> {
    /// The `iss` claim that tokens must have.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,

    /// Values of which one must be in the token's `aud` claim; any audience when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    pub audiences: Vec<String>,

    /// Further claims that the token must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub required_claims: Vec<RequiredClaim>,

    /// Public keys that sign the issuer's tokens.
    pub jwks: K,
}

/// A claim that a token must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequiredClaim {
    /// Name; a member of an object is named by its path, `realm_access.roles`.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,

    /// Values of which the claim must be one, or hold one where it is a list or a text of words such as `scope`; any value when
    /// empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    pub values: Vec<String>,
}

/// Public keys: exactly one of `file`, `inline` and `url`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeySet {
    /// Path of a file with a JSON Web Key, a set of them, or a PEM public key; relative to the working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub file: Option<String>,

    /// The keys themselves: a JSON Web Key, a set of them, or a PEM public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub inline: Option<String>,

    /// Where the issuer publishes its set of keys: `https://` or `http://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub url: Option<String>,

    /// How often the set is fetched again. `5m` by default; `10s` to `24h`. Only together with `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<Duration>,

    /// Path of a file with the authorities that the server's certificate may be of, as PEM; those of the machine by default.
    /// Only together with `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ca_file: Option<String>,
}

/// Public keys: exactly one of `inline`, `url`, `secretRef` and `configMapRef`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "(has(self.inline) ? 1 : 0) + (has(self.url) ? 1 : 0) + (has(self.secretRef) ? 1 : 0) + (has(self.configMapRef) ? 1 : 0) == 1",
        "message": "exactly one of inline, url, secretRef and configMapRef must be set"
    },
    {
        "rule": "has(self.url) || (!has(self.refreshInterval) && !has(self.caConfigMapRef))",
        "message": "refreshInterval and caConfigMapRef are for url only"
    }
]))]
pub struct ReferencedKeySet {
    /// The keys themselves: a JSON Web Key, a set of them, or a PEM public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub inline: Option<String>,

    /// Where the issuer publishes its set of keys: `https://` or `http://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub url: Option<String>,

    /// How often the set is fetched again. `5m` by default; `10s` to `24h`. Only together with `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<Duration>,

    /// A ConfigMap of the policy's namespace with the authorities that the server's certificate may be of, as PEM under
    /// `ca.crt`; those of the proxy's system by default. Only together with `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<KeyReference>,

    /// A Secret of the policy's namespace with the keys, under `jwks` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyReference>,

    /// A ConfigMap of the policy's namespace with the keys, under `jwks` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyReference>,
}
