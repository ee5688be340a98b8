//! External authorization: another service decides whether a request may pass.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Asks another service whether a request may pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtAuthz {
    /// Host and port of the service.
    #[schemars(length(min = 1, max = 262))]
    pub host: String,

    /// What the service speaks; Envoy's gRPC protocol by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ExtAuthzProtocol>,

    /// Sends the body of requests along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_body: Option<ForwardBody>,

    /// How long the answer may take. `10s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,

    /// Lets requests pass when the service cannot be asked. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<bool>,

    /// Status of the answer when the service cannot be asked. 403 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 400, max = 599))]
    pub status_on_error: Option<u16>,

    /// Remembers decisions. Not together with `forwardBody`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<DecisionCache>,
}

/// Remembers decisions of external authorization, on each worker thread of each proxy by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionCache {
    /// CEL expressions; requests for which all have the same values get the same decision. They must name everything that the
    /// service looks at. A request for which one of them has no value is asked about.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 4096)))]
    pub key: Vec<String>,

    /// How long a decision is kept; at most `1h`.
    pub ttl: Duration,

    /// Decisions that are kept at most. 10000 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub max_entries: Option<u32>,
}

/// What the service speaks: one of `grpc` and `http`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtAuthzProtocol {
    /// Envoy's `envoy.service.auth.v3.Authorization`, over HTTP/2 without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcExtAuthz>,

    /// The head of the request itself, with the same method, sent to the service; 200 lets it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpExtAuthz>,
}

/// Settings of the gRPC protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcExtAuthz {
    /// Headers that are sent; all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub allowed_headers: Vec<String>,

    /// Values that are sent with each request (`context_extensions`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub context: BTreeMap<String, String>,
}

/// Settings of the HTTP protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpExtAuthz {
    /// What stands before the path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub path: Option<String>,

    /// Headers that are sent besides `Host`, `Authorization` and `Content-Length`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub allowed_headers: Vec<String>,

    /// Headers of the service's answer that the request to the backend gets; all by default, but those of the connection and
    /// the answer's body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub allowed_response_headers: Vec<String>,
}

/// Sends the body of requests along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwardBody {
    /// Most bytes that are sent.
    #[schemars(range(min = 1, max = 1048576))]
    pub max_size: u32,

    /// Sends the beginning of larger bodies, instead of answering them with 413.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_partial: Option<bool>,
}
