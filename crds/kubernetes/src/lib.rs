//! The Kubernetes resources `Backend`, `TrafficPolicy`, `GatewayExtension`, `DirectResponse` and
//! `GatewayParameters` (`gateway.kgateway.dev/v1alpha1`), and their
//! definitions as YAML; besides them those types of Gateway API that its own crate lacks.
//!
//! Names, limits and meaning are kgateway's; only fields that have an effect exist. What users write inside them are the
//! types of `agentgateway-types`.

pub mod backend;
pub mod definitions;
pub mod direct_response;
pub mod extension;
pub mod inference_pool;
pub mod parameters;
pub mod policy;
pub mod stream_route;

pub use backend::{Backend, BackendSpec, BackendStatus, BackendType, McpBackend, McpSelector, McpTarget};
pub use direct_response::{DirectResponse, DirectResponseSpec};
pub use extension::{
    ExtAuthProvider, ExtProcProvider, ExtensionStatus, ExtensionType, GatewayExtension, GatewayExtensionSpec,
    GrpcService, RateLimitProvider, RedisService, RequestBody, ServiceReference,
};
pub use inference_pool::{
    EndpointPickerRef, INFERENCE_GROUP, InferencePool, InferencePoolSpec, InferencePoolStatus, PoolParentRef,
    PoolParentStatus, PoolPort, PoolSelector,
};
pub use parameters::{GatewayParameters, GatewayParametersSpec};
pub use policy::{
    CollectorSink, ExtAuth, ExtProcPolicy, ExtensionReference, HeaderModifiers, PolicyAncestor, PolicyAncestorRef,
    PolicyStatus, RetryOn, SharedRateLimit, TargetRef, TargetSelector, Timeouts, TrafficPolicy, TrafficPolicySpec,
    TrafficRetry,
};
pub use stream_route::{
    BackendReference, ParentReference, RouteParentStatus, RouteStatus, StreamRouteRule, TcpRoute, UdpRoute,
};

/// The API group of the resources here.
pub const GROUP: &str = "gateway.kgateway.dev";

/// The API group of Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// Label on the definition of a policy: tools find policies and how they attach by it (GEP-713).
pub const POLICY_LABEL: (&str, &str) = ("gateway.networking.k8s.io/policy", "Direct");

/// Most ancestors in a policy's status (GEP-713).
pub const MOST_ANCESTORS: usize = 16;
