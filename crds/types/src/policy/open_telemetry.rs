//! Where telemetry is sent: a collector that speaks OTLP, OpenTelemetry's protocol.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A collector that speaks OTLP: one of `grpcService` and `httpService`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", bound(deserialize = "D: Deserialize<'de>"))]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.grpcService) != has(self.httpService)",
    "message": "exactly one of grpcService and httpService must be set"
}]))]
pub struct OpenTelemetry<D> {
    /// OTLP over gRPC, on port 4317 as a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_service: Option<D>,

    /// OTLP over HTTP as protobuf, at `/v1/traces` and `/v1/logs`, on port 4318 as a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_service: Option<D>,

    /// `service.name` of the gateway. `agentgateway` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_name: Option<String>,

    /// Further attributes of the resource, such as `deployment.environment.name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), inner(length(max = 1024)))]
    pub resource_attributes: BTreeMap<String, String>,
}
