//! Routes of connections and datagrams that are not HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls::BackendTls;

/// Where connections of a `TCP` or `TLS` listener go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpRoute {
    /// Name, unique in the file; `route<n>` by default, counted from 0 over the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,

    /// On `TLS` listeners the server names that it takes; those of the listener by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,

    /// Where the connections go, shared out by weight. Without one they are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub backends: Vec<TcpBackend>,
}

/// Where a share of the connections goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpBackend {
    /// Share of the connections, relative to the sum of all weights. 1 by default.
    #[serde(default = "super::route::one")]
    #[schemars(range(max = 1000000))]
    pub weight: u32,

    /// A host and a port: `example.com:8080`, `10.0.0.1:80`, `[::1]:80`.
    #[schemars(length(min = 1, max = 262))]
    pub host: String,

    /// What is done to the connections that go here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<ConnectionPolicies>,
}

/// Policies for the connections to a backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionPolicies {
    /// Encrypts the connections.
    #[serde(default, rename = "backendTLS", skip_serializing_if = "Option::is_none")]
    pub backend_tls: Option<BackendTls>,
}

/// Where the datagrams of a `UDP` listener go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UdpRoute {
    /// Name, unique in the file; `route<n>` by default, counted from 0 over the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,

    /// Where the datagrams go, shared out by weight, those of one client to one place. Without one they are dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub backends: Vec<UdpBackend>,
}

/// Where a share of the clients' datagrams goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UdpBackend {
    /// Share of the clients, relative to the sum of all weights. 1 by default.
    #[serde(default = "super::route::one")]
    #[schemars(range(max = 1000000))]
    pub weight: u32,

    /// A host and a port: `example.com:53`, `10.0.0.1:53`, `[::1]:53`.
    #[schemars(length(min = 1, max = 262))]
    pub host: String,
}
