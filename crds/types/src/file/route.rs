//! Routes of the YAML file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policies::{BackendPolicies, RoutePolicies};
use crate::backend::{AppProtocol, McpGroup, StaticBackend};
use crate::inference::InferenceHosts;

/// Which requests go where, and what is done to them on the way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Name, unique in the file; `route<n>` by default, counted from 0 over the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,

    /// Name of this rule, where several routes share a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub rule_name: Option<String>,

    /// Host names; those of the listener by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,

    /// Requests that this route takes, one match sufficing; all requests by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub matches: Vec<RouteMatch>,

    /// What is done to the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<RoutePolicies>,

    /// Where the requests go, shared out by weight. Without one, requests are answered with 500.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub backends: Vec<RouteBackend>,
}

/// Conditions of which all must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteMatch {
    /// The path; `pathPrefix: /` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,

    /// The method, in capitals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub method: Option<String>,

    /// Request headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<KeyedMatch>,

    /// Query parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub query: Vec<KeyedMatch>,
}

/// A condition on the path: exactly one of `exact`, `pathPrefix` and `regex`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathMatch {
    /// The whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub exact: Option<String>,

    /// The first elements of the path: `/a` takes `/a` and `/a/b`, not `/ab`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub path_prefix: Option<String>,

    /// A regular expression for the whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub regex: Option<String>,
}

/// A condition on a header or a query parameter: exactly one of `exact` and `regex`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyedMatch {
    /// Name of the header or parameter.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,

    /// The whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub exact: Option<String>,

    /// A regular expression for the whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub regex: Option<String>,
}

/// Where a share of the requests goes: exactly one of `host`, `static`, `mcp` and
/// `inference`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteBackend {
    /// Share of the requests, relative to the sum of all weights. 1 by default.
    #[serde(default = "one")]
    #[schemars(range(max = 1000000))]
    pub weight: u32,

    /// A host and a port: `example.com:8080`, `10.0.0.1:80`, `[::1]:80`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262))]
    pub host: Option<String>,

    /// Protocol that the host speaks; HTTP/1.1 by default. Only together with `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<AppProtocol>,

    /// Several hosts by their addresses.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub static_hosts: Option<StaticBackend>,

    /// MCP servers behind one endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpGroup>,

    /// Self-hosted model servers, each request to the one that serves it soonest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference: Option<InferenceHosts>,

    /// What is done to the requests that go here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<BackendPolicies>,
}

impl Default for RouteBackend {
    fn default() -> RouteBackend {
        RouteBackend {
            weight: 1,
            host: None,
            app_protocol: None,
            static_hosts: None,
            mcp: None,
            inference: None,
            policies: None,
        }
    }
}

pub(super) fn one() -> u32 {
    1
}
