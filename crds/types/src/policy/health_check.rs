//! Active health checks, and connections, in the spelling of kgateway's BackendConfigPolicy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Asks endpoints whether they serve: exactly one of `http`, `grpc` and `tcp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.http), has(self.grpc), has(self.tcp)].filter(x, x).size() == 1",
    "message": "exactly one of http, grpc and tcp must be set"
}]))]
pub struct HealthCheck {
    /// From one check to the next, and up to a tenth more at random. At least `100ms`.
    pub interval: Duration,

    /// How long a check may take.
    pub timeout: Duration,

    /// Failures in a row after which an endpoint gets no requests.
    #[schemars(range(min = 1, max = 1000))]
    pub unhealthy_threshold: u32,

    /// Successes in a row after which it gets requests again.
    #[schemars(range(min = 1, max = 1000))]
    pub healthy_threshold: u32,

    /// A request; an answer from 200 to 299 is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHealthCheck>,

    /// grpc.health.v1.Health; SERVING is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcHealthCheck>,

    /// A connection; that it comes about is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpHealthCheck>,
}

/// A request of a health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHealthCheck {
    /// Host that is sent; the endpoint's address by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262))]
    pub host: Option<String>,

    /// Path, with its query where it has one.
    #[schemars(length(min = 1, max = 2048))]
    pub path: String,

    /// Method; GET by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub method: Option<String>,
}

/// A call of grpc.health.v1.Health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcHealthCheck {
    /// Service that is asked about; the server as a whole by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub service_name: Option<String>,

    /// Host that is sent; the endpoint's address by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262))]
    pub authority: Option<String>,
}

/// A connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TcpHealthCheck {}

/// How connections to a backend are made and kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendConnection {
    /// How long a connection may take to come about, and its TLS handshake by itself. `5s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Duration>,

    /// How long a connection is kept without a request. `50s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,

    /// What is particular to HTTP/1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http1_protocol_options: Option<Http1ProtocolOptions>,
}

/// What is particular to HTTP/1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Http1ProtocolOptions {
    /// How names of headers are written, for servers that do not read them in any case. In lower case by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_format: Option<HeaderFormat>,
}

/// How names of headers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HeaderFormat {
    /// `Content-Type`.
    #[default]
    ProperCaseHeaderKeyFormat,
}
