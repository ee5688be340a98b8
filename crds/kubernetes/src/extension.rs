//! `GatewayExtension`: a service that policies ask about requests.

use agentgateway_types::policy::{
    DecisionCache, MetadataOptions, MutationRules, ProcessingMode, RateLimitHeaders, SecretSource,
};
use agentgateway_types::{Duration, Size};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stream_route::BackendReference;

/// A service that policies ask about requests. TrafficPolicies name it in extAuth.extensionRef,
/// extProc.extensionRef and rateLimit.global.extensionRef.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "GatewayExtension",
    plural = "gatewayextensions",
    category = "kgateway",
    namespaced,
    status = "ExtensionStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Type", "type": "string", "jsonPath": ".spec.type", "description": "Which extension"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Accepted')].status", "description": "Whether policies can use it"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "self.type == 'ExtAuth' ? has(self.extAuth) : !has(self.extAuth)", "message": "extAuth must be set when type is ExtAuth, and only then" },
    { "rule": "self.type == 'ExtProc' ? has(self.extProc) : !has(self.extProc)", "message": "extProc must be set when type is ExtProc, and only then" },
    { "rule": "self.type == 'RateLimit' ? has(self.rateLimit) : !has(self.rateLimit)", "message": "rateLimit must be set when type is RateLimit, and only then" }
]))]
pub struct GatewayExtensionSpec {
    /// What the service does.
    #[serde(rename = "type")]
    pub extension_type: ExtensionType,

    /// External authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_auth: Option<ExtAuthProvider>,

    /// External processing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_proc: Option<ExtProcProvider>,

    /// Limits that all proxies share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitProvider>,
}

/// What the service does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExtensionType {
    /// Decides whether requests may pass.
    #[default]
    ExtAuth,
    /// Changes requests and responses.
    ExtProc,
    /// Counts requests for all proxies.
    RateLimit,
}

/// A service that decides whether requests may pass, by Envoy's protocol `envoy.service.auth.v3.Authorization`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtAuthProvider {
    /// Where it is.
    pub grpc_service: GrpcService,

    /// Sends the body of requests along. A policy that says so itself outranks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_request_body: Option<RequestBody>,

    /// Lets requests pass when the service cannot be asked. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<bool>,

    /// Status of the answer when the service cannot be asked. 403 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 400, max = 599))]
    pub status_on_error: Option<u16>,

    /// Remembers decisions. Not together with bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<DecisionCache>,
}

/// A service that reads and changes requests and responses, by Envoy's protocol `envoy.service.ext_proc.v3.ExternalProcessor`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtProcProvider {
    /// Where it is. Its requestTimeout counts where messageTimeout is not set.
    pub grpc_service: GrpcService,

    /// Lets requests and responses pass as they are when the service fails. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<bool>,

    /// Which parts of requests and responses are sent. Headers alone by default. A policy that says so itself outranks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processing_mode: Option<ProcessingMode>,

    /// How long the answer to one message may take. `200ms` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_timeout: Option<Duration>,

    /// The longest time that the service may ask for instead. By default it may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_message_timeout: Option<Duration>,

    /// The service may change the mode for one request. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_mode_override: Option<bool>,

    /// The service gets copies and changes nothing, and nobody waits for it. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability_mode: Option<bool>,

    /// CEL expressions whose values are sent with the first message about a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 4096)))]
    pub request_attributes: Vec<String>,

    /// CEL expressions whose values are sent with the first message about a response.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 4096)))]
    pub response_attributes: Vec<String>,

    /// Metadata that is sent along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_options: Option<MetadataOptions>,

    /// Which headers the service may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutation_rules: Option<MutationRules>,

    /// Largest body that is read whole. `1Mi` by default, up to `64Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<Size>,
}

/// A service that counts for all proxies: Envoy's protocol `envoy.service.ratelimit.v3.RateLimitService`, or Redis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "has(self.grpcService) != has(self.redis)", "message": "exactly one of grpcService and redis must be set" },
    { "rule": "has(self.grpcService) == has(self.domain)", "message": "domain must be set with grpcService, and only then" }
]))]
pub struct RateLimitProvider {
    /// Where Envoy's service is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_service: Option<GrpcService>,

    /// Where Redis is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisService>,

    /// Which part of the configuration of Envoy's service holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub domain: Option<String>,

    /// Lets requests pass when the service cannot be asked. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<bool>,

    /// How long an answer may take. That of grpcService.requestTimeout by default, else `100ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,

    /// Whether every response says how much is left. `Off` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_rate_limit_headers: Option<RateLimitHeaders>,
}

/// A Redis server, 6.2 or newer. A BackendTLSPolicy of its Service says how connections are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "!has(self.username) || has(self.password)", "message": "username needs a password" }
]))]
pub struct RedisService {
    /// The Service or Backend.
    pub backend_ref: ServiceReference,

    /// Name of the user; `default` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub username: Option<String>,

    /// Password, in a Secret of this object's namespace; its key is `password` by default. None by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,

    /// Number of the database. 0 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 65535))]
    pub database: Option<u16>,
}

/// A gRPC service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcService {
    /// The Service or Backend.
    pub backend_ref: ServiceReference,

    /// Name under which it is asked; that of the backend by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub authority: Option<String>,

    /// How long an answer may take. `10s` by default, of rate limits `100ms`, of each message of
    /// external processing `200ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Duration>,
}

/// A Service, or a Backend of gateway.kgateway.dev.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReference {
    /// API group; empty for a Service, as by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,

    /// Kind: Service by default, or Backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,

    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Namespace; that of this object by default. A ReferenceGrant must allow another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,

    /// Port of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

impl ServiceReference {
    /// As routes write it.
    pub fn to_backend_reference(&self) -> BackendReference {
        BackendReference {
            group: self.group.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            port: self.port,
            weight: None,
        }
    }
}

/// How much of a request's body is sent along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestBody {
    /// Most bytes that are sent.
    #[schemars(range(min = 1, max = 1048576))]
    pub max_request_bytes: u32,

    /// Sends the beginning of larger bodies, instead of answering them with 413.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_partial_message: Option<bool>,
}

/// State of an extension.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionStatus {
    /// Accepted: whether policies can use it, and why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}
