//! Policies about the endpoints of backends, and what is known of these at this moment.

use agentgateway_proto::v1::{self, load_balancer, policy_spec::Kind};
use agentgateway_upstream::balancer::{BalancerReport, Bound};
use serde_json::{Map, Value, json};

/// A policy.
pub(super) fn spec(spec: &v1::PolicySpec) -> Value {
    let fields = match &spec.kind {
        Some(Kind::OutlierDetection(o)) => json!({
            "consecutive5xx": o.consecutive_5xx,
            "consecutiveGatewayErrors": o.consecutive_gateway_errors,
            "intervalMilliseconds": o.interval_milliseconds,
            "baseEjectionMilliseconds": o.base_ejection_milliseconds,
            "maxEjectionMilliseconds": o.max_ejection_milliseconds,
            "maxEjectionPercent": o.max_ejection_percent,
        }),
        Some(Kind::CircuitBreakers(c)) => json!({
            "maxConnections": c.max_connections,
            "maxPendingRequests": c.max_pending_requests,
            "maxRequests": c.max_requests,
            "maxRetries": c.max_retries,
        }),
        Some(Kind::RetryConstraint(r)) => json!({
            "percent": r.percent,
            "intervalMilliseconds": r.interval_milliseconds,
            "minRetries": r.min_retries,
            "minIntervalMilliseconds": r.min_interval_milliseconds,
        }),
        Some(Kind::LoadBalancer(l)) => json!({
            "algorithm": algorithm(l.algorithm.as_ref()),
            "hashPolicies": l.hash_policies.iter().map(hash_policy).collect::<Vec<_>>(),
            "healthyPanicThreshold": l.healthy_panic_percent,
            "slowStartMilliseconds": l.slow_start.map(|s| s.window_milliseconds),
            "preferLocal": l.prefer_local,
        }),
        Some(Kind::HealthCheck(h)) => json!({
            "intervalMilliseconds": h.interval_milliseconds,
            "timeoutMilliseconds": h.timeout_milliseconds,
            "unhealthyThreshold": h.unhealthy_threshold,
            "healthyThreshold": h.healthy_threshold,
            "check": match &h.check {
                Some(v1::health_check::Check::Http(http)) => json!({ "http": http.path }),
                Some(v1::health_check::Check::Grpc(grpc)) => json!({ "grpc": grpc.service }),
                Some(v1::health_check::Check::Tcp(_)) => json!("tcp"),
                None => Value::Null,
            },
        }),
        Some(Kind::BackendConnection(c)) => json!({
            "connectTimeoutMilliseconds": c.connect_timeout_milliseconds,
            "idleTimeoutMilliseconds": c.idle_timeout_milliseconds,
            "titleCaseHeaders": c.title_case_headers,
        }),
        _ => json!({}),
    };
    json!({ spec.name(): fields })
}

fn algorithm(algorithm: Option<&load_balancer::Algorithm>) -> &'static str {
    match algorithm {
        None | Some(load_balancer::Algorithm::LeastRequest(_)) => "leastRequest",
        Some(load_balancer::Algorithm::RoundRobin(_)) => "roundRobin",
        Some(load_balancer::Algorithm::Random(_)) => "random",
        Some(load_balancer::Algorithm::RingHash(_)) => "ringHash",
        Some(load_balancer::Algorithm::Maglev(_)) => "maglev",
    }
}

fn hash_policy(policy: &v1::HashPolicy) -> Value {
    match &policy.kind {
        Some(v1::hash_policy::Kind::Header(name)) => json!({ "header": name }),
        Some(v1::hash_policy::Kind::Cookie(name)) => json!({ "cookie": name }),
        Some(v1::hash_policy::Kind::SourceIp(_)) => json!("sourceIP"),
        Some(v1::hash_policy::Kind::Expression(source)) => json!({ "expression": source }),
        None => Value::Null,
    }
}

/// What is known of a backend's endpoints.
pub(super) fn balancer(report: &BalancerReport) -> Value {
    let endpoints = report.endpoints.iter().map(|endpoint| {
        json!({
            "address": endpoint.address.to_string(),
            "level": endpoint.level,
            "ejected": endpoint.ejected,
            "unhealthy": endpoint.unhealthy,
            "inFlight": endpoint.in_flight,
        })
    });
    let bound = |(bound, now, refused): &(Bound, u32, u64)| {
        (bound.name().to_owned(), json!({ "now": now, "refused": refused }))
    };
    json!({
        "endpoints": endpoints.collect::<Vec<_>>(),
        "serving": report.serving,
        "ejections": report.ejections,
        "bounds": report.bounds.iter().map(bound).collect::<Map<_, _>>(),
    })
}
