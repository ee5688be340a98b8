//! Active health checks: an endpoint is asked at intervals whether it serves (HTTP, grpc.health.v1, or a connection alone).

mod exchange;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use agentgateway_proto::v1::{self, health_check::Check};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};

use super::state::{Kept, State};
use crate::address::AddressRules;
use crate::endpoint::Endpoint;
use crate::limits;
use crate::random::random_below;

/// A compiled policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HealthCheck {
    interval: Duration,
    timeout: Duration,
    unhealthy: u32,
    healthy: u32,
    kind: Kind,
}

/// How endpoints are asked.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// A status from 200 to 299 is good.
    Http {
        host: Option<HeaderValue>,
        path: PathAndQuery,
        method: Method,
    },
    /// SERVING is good.
    Grpc {
        service: String,
        authority: Option<HeaderValue>,
    },
    Tcp,
}

/// What checks of an endpoint found.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) due: Option<Instant>,
    /// A check is on its way.
    running: bool,
    checked: bool,
    /// Results in a row that differ from what the endpoint is taken for.
    differing: u32,
}

impl HealthCheck {
    pub(super) fn compile(spec: &v1::HealthCheck) -> Result<HealthCheck, String> {
        let host = |name: &str| match name {
            "" => Ok(None),
            name => HeaderValue::from_str(name).map(Some).map_err(|_| format!("health check: {name:?} is no host")),
        };
        let kind = match &spec.check {
            Some(Check::Http(http)) => Kind::Http {
                host: host(&http.host)?,
                path: http.path.parse().map_err(|_| format!("health check: {:?} is no path", http.path))?,
                method: match http.method.as_str() {
                    "" => Method::GET,
                    method => method.parse().map_err(|_| format!("health check: {method:?} is no method"))?,
                },
            },
            Some(Check::Grpc(grpc)) => Kind::Grpc { service: grpc.service.clone(), authority: host(&grpc.authority)? },
            Some(Check::Tcp(_)) => Kind::Tcp,
            None => return Err("health check: it is of a kind that this proxy does not know".into()),
        };
        let (interval, timeout) =
            (Duration::from_millis(spec.interval_milliseconds), Duration::from_millis(spec.timeout_milliseconds));
        if interval < limits::MIN_CHECK_INTERVAL || timeout.is_zero() {
            let least = limits::MIN_CHECK_INTERVAL.as_millis();
            return Err(format!("health check: the interval must be {least} ms at least, and the timeout not zero"));
        }
        Ok(HealthCheck {
            interval,
            timeout,
            unhealthy: spec.unhealthy_threshold.max(1),
            healthy: spec.healthy_threshold.max(1),
            kind,
        })
    }

    /// Asks an endpoint.
    ///
    /// # Errors
    /// Why it is not healthy.
    pub(super) async fn ask(&self, endpoint: Arc<Endpoint>, rules: Arc<AddressRules>) -> Result<(), String> {
        let asked = exchange::ask(&self.kind, &endpoint, &rules);
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} ms", self.timeout.as_millis())),
        }
    }

    /// Up to a tenth more than the interval: endpoints, and proxies, do not keep in step.
    fn pause(&self) -> Duration {
        let tenth = usize::try_from(self.interval.as_millis() / 10).unwrap_or(usize::MAX);
        self.interval + Duration::from_millis(random_below(tenth.saturating_add(1)) as u64)
    }
}

impl State {
    /// Endpoints whose time has come, at most so many; they are not given again until they are answered.
    pub(super) fn due_checks(&mut self, now: Instant, most: usize) -> Vec<(HealthCheck, Arc<Endpoint>)> {
        let Some(check) = &self.settings.check else { return Vec::new() };
        let mut due = Vec::new();
        for kept in &mut self.kept {
            let at = *kept.check.due.get_or_insert(now);
            if due.len() < most && !kept.check.running && at <= now {
                kept.check.running = true;
                due.push((check.clone(), Arc::clone(&kept.member.endpoint)));
            }
        }
        due
    }

    /// When the next check is due, of those that are not on their way.
    pub(super) fn next_check(&self) -> Option<Instant> {
        self.settings.check.as_ref()?;
        self.kept.iter().filter(|kept| !kept.check.running).filter_map(|kept| kept.check.due).min()
    }

    /// The result of a check; says whether requests see something of it.
    pub(super) fn checked(&mut self, endpoint: &Endpoint, result: &Result<(), String>, now: Instant) -> bool {
        let State { settings, kept, .. } = self;
        let Some(check) = &settings.check else { return false };
        let Some(kept) = kept.iter_mut().find(|kept| kept.member.endpoint.id == endpoint.id) else { return false };
        kept.check.running = false;
        kept.check.due = Some(now + check.pause());
        if !kept.learns(result.is_ok(), check) {
            return false;
        }
        match result {
            Ok(()) => {
                tracing::info!(endpoint = %endpoint.address(), "endpoint is healthy again");
                kept.start(settings, now);
            }
            Err(why) => tracing::warn!(endpoint = %endpoint.address(), why, "endpoint is unhealthy"),
        }
        true
    }
}

impl Kept {
    /// Whether the endpoint is taken for something else after this result.
    fn learns(&mut self, good: bool, check: &HealthCheck) -> bool {
        let unhealthy = &self.member.unhealthy;
        let (taken_for_good, first) = (!unhealthy.load(Ordering::Relaxed), !self.check.checked);
        self.check.checked = true;
        if good == taken_for_good {
            self.check.differing = 0;
            return false;
        }
        self.check.differing += 1;
        // Nothing is known yet that the first result would have to outweigh.
        let enough = if first {
            1
        } else if good {
            check.healthy
        } else {
            check.unhealthy
        };
        if self.check.differing < enough {
            return false;
        }
        self.check.differing = 0;
        unhealthy.store(!good, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use agentgateway_proto::v1::{PolicySpec, policy_spec};

    use super::*;
    use crate::balancer::{Placed, Settings, Shared, Source};
    use crate::endpoint::{Connecting, EndpointRegistry};

    fn state() -> State {
        let check = v1::HealthCheck {
            interval_milliseconds: 1000,
            timeout_milliseconds: 500,
            unhealthy_threshold: 3,
            healthy_threshold: 2,
            check: Some(Check::Tcp(v1::health_check::Tcp {})),
        };
        let spec = PolicySpec { kind: Some(policy_spec::Kind::HealthCheck(check)) };
        let settings = Settings::compile(std::iter::once(&spec)).expect("compiles").expect("is set");
        let registry = EndpointRegistry::default();
        let placed = (1..=2)
            .map(|i| Placed { endpoint: registry.get(([10, 0, 0, i], 80).into(), &Connecting::default()), level: 0 })
            .collect();
        State::new(settings, Source::Fixed(placed), Arc::new(Shared::default()))
    }

    #[test]
    fn results_in_a_row_change_what_an_endpoint_is_taken_for() {
        let (mut state, now) = (state(), Instant::now());
        let endpoint = Arc::clone(&state.kept[0].member.endpoint);
        let mut result = |good: bool| {
            let result = if good { Ok(()) } else { Err("no".to_owned()) };
            state.checked(&endpoint, &result, now)
        };
        assert!(result(false), "the first result decides alone");
        assert!(!result(true) && !result(false) && !result(true), "two good ones in a row are needed");
        assert!(result(true));
        assert!(!result(false) && !result(false) && !result(true), "three bad ones in a row are needed");
        assert!(!result(false) && !result(false) && result(false));
    }

    #[test]
    fn checks_are_due_at_intervals_and_never_twice_at_a_time() {
        let (mut state, now) = (state(), Instant::now());
        assert_eq!(state.due_checks(now, 1).len(), 1, "no more than asked for");
        let rest = state.due_checks(now, 9);
        assert_eq!((rest.len(), state.due_checks(now, 9).len()), (1, 0));
        let at = |ms| now + Duration::from_millis(ms);
        state.checked(&rest[0].1, &Ok(()), now);
        assert!(state.due_checks(at(999), 9).is_empty());
        assert_eq!(state.due_checks(at(1101), 9).len(), 1);
        assert!(state.due_checks(at(60_000), 9).is_empty(), "both are on their way");
    }
}
