//! How the gateway authenticates to a backend.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source::SecretReference;

/// How the gateway authenticates to the backend: exactly one of `passthrough`, `key` and `aws`. Where keys come from differs
/// between the YAML file and Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "BackendAuth", extend("x-kubernetes-validations" = [{
    "rule": "(has(self.passthrough) ? 1 : 0) + (has(self.key) ? 1 : 0) + (has(self.aws) ? 1 : 0) == 1",
    "message": "exactly one of passthrough, key and aws must be set"
}]))]
pub struct BackendAuth<K, A> {
    /// Sends the caller's own credentials on, which authentication has taken off the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<Passthrough>,

    /// Sends a key of the gateway's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<BackendKey<K>>,

    /// Signs requests as AWS asks for (Signature Version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<A>,
}

/// Sends the caller's own credentials on; it has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Passthrough {}

/// A key of the gateway's own. It takes the place of what the caller sent in this header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "BackendKey")]
pub struct BackendKey<K> {
    /// Where the key comes from; a line break at its end does not count.
    pub value: K,

    /// Header that carries it. `Authorization` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub header: Option<String>,

    /// What stands before the key. `Bearer ` by default in `Authorization`, else nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub prefix: Option<String>,
}

/// Signs requests as AWS asks for. `accessKeyId` and `secretAccessKey`, or `credentialsFile`; the variables
/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` by default. `$NAME` stands for an environment variable.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsAuth {
    /// Region; the variable `AWS_REGION` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,

    /// Name of the service in signatures, such as `bedrock`, `lambda` or `execute-api`.
    #[schemars(length(min = 1, max = 63))]
    pub service: String,

    /// Leaves bodies out of signatures, which services allow over TLS alone. Off by default: bodies are read whole, up to 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsigned_payload: Option<bool>,

    /// Id of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub access_key_id: Option<String>,

    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub secret_access_key: Option<String>,

    /// Token of temporary credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub session_token: Option<String>,

    /// Path of a file with credentials as the AWS tools write it; relative to the working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub credentials_file: Option<String>,

    /// Section of that file. `default` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub profile: Option<String>,
}

impl std::fmt::Debug for AwsAuth {
    /// Without the credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsAuth").field("region", &self.region).field("service", &self.service).finish_non_exhaustive()
    }
}

/// Signs requests as AWS asks for, with credentials in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretAwsAuth {
    /// Region.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9-]+$"))]
    pub region: String,

    /// Name of the service in signatures, such as `bedrock`, `lambda` or `execute-api`.
    #[schemars(length(min = 1, max = 63))]
    pub service: String,

    /// Leaves bodies out of signatures, which services allow over TLS alone. Off by default: bodies are read whole, up to 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsigned_payload: Option<bool>,

    /// The Secret, of the policy's namespace, with keys `accessKey`, `secretKey` and, for temporary credentials, `sessionToken`.
    pub secret_ref: SecretReference,
}
