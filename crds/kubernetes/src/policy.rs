//! `TrafficPolicy`: what is done to requests besides routing them, attached to what it applies to (GEP-713, direct).

use std::collections::BTreeMap;

use agentgateway_types::Duration;
use agentgateway_types::policy::{
    AccessLog, BackendAuth, BackendConnection, BasicAuth, Buffer, CircuitBreakers, ConcurrencyLimit, Cors, Csrf,
    FaultInjection, HeaderModifier, HealthCheck, JwtAuth, LoadBalancer, Metrics, OpenTelemetry, OutlierDetection,
    ProcessingMode, RateLimit, RateLimitDescriptor, Rbac, ReferencedKeySet, RequestLimits, RetryConstraint,
    SecretApiKeyAuth, SecretAwsAuth, SecretSource, TokenBucket, Tracing, Transformation,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extension::{GrpcService, RequestBody};

/// Policies for the requests of a Gateway or ListenerSet, one of its listeners, an HTTPRoute or GRPCRoute, one of its rules, a
/// Service, one of its ports, or a Backend in the same namespace. Connections and datagrams of TLSRoutes, TCPRoutes and
/// UDPRoutes are no requests. A filter of type
/// ExtensionRef in a rule of an HTTPRoute or GRPCRoute may name one, too; such a policy needs no targets.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "TrafficPolicy",
    plural = "trafficpolicies",
    shortname = "tp",
    category = "kgateway",
    namespaced,
    status = "PolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Targets", "type": "string", "jsonPath": ".spec.targetRefs[*].name", "description": "What it applies to, by name"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.ancestors[*].conditions[?(@.type=='Accepted')].status", "description": "Whether the policy is in force, by Gateway"}"#,
    printcolumn = r#"{"name": "Attached", "type": "string", "jsonPath": ".status.ancestors[*].conditions[?(@.type=='Attached')].reason", "description": "Whether its fields count, or an older policy's in their place, by Gateway"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "has(self.jwtAuth) || has(self.basicAuth) || has(self.apiKey) || has(self.extAuth) || has(self.extProc) || has(self.rbac) || has(self.rateLimit) || has(self.concurrencyLimit) || has(self.requestLimits) || has(self.cors) || has(self.csrf) || has(self.buffer) || has(self.transformation) || has(self.headerModifiers) || has(self.timeouts) || has(self.retry) || has(self.autoHostRewrite) || has(self.backendAuth) || has(self.outlierDetection) || has(self.circuitBreakers) || has(self.retryConstraint) || has(self.loadBalancer) || has(self.healthCheck) || has(self.connection) || has(self.faultInjection) || has(self.accessLog) || has(self.tracing) || has(self.metrics)", "message": "at least one policy must be set" },
    { "rule": "!has(self.autoHostRewrite) || ((!has(self.targetRefs) || self.targetRefs.all(r, r.kind == 'HTTPRoute')) && (!has(self.targetSelectors) || self.targetSelectors.all(r, r.kind == 'HTTPRoute')))", "message": "autoHostRewrite is for HTTPRoutes" },
    { "rule": "!(has(self.outlierDetection) || has(self.circuitBreakers) || has(self.retryConstraint) || has(self.loadBalancer) || has(self.healthCheck) || has(self.connection)) || ((!has(self.targetRefs) || self.targetRefs.all(r, r.kind in ['Service', 'Backend'])) && (!has(self.targetSelectors) || self.targetSelectors.all(r, r.kind in ['Service', 'Backend'])))", "message": "outlierDetection, circuitBreakers, retryConstraint, loadBalancer, healthCheck and connection are for Services and Backends" },
    { "rule": "!has(self.retry) || !has(self.retry.perTryTimeout) || !has(self.timeouts) || !has(self.timeouts.request) || duration(self.timeouts.request) == duration('0s') || duration(self.retry.perTryTimeout) <= duration(self.timeouts.request)", "message": "retry.perTryTimeout must not be more than timeouts.request" }
]))]
pub struct TrafficPolicySpec {
    /// What the policy applies to, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Option<Vec<TargetRef>>,

    /// What the policy applies to, by labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub target_selectors: Option<Vec<TargetSelector>>,

    /// Validates the caller's JSON Web Token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt_auth: Option<JwtAuth<ReferencedKeySet>>,

    /// Asks the caller for a name and a password. The Secret's key is `.htpasswd` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth<SecretSource>>,

    /// Asks the caller for an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretApiKeyAuth>,

    /// Asks another service whether a request may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_auth: Option<ExtAuth>,

    /// Rules that allow or refuse requests. On a Backend of type MCP they apply to its tools, prompts and resources: what
    /// is not allowed is not listed either. On a Backend of type A2A they apply to the calls of the agent. Several policies, on one target or on several levels, must all allow. A policy
    /// whose expressions cannot be compiled refuses everything on its targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rbac: Option<Rbac>,

    /// Limits the rate of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit<SharedRateLimit>>,

    /// Bounds how many requests are served at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_limit: Option<ConcurrencyLimit>,

    /// Limits of requests themselves: the sizes of body and headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_limits: Option<RequestLimits>,

    /// Delays or answers a share of the requests, to see how clients bear it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault_injection: Option<FaultInjection>,

    /// Answers browsers' cross-origin checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,

    /// Refuses requests that other sites' pages made browsers send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf: Option<Csrf>,

    /// Reads bodies of requests whole, and refuses larger ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<Buffer>,

    /// Sends requests and responses to another service that may change them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_proc: Option<ExtProcPolicy>,

    /// Changes requests and responses by CEL expressions. Those of all levels are made, the more specific ones later on the way to
    /// the backend and earlier on the way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformation: Option<Transformation>,

    /// Changes headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_modifiers: Option<HeaderModifiers>,

    /// How long requests may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,

    /// Which requests are sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<TrafficRetry>,

    /// Logs of requests, in the place of the proxy's own. None: requests are not logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4))]
    pub access_log: Option<Vec<AccessLog<CollectorSink>>>,

    /// Traces requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing<GrpcService>>,

    /// Counts requests by labels of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,

    /// Gives requests the host name of the backend that they go to, where no URLRewrite filter names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_host_rewrite: Option<bool>,

    /// How the gateway authenticates to backends. Of several policies the most specific counts. A Secret's key is
    /// `Authorization` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_auth: Option<BackendAuth<SecretSource, SecretAwsAuth>>,

    /// Ejects endpoints that fail. As the fields below, for Services and Backends of type Static or A2A alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,

    /// Bounds of connections, requests and retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breakers: Option<CircuitBreakers>,

    /// Bounds retries by requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_constraint: Option<RetryConstraint>,

    /// Which endpoint a request gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,

    /// Asks endpoints whether they serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,

    /// How connections are made and kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<BackendConnection>,
}

/// Where an access log goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectorSink {
    /// A collector. Of the logs of one policy one may have it.
    pub open_telemetry: OpenTelemetry<GrpcService>,
}

/// Asks another service whether a request may pass. Services of several policies, on one target or on several levels, must all
/// let it pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtAuth {
    /// The GatewayExtension of type ExtAuth.
    pub extension_ref: ExtensionReference,

    /// Sends the body of requests along, in the place of what the extension says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_request_body: Option<RequestBody>,

    /// Values that are sent with each request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64), inner(length(max = 4096)))]
    pub context_extensions: BTreeMap<String, String>,
}

/// Sends requests and responses to another service that may change them. Those of several policies all get them, the more specific
/// ones later on the way to the backend and earlier on the way back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtProcPolicy {
    /// The GatewayExtension of type ExtProc.
    pub extension_ref: ExtensionReference,

    /// Which parts of requests and responses are sent, in the place of what the extension says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processing_mode: Option<ProcessingMode>,
}

/// A limit that all proxies share: descriptors where the extension is Envoy's service, buckets where it is Redis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.descriptors) != has(self.buckets)",
    "message": "exactly one of descriptors and buckets must be set"
}]))]
pub struct SharedRateLimit {
    /// The GatewayExtension of type RateLimit.
    pub extension_ref: ExtensionReference,

    /// What Envoy's service is asked about, all with one question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub descriptors: Option<Vec<RateLimitDescriptor>>,

    /// Buckets in Redis; a request takes what it costs from all of them, or is refused and takes nothing. Each policy has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub buckets: Option<Vec<TokenBucket>>,
}

/// A GatewayExtension.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionReference {
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Namespace; that of the policy by default. A ReferenceGrant must allow another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// Changes headers: those of the gateway before those of the route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.request) || has(self.response)",
    "message": "at least one of request and response must be set"
}]))]
pub struct HeaderModifiers {
    /// Of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<HeaderModifier>,

    /// Of responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<HeaderModifier>,
}

/// How long requests may take; `0s` means without a limit. Of several policies the most specific that sets a field counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.request) || has(self.backendRequest) || has(self.streamIdle)",
    "message": "at least one of request, backendRequest and streamIdle must be set"
}]))]
pub struct Timeouts {
    /// From the head of the request to the end of the response, retries included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,

    /// From the moment at which one try's request is sent to the head of its response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,

    /// From one piece of a response's body to the next; then the response is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle: Option<Duration>,
}

/// Which requests are sent again. Connections that did not come about, or broke before a response, always are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficRetry {
    /// Responses that are tried again, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub retry_on: Vec<RetryOn>,

    /// Tries after the first. 1 by default; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10))]
    pub attempts: Option<u32>,

    /// How long one try may take until the head of its response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_try_timeout: Option<Duration>,

    /// Status codes of responses that are tried again: 400 to 599.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(range(min = 400, max = 599)))]
    pub status_codes: Vec<u16>,

    /// Least pause before the first retry, doubled for each further one. `25ms` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_base_interval: Option<Duration>,
}

/// Responses that are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetryOn {
    /// Status codes 500 to 599.
    #[serde(rename = "5xx")]
    ServerError,
    /// Status codes 502, 503 and 504.
    #[serde(rename = "gateway-error")]
    GatewayError,
    /// Status code 409.
    #[serde(rename = "retriable-4xx")]
    Conflict,
    /// Those in statusCodes.
    #[serde(rename = "retriable-status-codes")]
    StatusCodes,
    /// Lost connections, as always.
    #[serde(rename = "reset")]
    Reset,
    /// Lost connections, as always.
    #[serde(rename = "reset-before-request")]
    ResetBeforeRequest,
    /// Connections that did not come about, as always.
    #[serde(rename = "connect-failure")]
    ConnectFailure,
    /// Streams that were refused, as always.
    #[serde(rename = "refused-stream")]
    RefusedStream,
}

/// An object that the policy applies to, in the policy's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.group == 'gateway.networking.k8s.io' ? self.kind in ['Gateway', 'ListenerSet', 'HTTPRoute', 'GRPCRoute', 'Backend'] : self.group == '' ? self.kind == 'Service' : self.group == 'gateway.kgateway.dev' && self.kind == 'Backend'",
        "message": "must be a Gateway, ListenerSet, HTTPRoute or GRPCRoute of gateway.networking.k8s.io, a Service, or a Backend of gateway.kgateway.dev"
    },
    { "rule": "self.kind != 'Backend' || !has(self.sectionName)", "message": "a Backend has no sections" }
]))]
pub struct TargetRef {
    /// API group of the object, empty for a Service. A Backend may be written with either group.
    #[schemars(length(max = 253))]
    pub group: String,

    /// Kind of the object: Gateway, ListenerSet, HTTPRoute, GRPCRoute, Service or Backend.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Name of a listener of the Gateway or ListenerSet, a rule of the route, or a port of the Service; the whole object when
    /// it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// Objects that the policy applies to by their labels, in the policy's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.group == 'gateway.networking.k8s.io' ? self.kind in ['Gateway', 'ListenerSet', 'HTTPRoute', 'GRPCRoute', 'Backend'] : self.group == '' ? self.kind == 'Service' : self.group == 'gateway.kgateway.dev' && self.kind == 'Backend'",
        "message": "must be a Gateway, ListenerSet, HTTPRoute or GRPCRoute of gateway.networking.k8s.io, a Service, or a Backend of gateway.kgateway.dev"
    },
    { "rule": "self.kind != 'Backend' || !has(self.sectionName)", "message": "a Backend has no sections" }
]))]
pub struct TargetSelector {
    /// API group of the objects, empty for Services. A Backend may be written with either group.
    #[schemars(length(max = 253))]
    pub group: String,

    /// Kind of the objects: Gateway, ListenerSet, HTTPRoute, GRPCRoute, Service or Backend.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// Labels that the objects must all have.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 64))]
    pub match_labels: BTreeMap<String, String>,

    /// Name of a listener of the Gateways or ListenerSets, a rule of the routes, or a port of the Services; the whole objects
    /// when it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// State of a policy, by the Gateways that it affects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// One entry for each Gateway that the policy affects and each controller that applies it there.
    #[schemars(length(max = 16))]
    pub ancestors: Vec<PolicyAncestor>,
}

/// State of a policy on one Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestor {
    /// The Gateway.
    pub ancestor_ref: PolicyAncestorRef,

    /// The controller that wrote this entry.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,

    /// Accepted: whether the policy is in force on the Gateway, and why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// A Gateway, or another object that a policy affects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestorRef {
    /// API group; gateway.networking.k8s.io when it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,

    /// Kind; Gateway when it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,

    /// Namespace; the policy's own when it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,

    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Name of a listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,

    /// Port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}
