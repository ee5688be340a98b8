//! What is set for the endpoints and connections of a backend.

use agentgateway_proto::v1::{self, load_balancer, policy_spec::Kind};
use agentgateway_types::file::BackendPolicies;
use agentgateway_types::policy::{
    BackendConnection, CircuitBreakers, HashPolicy, HeaderFormat, HealthCheck, LoadBalancer, OutlierDetection,
    RetryConstraint, SlowStart,
};
use agentgateway_types::{Duration, Path};

use super::spec;
use crate::check;
use crate::error::{Error, Within};

/// Those of a backend of the YAML file.
pub fn backend_policies(policies: &BackendPolicies) -> Result<Vec<v1::PolicySpec>, Error> {
    let mut specs = Vec::new();
    let mut push = |field: &'static str, spec: Option<Result<v1::PolicySpec, Error>>| match spec {
        Some(spec) => spec.within(|| Path::of(field)).map(|s| specs.push(s)),
        None => Ok(()),
    };
    push("outlierDetection", policies.outlier_detection.as_ref().map(outlier_detection))?;
    push("circuitBreakers", policies.circuit_breakers.as_ref().map(circuit_breakers))?;
    push("retryConstraint", policies.retry_constraint.as_ref().map(retry_constraint))?;
    push("loadBalancer", policies.load_balancer.as_ref().map(load_balancer))?;
    push("healthCheck", policies.health_check.as_ref().map(health_check))?;
    push("connection", policies.connection.as_ref().map(connection))?;
    Ok(specs)
}

/// Endpoints that fail get no requests for a while.
pub fn outlier_detection(policy: &OutlierDetection) -> Result<v1::PolicySpec, Error> {
    for (field, duration) in [("interval", policy.interval), ("baseEjectionTime", policy.base_ejection_time)] {
        not_zero(field, duration)?;
    }
    let (base, max) = (policy.base_ejection_time, policy.max_ejection_time);
    if base.zip(max).is_some_and(|(base, max)| max < base) {
        return Err(Error::invalid(Path::of("maxEjectionTime"), "must not be less than baseEjectionTime"));
    }
    percent("maxEjectionPercent", policy.max_ejection_percent)?;
    Ok(spec(Kind::OutlierDetection(v1::OutlierDetection {
        consecutive_5xx: policy.consecutive_5xx,
        consecutive_gateway_errors: policy.consecutive_gateway_errors,
        interval_milliseconds: milliseconds(policy.interval),
        base_ejection_milliseconds: milliseconds(base),
        max_ejection_milliseconds: milliseconds(max),
        max_ejection_percent: policy.max_ejection_percent,
    })))
}

/// Bounds of a backend.
pub fn circuit_breakers(policy: &CircuitBreakers) -> Result<v1::PolicySpec, Error> {
    if policy.max_connections == Some(0) {
        return Err(Error::invalid(Path::of("maxConnections"), "must not be 0: no request could be sent"));
    }
    Ok(spec(Kind::CircuitBreakers(v1::CircuitBreakers {
        max_connections: policy.max_connections,
        max_pending_requests: policy.max_pending_requests,
        max_requests: policy.max_requests,
        max_retries: policy.max_retries,
    })))
}

/// Bounds of retries.
pub fn retry_constraint(policy: &RetryConstraint) -> Result<v1::PolicySpec, Error> {
    let budget = policy.budget.clone().unwrap_or_default();
    let rate = policy.min_retry_rate.clone().unwrap_or_default();
    percent("budget.percent", budget.percent)?;
    for (field, interval) in [("budget.interval", budget.interval), ("minRetryRate.interval", rate.interval)] {
        at_least(field, interval, 100)?;
    }
    Ok(spec(Kind::RetryConstraint(v1::RetryConstraint {
        percent: budget.percent,
        interval_milliseconds: milliseconds(budget.interval),
        min_retries: rate.count,
        min_interval_milliseconds: milliseconds(rate.interval),
    })))
}

/// Which endpoint a request gets.
pub fn load_balancer(policy: &LoadBalancer) -> Result<v1::PolicySpec, Error> {
    use load_balancer::Algorithm;
    let (mut algorithms, mut hash_policies, mut slow) = (Vec::new(), Vec::new(), None);
    if let Some(least) = &policy.least_request {
        if least.choice_count.is_some_and(|n| !(2..=32).contains(&n)) {
            return Err(Error::invalid(Path::of("leastRequest.choiceCount"), "must be from 2 to 32"));
        }
        slow = least.slow_start.as_ref().map(|s| (s, "leastRequest.slowStart"));
        algorithms.push(Algorithm::LeastRequest(load_balancer::LeastRequest { choices: least.choice_count }));
    }
    if let Some(turns) = &policy.round_robin {
        slow = turns.slow_start.as_ref().map(|s| (s, "roundRobin.slowStart"));
        algorithms.push(Algorithm::RoundRobin(load_balancer::RoundRobin {}));
    }
    if policy.random.is_some() {
        algorithms.push(Algorithm::Random(load_balancer::Random {}));
    }
    if let Some(ring) = &policy.ring_hash {
        hash_policies = hashes(&ring.hash_policies, "ringHash.hashPolicies")?;
        let (minimum_ring_size, maximum_ring_size) = (ring.minimum_ring_size, ring.maximum_ring_size);
        if minimum_ring_size.unwrap_or(1024) > maximum_ring_size.unwrap_or(65_536) {
            return Err(Error::invalid(Path::of("ringHash.minimumRingSize"), "must not be more than maximumRingSize"));
        }
        algorithms.push(Algorithm::RingHash(load_balancer::RingHash { minimum_ring_size, maximum_ring_size }));
    }
    if let Some(maglev) = &policy.maglev {
        hash_policies = hashes(&maglev.hash_policies, "maglev.hashPolicies")?;
        algorithms.push(Algorithm::Maglev(load_balancer::Maglev {}));
    }
    if algorithms.len() > 1 {
        let members = "leastRequest, roundRobin, random, ringHash and maglev";
        return Err(Error::NotOne { path: Path::root(), members });
    }
    percent("healthyPanicThreshold", policy.healthy_panic_threshold)?;
    Ok(spec(Kind::LoadBalancer(v1::LoadBalancer {
        algorithm: algorithms.pop(),
        hash_policies,
        healthy_panic_percent: policy.healthy_panic_threshold,
        slow_start: slow.map(|(slow, at)| slow_start(slow).within(|| Path::of(at))).transpose()?,
        prefer_local: policy.traffic_distribution.is_some(),
    })))
}

fn slow_start(policy: &SlowStart) -> Result<load_balancer::SlowStart, Error> {
    not_zero("window", Some(policy.window))?;
    let aggression = policy.aggression.unwrap_or(1.0);
    if !(0.1..=100.0).contains(&aggression) {
        return Err(Error::invalid(Path::of("aggression"), "must be from 0.1 to 100"));
    }
    percent("minWeightPercent", policy.min_weight_percent)?;
    Ok(load_balancer::SlowStart {
        window_milliseconds: policy.window.milliseconds(),
        min_weight_percent: policy.min_weight_percent,
        aggression_thousandths: Some((aggression * 1000.0).round() as u32),
    })
}

fn hashes(policies: &[HashPolicy], at: &'static str) -> Result<Vec<v1::HashPolicy>, Error> {
    if policies.is_empty() {
        return Err(Error::Missing { path: Path::of(at) });
    }
    let one = |(i, policy): (usize, &HashPolicy)| hash(policy).within(|| Path::of(at).index(i));
    policies.iter().enumerate().map(one).collect()
}

fn hash(policy: &HashPolicy) -> Result<v1::HashPolicy, Error> {
    use v1::hash_policy::Kind as On;
    let on = match (&policy.header, &policy.cookie, &policy.source_ip, &policy.expression) {
        (Some(header), None, None, None) => On::Header(check::header_name(Path::of("header.name"), &header.name)?),
        (None, Some(cookie), None, None) => On::Cookie(check::header_name(Path::of("cookie.name"), &cookie.name)?),
        (None, None, Some(_), None) => On::SourceIp(v1::hash_policy::SourceIp {}),
        (None, None, None, Some(expression)) => On::Expression(expression.clone()),
        _ => return Err(Error::NotOne { path: Path::root(), members: "header, cookie, sourceIP and expression" }),
    };
    Ok(v1::HashPolicy { kind: Some(on), terminal: policy.terminal.unwrap_or(false) })
}

/// Endpoints are asked whether they serve.
pub fn health_check(policy: &HealthCheck) -> Result<v1::PolicySpec, Error> {
    use v1::health_check::{Check, Grpc, Http, Tcp};
    at_least("interval", Some(policy.interval), 100)?;
    not_zero("timeout", Some(policy.timeout))?;
    for (field, threshold) in
        [("unhealthyThreshold", policy.unhealthy_threshold), ("healthyThreshold", policy.healthy_threshold)]
    {
        if threshold == 0 {
            return Err(Error::invalid(Path::of(field), "must be 1 or more"));
        }
    }
    let check = match (&policy.http, &policy.grpc, &policy.tcp) {
        (Some(http), None, None) => Check::Http(Http {
            host: http.host.clone().unwrap_or_default(),
            path: path_and_query(&http.path)?,
            method: match &http.method {
                Some(method) => check::method(Path::of("http.method"), method)?,
                None => String::new(),
            },
        }),
        (None, Some(grpc), None) => Check::Grpc(Grpc {
            service: grpc.service_name.clone().unwrap_or_default(),
            authority: grpc.authority.clone().unwrap_or_default(),
        }),
        (None, None, Some(_)) => Check::Tcp(Tcp {}),
        _ => return Err(Error::NotOne { path: Path::root(), members: "http, grpc and tcp" }),
    };
    Ok(spec(Kind::HealthCheck(v1::HealthCheck {
        interval_milliseconds: policy.interval.milliseconds(),
        timeout_milliseconds: policy.timeout.milliseconds(),
        unhealthy_threshold: policy.unhealthy_threshold,
        healthy_threshold: policy.healthy_threshold,
        check: Some(check),
    })))
}

fn path_and_query(text: &str) -> Result<String, Error> {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let path = check::absolute_path(Path::of("http.path"), path)?;
    match query {
        None => Ok(path),
        Some(query) if query.bytes().all(|b| b.is_ascii_graphic() && b != b'#') => Ok(format!("{path}?{query}")),
        Some(_) => Err(Error::invalid(Path::of("http.path"), "its query holds what no query may hold")),
    }
}

/// How connections are made and kept.
pub fn connection(policy: &BackendConnection) -> Result<v1::PolicySpec, Error> {
    not_zero("connectTimeout", policy.connect_timeout)?;
    Ok(spec(Kind::BackendConnection(v1::BackendConnection {
        connect_timeout_milliseconds: milliseconds(policy.connect_timeout),
        idle_timeout_milliseconds: milliseconds(policy.idle_timeout),
        title_case_headers: policy
            .http1_protocol_options
            .and_then(|options| options.header_format)
            .map(|HeaderFormat::ProperCaseHeaderKeyFormat| true),
    })))
}

fn milliseconds(duration: Option<Duration>) -> Option<u64> {
    duration.map(Duration::milliseconds)
}

fn not_zero(field: &'static str, duration: Option<Duration>) -> Result<(), Error> {
    at_least(field, duration, 1)
}

fn at_least(field: &'static str, duration: Option<Duration>, least: u64) -> Result<(), Error> {
    match duration {
        Some(duration) if duration.milliseconds() < least => {
            Err(Error::invalid(Path::of(field), format!("must be {least} ms or more")))
        }
        _ => Ok(()),
    }
}

fn percent(field: &'static str, percent: Option<u32>) -> Result<(), Error> {
    match percent {
        Some(n) if n > 100 => Err(Error::invalid(Path::of(field), format!("{n} is more than 100"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use agentgateway_types::policy::{HashedName, HttpHealthCheck, Maglev, RingHash, RoundRobin, TcpHealthCheck};

    use super::*;

    fn path(result: Result<v1::PolicySpec, Error>) -> String {
        result.expect_err("is wrong").path().to_string()
    }

    fn ms(n: u64) -> Duration {
        Duration::from_milliseconds(n)
    }

    #[test]
    fn what_makes_no_sense_is_refused_where_it_stands() {
        let outlier = |base, max| {
            outlier_detection(&OutlierDetection {
                base_ejection_time: Some(ms(base)),
                max_ejection_time: Some(ms(max)),
                ..OutlierDetection::default()
            })
        };
        assert!(outlier(1000, 1000).is_ok());
        assert_eq!((path(outlier(2, 1)), path(outlier(0, 1))), ("maxEjectionTime".into(), "baseEjectionTime".into()));
        let none = CircuitBreakers { max_connections: Some(0), ..CircuitBreakers::default() };
        assert_eq!(path(circuit_breakers(&none)), "maxConnections");
        assert_eq!(
            path(connection(&BackendConnection { connect_timeout: Some(ms(0)), ..BackendConnection::default() })),
            "connectTimeout"
        );
    }

    #[test]
    fn a_load_balancer_has_one_algorithm_and_hashes_something() {
        let named = HashPolicy { header: Some(HashedName { name: "x-user".into() }), ..HashPolicy::default() };
        let maglev = |policies: Vec<HashPolicy>| LoadBalancer {
            maglev: Some(Maglev { hash_policies: policies }),
            ..LoadBalancer::default()
        };
        assert!(load_balancer(&maglev(vec![named.clone()])).is_ok() && load_balancer(&LoadBalancer::default()).is_ok());
        assert_eq!(path(load_balancer(&maglev(vec![]))), "maglev.hashPolicies");
        let both = HashPolicy { expression: Some("jwt.sub".into()), ..named.clone() };
        assert_eq!(path(load_balancer(&maglev(vec![named.clone(), both]))), "maglev.hashPolicies[1]");
        let two = LoadBalancer { round_robin: Some(RoundRobin::default()), ..maglev(vec![named.clone()]) };
        assert_eq!(path(load_balancer(&two)), "");
        let ring = RingHash { minimum_ring_size: Some(70_000), maximum_ring_size: None, hash_policies: vec![named] };
        let ring = LoadBalancer { ring_hash: Some(ring), ..LoadBalancer::default() };
        assert_eq!(path(load_balancer(&ring)), "ringHash.minimumRingSize");
    }

    #[test]
    fn a_health_check_asks_in_one_way() {
        let check = HealthCheck {
            interval: ms(1000),
            timeout: ms(100),
            unhealthy_threshold: 1,
            healthy_threshold: 1,
            tcp: Some(TcpHealthCheck {}),
            ..HealthCheck::default()
        };
        assert!(health_check(&check).is_ok());
        assert_eq!(path(health_check(&HealthCheck { tcp: None, ..check.clone() })), "");
        for (written, good) in [("/healthz", true), ("/healthz?full=1", true), ("/a?b c", false), ("healthz", false)] {
            let http = Some(HttpHealthCheck { path: written.into(), ..HttpHealthCheck::default() });
            let made = health_check(&HealthCheck { tcp: None, http, ..check.clone() });
            assert_eq!(made.is_ok(), good, "{written}");
        }
        assert_eq!(path(health_check(&HealthCheck { interval: ms(99), ..check.clone() })), "interval");
        assert_eq!(path(health_check(&HealthCheck { unhealthy_threshold: 0, ..check })), "unhealthyThreshold");
    }
}
