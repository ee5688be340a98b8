//! Policies: what is done to a request besides routing it. One file a policy.

mod api_key;
mod authorization;
mod backend_auth;
mod basic_auth;
mod bind_limits;
mod buffer;
mod circuit_breakers;
mod concurrency_limit;
mod cors;
mod credentials;
mod csrf;
mod direct_response;
mod ext_authz;
mod ext_proc;
mod fault_injection;
mod global_rate_limit;
mod headers;
mod health_check;
mod jwt;
mod load_balancer;
mod mirror;
mod outlier_detection;
mod rate_limit;
mod rbac;
mod request_limits;
mod retry;
mod rewrite;
mod session_persistence;
mod source;
mod timeout;
mod transformation;

pub use api_key::{ApiKey, ApiKeyAuth, SecretApiKeyAuth};
pub use authorization::{Authorization, Rule};
pub use backend_auth::{AwsAuth, BackendAuth, BackendKey, Passthrough, SecretAwsAuth};
pub use basic_auth::BasicAuth;
pub use bind_limits::BindLimits;
pub use buffer::Buffer;
pub use circuit_breakers::{CircuitBreakers, RetryBudget, RetryConstraint, RetryRate};
pub use concurrency_limit::ConcurrencyLimit;
pub use cors::Cors;
pub use credentials::{AuthMode, CredentialLocation, HeaderLocation, NamedLocation};
pub use csrf::{Csrf, StringMatcher};
pub use direct_response::DirectResponse;
pub use ext_authz::{DecisionCache, ExtAuthz, ExtAuthzProtocol, ForwardBody, GrpcExtAuthz, HttpExtAuthz};
pub use ext_proc::{
    BodySendMode, ExtProc, MetadataForwarding, MetadataOptions, MutationRules, ProcessingMode, SendMode,
};
pub use fault_injection::{FaultAbort, FaultDelay, FaultInjection};
pub use global_rate_limit::{
    CelEntry, EnvoyRateLimit, GenericEntry, GlobalRateLimit, RateLimitDescriptor, RateLimitEntry, RateLimitEntryType,
    RedisRateLimit,
};
pub use headers::{Header, HeaderModifier};
pub use health_check::{
    BackendConnection, GrpcHealthCheck, HeaderFormat, HealthCheck, Http1ProtocolOptions, HttpHealthCheck,
    TcpHealthCheck,
};
pub use jwt::{JwtAuth, JwtProvider, KeySet, ReferencedKeySet, RequiredClaim};
pub use load_balancer::{
    HashPolicy, HashedName, LeastRequest, LoadBalancer, Maglev, RandomChoice, RingHash, RoundRobin, SlowStart,
    SourceIp, TrafficDistribution,
};
pub use mirror::{Fraction, RequestMirror};
pub use outlier_detection::OutlierDetection;
pub use rate_limit::{LocalRateLimit, RateLimit, RateLimitHeaders, RateLimitUnit, TokenBucket};
pub use rbac::{Rbac, RbacAction, RbacPolicy};
pub use request_limits::RequestLimits;
pub use retry::Retry;
pub use rewrite::{PathModifier, RequestRedirect, UrlRewrite};
pub use session_persistence::{CookieConfig, CookieLifetime, SessionPersistence, SessionType};
pub use source::{KeyReference, SecretReference, SecretSource, TextSource};
pub use timeout::Timeout;
pub use transformation::{BodyFormat, BodyTransformation, HeaderTransformation, MessageTransformation, Transformation};
