//! Authentication of callers by name and password (RFC 7617).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::credentials::AuthMode;

/// Asks callers for a name and a password. Where the passwords' hashes come from differs between the YAML file and
/// Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "BasicAuth")]
pub struct BasicAuth<S> {
    /// Whether a name and a password must be present. `strict` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,

    /// What the caller is told to log in to. `restricted` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub realm: Option<String>,

    /// Names and hashes of passwords, one `name:hash` a line, as htpasswd writes them: bcrypt (`$2y$`), SHA-256 and SHA-512 crypt
    /// (`$5$`, `$6$`), or `{SHA}`.
    pub htpasswd: S,
}
