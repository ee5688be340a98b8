//! The policies of one backend about its endpoints, compiled.

use std::time::Duration;

use agentgateway_proto::v1::{self, load_balancer, policy_spec::Kind};

use super::check::HealthCheck;
use crate::limits;

/// What is set for a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub(super) outlier: Option<Outlier>,
    pub(super) limits: Limits,
    pub(super) budget: Option<BudgetSettings>,
    pub(super) algorithm: Algorithm,
    /// In percent.
    pub(super) panic: usize,
    pub(super) slow_start: Option<SlowStart>,
    pub(super) prefer_local: bool,
    pub(super) check: Option<HealthCheck>,
}

/// When endpoints are ejected, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outlier {
    /// 0: never.
    pub(super) consecutive_5xx: u32,
    /// 0: never.
    pub(super) consecutive_gateway: u32,
    pub(super) interval: Duration,
    pub(super) base: Duration,
    pub(super) max: Duration,
    /// In percent.
    pub(super) max_ejected: usize,
}

/// Bounds; `u32::MAX` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) connections: u32,
    pub(super) pending: u32,
    pub(super) requests: u32,
    pub(super) retries: u32,
}

/// How many retries first tries allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BudgetSettings {
    pub(super) percent: i64,
    pub(super) interval: Duration,
    pub(super) min_retries: u32,
    pub(super) min_interval: Duration,
}

/// Which endpoint a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// Of so many drawn, the one with the fewest requests; of one, any.
    LeastRequest(usize),
    RoundRobin,
    /// By a hash of the request, on a ring of at least and at most so many points.
    Ring(usize, usize),
    Maglev,
}

/// How endpoints that are new, or back, get their share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SlowStart {
    pub(super) window: Duration,
    /// From 0 to 1.
    pub(super) least: f64,
    pub(super) exponent: f64,
}

impl SlowStart {
    /// The share, up to 1, of an endpoint that serves for so long.
    pub(super) fn share(&self, serves: Duration) -> f64 {
        let part = serves.as_secs_f64() / self.window.as_secs_f64();
        if part >= 1.0 { 1.0 } else { part.powf(self.exponent).max(self.least) }
    }
}

impl Settings {
    /// What the policies set; the most specific of each kind come first. None where none of them is about endpoints.
    ///
    /// # Errors
    /// What is wrong with one.
    pub fn compile<'a>(specs: impl Iterator<Item = &'a v1::PolicySpec>) -> Result<Option<Settings>, String> {
        let (mut outlier, mut breakers, mut budget, mut balancer, mut check) = (None, None, None, None, None);
        for spec in specs {
            match &spec.kind {
                Some(Kind::OutlierDetection(spec)) => drop(outlier.get_or_insert(spec)),
                Some(Kind::CircuitBreakers(spec)) => drop(breakers.get_or_insert(spec)),
                Some(Kind::RetryConstraint(spec)) => drop(budget.get_or_insert(spec)),
                Some(Kind::LoadBalancer(spec)) => drop(balancer.get_or_insert(spec)),
                Some(Kind::HealthCheck(spec)) => drop(check.get_or_insert(spec)),
                _ => {}
            }
        }
        if outlier.is_none() && breakers.is_none() && budget.is_none() && balancer.is_none() && check.is_none() {
            return Ok(None);
        }
        let balancer = balancer.cloned().unwrap_or_default();
        Ok(Some(Settings {
            outlier: outlier.map(Outlier::compile).transpose()?,
            limits: Limits::compile(breakers),
            budget: budget.map(BudgetSettings::compile).transpose()?,
            algorithm: algorithm(balancer.algorithm.as_ref())?,
            panic: percent(balancer.healthy_panic_percent, 50, "healthy_panic_percent")?,
            slow_start: balancer.slow_start.as_ref().map(slow_start).transpose()?,
            prefer_local: balancer.prefer_local,
            check: check.map(HealthCheck::compile).transpose()?,
        }))
    }

    /// What holds for a backend without policies whose endpoints have levels.
    pub fn plain() -> Settings {
        Settings {
            outlier: None,
            limits: Limits::compile(None),
            budget: None,
            algorithm: Algorithm::LeastRequest(2),
            panic: 50,
            slow_start: None,
            prefer_local: false,
            check: None,
        }
    }

    /// Whether endpoints near the proxy come before others.
    pub fn prefers_local(&self) -> bool {
        self.prefer_local
    }
}

impl Outlier {
    fn compile(spec: &v1::OutlierDetection) -> Result<Outlier, String> {
        let base = milliseconds(spec.base_ejection_milliseconds, 30_000);
        let max = milliseconds(spec.max_ejection_milliseconds, 300_000).max(base);
        let interval = milliseconds(spec.interval_milliseconds, 10_000);
        if base.is_zero() || interval.is_zero() {
            return Err("outlier detection: the ejection time and the interval must be more than zero".into());
        }
        Ok(Outlier {
            consecutive_5xx: spec.consecutive_5xx.unwrap_or(5),
            consecutive_gateway: spec.consecutive_gateway_errors.unwrap_or(0),
            interval,
            base,
            max,
            max_ejected: percent(spec.max_ejection_percent, 10, "max_ejection_percent")?,
        })
    }
}

impl Limits {
    fn compile(spec: Option<&v1::CircuitBreakers>) -> Limits {
        let of = |limit: Option<u32>| limit.unwrap_or(u32::MAX);
        let spec = spec.copied().unwrap_or_default();
        let pending = spec.max_pending_requests.or(spec.max_connections.map(|_| limits::DEFAULT_MAX_PENDING));
        Limits {
            connections: of(spec.max_connections),
            pending: of(pending),
            requests: of(spec.max_requests),
            retries: of(spec.max_retries),
        }
    }
}

impl BudgetSettings {
    fn compile(spec: &v1::RetryConstraint) -> Result<BudgetSettings, String> {
        let interval = milliseconds(spec.interval_milliseconds, 10_000);
        let min_interval = milliseconds(spec.min_interval_milliseconds, 1_000);
        if interval < limits::MIN_BUDGET_INTERVAL || min_interval < limits::MIN_BUDGET_INTERVAL {
            let least = limits::MIN_BUDGET_INTERVAL.as_millis();
            return Err(format!("retry constraint: intervals must be {least} ms at least"));
        }
        let percent = percent(spec.percent, 20, "percent")?;
        let min_retries = spec.min_retries.unwrap_or(10);
        Ok(BudgetSettings { percent: percent as i64, interval, min_retries, min_interval })
    }
}

fn algorithm(spec: Option<&load_balancer::Algorithm>) -> Result<Algorithm, String> {
    use load_balancer::Algorithm as Spec;
    Ok(match spec {
        None => Algorithm::LeastRequest(2),
        Some(Spec::LeastRequest(spec)) => match spec.choices.unwrap_or(2) {
            choices @ 2..=limits::MAX_CHOICES => Algorithm::LeastRequest(choices as usize),
            n => return Err(format!("load balancer: {n} choices; 2 to {} are allowed", limits::MAX_CHOICES)),
        },
        Some(Spec::RoundRobin(_)) => Algorithm::RoundRobin,
        Some(Spec::Random(_)) => Algorithm::LeastRequest(1),
        Some(Spec::RingHash(spec)) => {
            let (least, most) = (spec.minimum_ring_size.unwrap_or(1024), spec.maximum_ring_size.unwrap_or(65_536));
            if least == 0 || least > most || most > limits::MAX_RING {
                let most = limits::MAX_RING;
                return Err(format!("load balancer: a ring has 1 to {most} points, and its minimum is the smaller"));
            }
            Algorithm::Ring(least as usize, most as usize)
        }
        Some(Spec::Maglev(_)) => Algorithm::Maglev,
    })
}

fn slow_start(spec: &load_balancer::SlowStart) -> Result<SlowStart, String> {
    let aggression = spec.aggression_thousandths.unwrap_or(1000);
    if spec.window_milliseconds == 0 || aggression == 0 {
        return Err("slow start: the window and the aggression must be more than zero".into());
    }
    let least = percent(spec.min_weight_percent, 10, "min_weight_percent")?.max(1);
    Ok(SlowStart {
        window: Duration::from_millis(spec.window_milliseconds),
        least: least as f64 / 100.0,
        exponent: 1000.0 / f64::from(aggression),
    })
}

fn milliseconds(set: Option<u64>, default: u64) -> Duration {
    Duration::from_millis(set.unwrap_or(default))
}

fn percent(set: Option<u32>, default: u32, field: &str) -> Result<usize, String> {
    match set.unwrap_or(default) {
        n @ 0..=100 => Ok(n as usize),
        n => Err(format!("{field}: {n} is more than 100")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(kinds: Vec<Kind>) -> Result<Option<Settings>, String> {
        let specs: Vec<_> = kinds.into_iter().map(|kind| v1::PolicySpec { kind: Some(kind) }).collect();
        Settings::compile(specs.iter())
    }

    #[test]
    fn the_first_of_each_kind_counts_and_other_policies_set_nothing() {
        assert_eq!(compile(vec![Kind::Timeouts(v1::Timeouts::default())]), Ok(None));
        let breakers = |n| Kind::CircuitBreakers(v1::CircuitBreakers { max_requests: Some(n), ..Default::default() });
        let settings = compile(vec![breakers(7), breakers(9)]).expect("compiles").expect("is set");
        assert_eq!((settings.limits.requests, settings.limits.connections), (7, u32::MAX));
        assert_eq!(settings.limits.pending, u32::MAX, "nothing waits where connections have no bound");
        assert_eq!((settings.algorithm, settings.panic), (Algorithm::LeastRequest(2), 50));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let ring = |least, most| {
            let ring = load_balancer::RingHash { minimum_ring_size: least, maximum_ring_size: most };
            let algorithm = Some(load_balancer::Algorithm::RingHash(ring));
            compile(vec![Kind::LoadBalancer(v1::LoadBalancer { algorithm, ..Default::default() })])
        };
        assert!(ring(Some(10), Some(5)).is_err() && ring(None, Some(u32::MAX)).is_err() && ring(None, None).is_ok());
        let outlier = v1::OutlierDetection { max_ejection_percent: Some(101), ..Default::default() };
        assert!(compile(vec![Kind::OutlierDetection(outlier)]).is_err());
        let zero = v1::RetryConstraint { interval_milliseconds: Some(0), ..Default::default() };
        assert!(compile(vec![Kind::RetryConstraint(zero)]).is_err());
    }

    #[test]
    fn a_new_endpoints_share_grows() {
        let slow = SlowStart { window: Duration::from_secs(10), least: 0.1, exponent: 1.0 };
        let share = |ms| slow.share(Duration::from_millis(ms));
        assert_eq!((share(0), share(500), share(5000), share(20_000)), (0.1, 0.1, 0.5, 1.0));
    }
}
