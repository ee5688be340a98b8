//! Hosts by their addresses, as the `Backend` resource spells them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hosts by their addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StaticBackend {
    /// The hosts; requests are spread over them.
    #[schemars(length(min = 1, max = 64))]
    pub hosts: Vec<HostPort>,

    /// Protocol that the hosts speak; HTTP/1.1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<AppProtocol>,
}

/// A host by its address, as the YAML file spells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostBackend {
    /// A host and a port: `example.com:8080`, `10.0.0.1:80`, `[::1]:80`.
    #[schemars(length(min = 1, max = 262))]
    pub host: String,

    /// Protocol that the host speaks; HTTP/1.1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<AppProtocol>,
}

/// A host and a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostPort {
    /// Host name or IP address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,

    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// Hosts of a higher number get requests when too few of those of the lower ones are healthy. 0 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 15))]
    pub priority: Option<u32>,

    /// Region that the host is in, for load balancers that prefer near ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,

    /// Zone that the host is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,
}

/// Protocol that the hosts speak; HTTP/1.1 by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AppProtocol {
    /// HTTP/2 without TLS.
    #[serde(rename = "http2")]
    Http2,
    /// gRPC, over HTTP/2 without TLS.
    #[serde(rename = "grpc")]
    Grpc,
    /// gRPC-Web, over HTTP/1.1.
    #[serde(rename = "grpc-web")]
    GrpcWeb,
    /// HTTP/2 without TLS.
    #[serde(rename = "kubernetes.io/h2c")]
    H2c,
    /// WebSocket, over HTTP/1.1.
    #[serde(rename = "kubernetes.io/ws")]
    WebSocket,
    /// A2A, over HTTP/1.1: the hosts are replicas of one agent.
    #[serde(rename = "kgateway.dev/a2a")]
    A2a,
}
