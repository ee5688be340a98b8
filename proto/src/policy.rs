//! What both programs must agree on about policies: their names, and which of them protect.

use crate::v1::PolicySpec;
use crate::v1::policy_spec::Kind;

impl PolicySpec {
    /// The name of the policy as users write it, for messages.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            None => "policy",
            Some(Kind::Deny(_)) => "deny",
            Some(Kind::Cors(_)) => "cors",
            Some(Kind::Jwt(_)) => "jwtAuth",
            Some(Kind::Authorization(_)) => "authorization",
            Some(Kind::McpAuthorization(_)) => "mcpAuthorization",
            Some(Kind::A2aAuthorization(_)) => "a2aAuthorization",
            Some(Kind::LocalRateLimit(_)) => "localRateLimit",
            Some(Kind::BackendAuth(_)) => "backendAuth",
            Some(Kind::RequestHeaderModifier(_)) => "requestHeaderModifier",
            Some(Kind::ResponseHeaderModifier(_)) => "responseHeaderModifier",
            Some(Kind::UrlRewrite(_)) => "urlRewrite",
            Some(Kind::RequestRedirect(_)) => "requestRedirect",
            Some(Kind::RequestMirror(_)) => "requestMirror",
            Some(Kind::Timeouts(_)) => "timeout",
            Some(Kind::Retry(_)) => "retry",
            Some(Kind::SessionPersistence(_)) => "sessionPersistence",
            Some(Kind::ExternalAuthorization(_)) => "extAuthz",
            Some(Kind::BackendClientCertificate(_)) => "backendClientCertificate",
            Some(Kind::ApiKey(_)) => "apiKey",
            Some(Kind::BasicAuth(_)) => "basicAuth",
            Some(Kind::DirectResponse(_)) => "directResponse",
            Some(Kind::AutoHostRewrite(_)) => "autoHostRewrite",
            Some(Kind::OutlierDetection(_)) => "outlierDetection",
            Some(Kind::CircuitBreakers(_)) => "circuitBreakers",
            Some(Kind::RetryConstraint(_)) => "retryConstraint",
            Some(Kind::LoadBalancer(_)) => "loadBalancer",
            Some(Kind::HealthCheck(_)) => "healthCheck",
            Some(Kind::BackendConnection(_)) => "connection",
            Some(Kind::FaultInjection(_)) => "faultInjection",
            Some(Kind::GlobalRateLimit(_)) => "rateLimit.global",
            Some(Kind::ConcurrencyLimit(_)) => "concurrencyLimit",
            Some(Kind::RequestLimits(_)) => "requestLimits",
            Some(Kind::Csrf(_)) => "csrf",
            Some(Kind::RequestBuffer(_)) => "buffer",
            Some(Kind::Transformation(_)) => "transformation",
            Some(Kind::AccessLogs(_)) => "accessLog",
            Some(Kind::Tracing(_)) => "tracing",
            Some(Kind::Metrics(_)) => "metrics",
            Some(Kind::ExternalProcessing(_)) => "extProc",
        }
    }

    /// Whether it says how a backend's endpoints and connections are used; it does nothing to a request by itself.
    pub fn is_of_backend(&self) -> bool {
        matches!(
            &self.kind,
            Some(
                Kind::OutlierDetection(_)
                    | Kind::CircuitBreakers(_)
                    | Kind::RetryConstraint(_)
                    | Kind::LoadBalancer(_)
                    | Kind::HealthCheck(_)
                    | Kind::BackendConnection(_)
            )
        )
    }

    /// Whether requests would be let through, that should not be, if a part of this policy were skipped. What is unknown
    /// protects.
    pub fn protects(&self) -> bool {
        match &self.kind {
            Some(
                Kind::Cors(_)
                | Kind::RequestHeaderModifier(_)
                | Kind::ResponseHeaderModifier(_)
                | Kind::UrlRewrite(_)
                | Kind::RequestRedirect(_)
                | Kind::RequestMirror(_)
                | Kind::Timeouts(_)
                | Kind::Retry(_)
                | Kind::SessionPersistence(_)
                | Kind::BackendClientCertificate(_)
                | Kind::DirectResponse(_)
                | Kind::AutoHostRewrite(_)
                | Kind::OutlierDetection(_)
                | Kind::CircuitBreakers(_)
                | Kind::RetryConstraint(_)
                | Kind::LoadBalancer(_)
                | Kind::HealthCheck(_)
                | Kind::BackendConnection(_)
                | Kind::FaultInjection(_)
                | Kind::AccessLogs(_)
                | Kind::Tracing(_)
                | Kind::Metrics(_),
            ) => false,
            Some(
                Kind::Deny(_)
                | Kind::Jwt(_)
                | Kind::Authorization(_)
                | Kind::McpAuthorization(_)
                | Kind::A2aAuthorization(_)
                | Kind::LocalRateLimit(_)
                | Kind::BackendAuth(_)
                | Kind::ExternalAuthorization(_)
                | Kind::ApiKey(_)
                | Kind::BasicAuth(_)
                | Kind::GlobalRateLimit(_)
                | Kind::ConcurrencyLimit(_)
                | Kind::RequestLimits(_)
                | Kind::Csrf(_)
                | Kind::RequestBuffer(_)
                // They may be what takes a secret out of a message.
                | Kind::Transformation(_)
                | Kind::ExternalProcessing(_),
            )
            | None => true,
        }
    }
}
