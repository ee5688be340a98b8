//! How the gateway authenticates to a backend.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the gateway authenticates to the backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.passthrough)",
    "message": "passthrough must be set"
}]))]
pub struct BackendAuth {
    /// Sends the caller's own credentials on, which authentication has taken off the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<Passthrough>,
}

/// Sends the caller's own credentials on; it has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Passthrough {}
