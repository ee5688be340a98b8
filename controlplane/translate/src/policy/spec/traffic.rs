//! headerModifiers, timeouts, retry and autoHostRewrite: what protects nothing.

use std::collections::BTreeSet;

use agentgateway_convert::policy as convert;
use agentgateway_crds::{RetryOn, TrafficPolicySpec, TrafficRetry};
use agentgateway_expression::Expression;
use agentgateway_proto::v1;
use agentgateway_types::policy::{Retry, Timeout};

use super::{Fields, wrong};

pub(super) fn specs(spec: &TrafficPolicySpec, fields: &mut Fields<'_>) {
    if let Some(modifiers) = &spec.header_modifiers {
        if let Some(request) = &modifiers.request {
            let made = convert::request_headers(request).map_err(|e| wrong("spec.headerModifiers.request", e));
            fields.unprotected("headerModifiers.request", made);
        }
        if let Some(response) = &modifiers.response {
            let made = convert::response_headers(response).map_err(|e| wrong("spec.headerModifiers.response", e));
            fields.unprotected("headerModifiers.response", made);
        }
    }
    let per_try = spec.retry.as_ref().and_then(|retry| retry.per_try_timeout);
    if let Some(timeouts) = &spec.timeouts {
        let backend_request_timeout = per_try.or(timeouts.backend_request);
        let stream_idle_timeout = timeouts.stream_idle;
        let timeout = Timeout { request_timeout: timeouts.request, backend_request_timeout, stream_idle_timeout };
        fields.unprotected("timeouts", convert::timeout(&timeout).map_err(|e| wrong("spec.timeouts", e)));
    } else if per_try.is_some() {
        let timeout = Timeout { backend_request_timeout: per_try, ..Timeout::default() };
        fields.unprotected("timeouts", convert::timeout(&timeout).map_err(|e| wrong("spec.retry.perTryTimeout", e)));
    }
    if let Some(config) = &spec.retry {
        fields.unprotected("retry", convert::retry(&retry(config)).map_err(|e| wrong("spec.retry", e)));
    }
    if let Some(config) = &spec.fault_injection {
        let made = convert::fault_injection(config).map_err(|e| wrong("spec.faultInjection", e));
        fields.unprotected("faultInjection", made);
    }
    resilience(spec, fields);
    if spec.auto_host_rewrite == Some(true) {
        fields.unprotected("autoHostRewrite", Ok(convert::auto_host_rewrite()));
    }
}

/// What is set for the endpoints and connections of backends.
fn resilience(spec: &TrafficPolicySpec, fields: &mut Fields<'_>) {
    if let Some(config) = &spec.outlier_detection {
        let made = convert::outlier_detection(config).map_err(|e| wrong("spec.outlierDetection", e));
        fields.unprotected("outlierDetection", made);
    }
    if let Some(config) = &spec.circuit_breakers {
        let made = convert::circuit_breakers(config).map_err(|e| wrong("spec.circuitBreakers", e));
        fields.unprotected("circuitBreakers", made);
    }
    if let Some(config) = &spec.retry_constraint {
        let made = convert::retry_constraint(config).map_err(|e| wrong("spec.retryConstraint", e));
        fields.unprotected("retryConstraint", made);
    }
    if let Some(config) = &spec.load_balancer {
        let made = convert::load_balancer(config).map_err(|e| wrong("spec.loadBalancer", e));
        fields.unprotected("loadBalancer", made.and_then(hashes_compile));
    }
    if let Some(config) = &spec.health_check {
        let made = convert::health_check(config).map_err(|e| wrong("spec.healthCheck", e));
        fields.unprotected("healthCheck", made);
    }
    if let Some(config) = &spec.connection {
        let made = convert::connection(config).map_err(|e| wrong("spec.connection", e));
        fields.unprotected("connection", made);
    }
}

fn hashes_compile(made: v1::PolicySpec) -> Result<v1::PolicySpec, String> {
    let Some(v1::policy_spec::Kind::LoadBalancer(balancer)) = &made.kind else { return Ok(made) };
    for (i, policy) in balancer.hash_policies.iter().enumerate() {
        let Some(v1::hash_policy::Kind::Expression(source)) = &policy.kind else { continue };
        let at = format!("spec.loadBalancer: hash policy {i}");
        let expression = Expression::compile(source).map_err(|error| format!("{at}: {error}"))?;
        if let Some(subject) = expression.subject() {
            return Err(format!("{at}: {}", super::elsewhere(subject)));
        }
    }
    Ok(made)
}

fn retry(config: &TrafficRetry) -> Retry {
    let mut codes: BTreeSet<u16> = config.status_codes.iter().copied().collect();
    for on in &config.retry_on {
        match on {
            RetryOn::ServerError => codes.extend(500..=599),
            RetryOn::GatewayError => codes.extend([502, 503, 504]),
            RetryOn::Conflict => codes.extend([409]),
            // The gateway tries these again without being told.
            RetryOn::StatusCodes
            | RetryOn::Reset
            | RetryOn::ResetBeforeRequest
            | RetryOn::ConnectFailure
            | RetryOn::RefusedStream => {}
        }
    }
    Retry { attempts: config.attempts, backoff: config.backoff_base_interval, codes: codes.into_iter().collect() }
}
