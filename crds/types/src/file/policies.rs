//! The policies that the file may attach, by level.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::telemetry::{CollectorHost, LogSink};
use super::tls::BackendTls;
use crate::policy::{
    AccessLog, ApiKeyAuth, Authorization, AwsAuth, BackendAuth, BackendConnection, BasicAuth, Buffer, CircuitBreakers,
    ConcurrencyLimit, Cors, Csrf, DirectResponse, ExtAuthz, ExtProc, FaultInjection, GlobalRateLimit, HeaderModifier,
    HealthCheck, JwtAuth, KeySet, LoadBalancer, Metrics, OutlierDetection, RateLimit, RequestLimits, RequestMirror,
    RequestRedirect, Retry, RetryConstraint, SessionPersistence, TextSource, Timeout, TokenBucket, Tracing,
    Transformation, UrlRewrite,
};

/// Policies for all requests of a listener; they run before a route is chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerPolicies {
    /// Answers browsers' cross-origin checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,

    /// Refuses requests that other sites' pages made browsers send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf: Option<Csrf>,

    /// Validates the caller's JSON Web Token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt_auth: Option<JwtAuth<KeySet>>,

    /// Asks the caller for a name and a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth<TextSource>>,

    /// Asks the caller for an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyAuth>,

    /// Asks another service whether a request may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_authz: Option<ExtAuthz>,

    /// Rules that decide whether a request is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,

    /// Rules that decide which tools, prompts and resources of MCP backends are seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_authorization: Option<Authorization>,

    /// Rules that decide which calls of A2A backends are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a2a_authorization: Option<Authorization>,

    /// Limits of the rate of requests; a request takes what it costs from all buckets, or from none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub local_rate_limit: Vec<TokenBucket>,

    /// Limits of the rate of requests: as TrafficPolicy spells them, and those that all proxies share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit<GlobalRateLimit>>,

    /// Bounds how many requests are served at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_limit: Option<ConcurrencyLimit>,

    /// Limits of requests themselves: the sizes of body and headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_limits: Option<RequestLimits>,

    /// Delays or answers a share of the requests, to see how clients bear it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault_injection: Option<FaultInjection>,

    /// How the gateway authenticates to backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_auth: Option<BackendAuth<TextSource, AwsAuth>>,

    /// Reads bodies of requests whole, and refuses larger ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<Buffer>,

    /// Sends requests and responses to another service that may change them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_proc: Option<ExtProc>,

    /// Changes requests and responses by CEL expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformation: Option<Transformation>,

    /// Changes the headers of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderModifier>,

    /// Changes the headers of responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderModifier>,

    /// How long requests may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,

    /// Which requests are sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,

    /// Logs of requests, in the place of the process's. None: requests are not logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4))]
    pub access_log: Option<Vec<AccessLog<LogSink>>>,

    /// Traces requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing<CollectorHost>>,

    /// Counts requests by labels of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
}

/// Policies for the requests of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutePolicies {
    /// Answers browsers' cross-origin checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,

    /// Refuses requests that other sites' pages made browsers send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf: Option<Csrf>,

    /// Validates the caller's JSON Web Token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt_auth: Option<JwtAuth<KeySet>>,

    /// Asks the caller for a name and a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth<TextSource>>,

    /// Asks the caller for an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyAuth>,

    /// Asks another service whether a request may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_authz: Option<ExtAuthz>,

    /// Rules that decide whether a request is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,

    /// Rules that decide which tools, prompts and resources of MCP backends are seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_authorization: Option<Authorization>,

    /// Rules that decide which calls of A2A backends are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a2a_authorization: Option<Authorization>,

    /// Limits of the rate of requests; a request takes what it costs from all buckets, or from none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub local_rate_limit: Vec<TokenBucket>,

    /// Limits of the rate of requests: as TrafficPolicy spells them, and those that all proxies share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit<GlobalRateLimit>>,

    /// Bounds how many requests are served at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_limit: Option<ConcurrencyLimit>,

    /// Limits of requests themselves: the sizes of body and headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_limits: Option<RequestLimits>,

    /// Delays or answers a share of the requests, to see how clients bear it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault_injection: Option<FaultInjection>,

    /// How the gateway authenticates to backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_auth: Option<BackendAuth<TextSource, AwsAuth>>,

    /// Reads bodies of requests whole, and refuses larger ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<Buffer>,

    /// Sends requests and responses to another service that may change them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_proc: Option<ExtProc>,

    /// Changes requests and responses by CEL expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformation: Option<Transformation>,

    /// Changes the headers of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderModifier>,

    /// Changes the headers of responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderModifier>,

    /// Changes the URL under which requests go to the backend. Not together with `requestRedirect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<UrlRewrite>,

    /// Answers with a redirect. Not together with `urlRewrite`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<RequestRedirect>,

    /// Answers in the backend's stead. Not together with `requestRedirect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_response: Option<DirectResponse>,

    /// Gives requests the host name of the backend that they go to, where `urlRewrite` names none. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_host_rewrite: Option<bool>,

    /// How long requests may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,

    /// Which requests are sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,

    /// Sends copies of requests to another backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<RequestMirror>,

    /// Sends copies of requests to several other backends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub request_mirrors: Vec<RequestMirror>,

    /// Keeps requests of one session with one endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,

    /// Logs of requests, in the place of the process's. None: requests are not logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4))]
    pub access_log: Option<Vec<AccessLog<LogSink>>>,

    /// Traces requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing<CollectorHost>>,

    /// Counts requests by labels of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
}

/// Policies for the requests that go to one backend of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendPolicies {
    /// Encrypts the connections.
    #[serde(default, rename = "backendTLS", skip_serializing_if = "Option::is_none")]
    pub backend_tls: Option<BackendTls>,

    /// Rules that decide which tools, prompts and resources of an MCP backend are seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_authorization: Option<Authorization>,

    /// Rules that decide which calls of an A2A backend are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a2a_authorization: Option<Authorization>,

    /// Bounds how many requests are served at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_limit: Option<ConcurrencyLimit>,

    /// How the gateway authenticates to the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_auth: Option<BackendAuth<TextSource, AwsAuth>>,

    /// Changes requests and responses by CEL expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformation: Option<Transformation>,

    /// Changes the headers of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderModifier>,

    /// Changes the headers of responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderModifier>,

    /// Changes the URL under which requests go to the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<UrlRewrite>,

    /// How long requests may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,

    /// Which requests are sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,

    /// Sends copies of requests to another backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<RequestMirror>,

    /// Sends copies of requests to several other backends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub request_mirrors: Vec<RequestMirror>,

    /// Ejects endpoints that fail.
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

// One conversion serves all levels: a route may have every policy but those about a backend's endpoints.
impl From<ListenerPolicies> for RoutePolicies {
    fn from(policies: ListenerPolicies) -> RoutePolicies {
        RoutePolicies {
            cors: policies.cors,
            csrf: policies.csrf,
            buffer: policies.buffer,
            transformation: policies.transformation,
            jwt_auth: policies.jwt_auth,
            basic_auth: policies.basic_auth,
            api_key: policies.api_key,
            authorization: policies.authorization,
            mcp_authorization: policies.mcp_authorization,
            a2a_authorization: policies.a2a_authorization,
            local_rate_limit: policies.local_rate_limit,
            rate_limit: policies.rate_limit,
            fault_injection: policies.fault_injection,
            concurrency_limit: policies.concurrency_limit,
            request_limits: policies.request_limits,
            backend_auth: policies.backend_auth,
            request_header_modifier: policies.request_header_modifier,
            response_header_modifier: policies.response_header_modifier,
            ext_authz: policies.ext_authz,
            ext_proc: policies.ext_proc,
            timeout: policies.timeout,
            retry: policies.retry,
            access_log: policies.access_log,
            tracing: policies.tracing,
            metrics: policies.metrics,
            ..RoutePolicies::default()
        }
    }
}

impl From<BackendPolicies> for RoutePolicies {
    fn from(policies: BackendPolicies) -> RoutePolicies {
        RoutePolicies {
            mcp_authorization: policies.mcp_authorization,
            a2a_authorization: policies.a2a_authorization,
            concurrency_limit: policies.concurrency_limit,
            backend_auth: policies.backend_auth,
            transformation: policies.transformation,
            request_header_modifier: policies.request_header_modifier,
            response_header_modifier: policies.response_header_modifier,
            url_rewrite: policies.url_rewrite,
            timeout: policies.timeout,
            retry: policies.retry,
            request_mirror: policies.request_mirror,
            request_mirrors: policies.request_mirrors,
            ..RoutePolicies::default()
        }
    }
}
