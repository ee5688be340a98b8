//! `DirectResponse`: an answer in the place of a backend's.

use agentgateway_types::policy::Header;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An answer in the place of a backend's. Rules of HTTPRoutes and GRPCRoutes name it in a filter of type ExtensionRef.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "DirectResponse",
    plural = "directresponses",
    category = "kgateway",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Status", "type": "integer", "jsonPath": ".spec.status", "description": "Status code of the answer"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DirectResponseSpec {
    /// Status code.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,

    /// Body; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub body: Option<String>,

    /// Headers. `Content-Type` is `text/plain; charset=utf-8` where none is given and there is a body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<Header>,
}
