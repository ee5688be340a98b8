//! The circuit breaker of a target: after failures in a row it is not asked for a while, and then by one request at a
//! time, until one is answered.
//!
//! A failure is no connection, no answer in time, an answer that is not of the protocol, or an HTTP status from 500 on. A
//! refusal by the target (an error of JSON-RPC, another HTTP status) is an answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentgateway_proto::v1;
use tokio::time::Instant;

use crate::fault::{Fault, Kind};
use crate::lock;
use crate::metrics::TargetMetrics;

/// Failures in a row that open it, where the configuration names no number.
const FAILURES: u32 = 5;
/// How long it stays open, where the configuration names no time.
const OPEN: Duration = Duration::from_secs(30);

/// Shared by all threads.
#[derive(Debug)]
pub(crate) struct Breaker {
    target: Arc<str>,
    most_failures: u32,
    open_for: Duration,
    state: Mutex<State>,
    metrics: Arc<TargetMetrics>,
}

#[derive(Debug)]
enum State {
    Closed {
        /// In a row.
        failures: u32,
    },
    Open {
        /// When the next request may try.
        until: Instant,
        /// One has tried, and is not answered yet.
        is_tried: bool,
    },
}

impl Breaker {
    pub(crate) fn new(target: &Arc<str>, spec: v1::McpCircuitBreaker, metrics: &Arc<TargetMetrics>) -> Self {
        metrics.circuit(false);
        Self {
            target: Arc::clone(target),
            most_failures: spec.consecutive_failures.unwrap_or(FAILURES).max(1),
            open_for: spec.duration_milliseconds.map_or(OPEN, Duration::from_millis),
            state: Mutex::new(State::Closed { failures: 0 }),
            metrics: Arc::clone(metrics),
        }
    }

    /// Lets a request or a handshake through, or says that the target is not asked now.
    pub(crate) fn enter(&self) -> Result<(), Fault> {
        let mut state = lock(&self.state);
        let State::Open { until, is_tried } = &mut *state else { return Ok(()) };
        let now = Instant::now();
        if now >= *until {
            // A try that nobody settles, because its client went away, does not hold up the next one for ever.
            (*until, *is_tried) = (now + self.open_for, true);
            return Ok(());
        }
        let left = until.duration_since(now);
        drop(state);
        self.metrics.circuit_refused();
        let message = format!("has failed too often; it is not asked for the next {} s", left.as_secs() + 1);
        Err(Fault::new(&self.target, Kind::CircuitOpen, message))
    }

    /// A try has more than one step, and one of them was done: the next one may begin.
    pub(crate) fn go_on(&self) {
        if let State::Open { until, is_tried: true } = &mut *lock(&self.state) {
            *until = Instant::now();
        }
    }

    /// The target has answered.
    pub(crate) fn succeed(&self) {
        let mut state = lock(&self.state);
        match &*state {
            State::Closed { failures: 0 } | State::Open { is_tried: false, .. } => {}
            State::Closed { .. } => *state = State::Closed { failures: 0 },
            State::Open { .. } => {
                *state = State::Closed { failures: 0 };
                drop(state);
                self.metrics.circuit(false);
                tracing::info!(mcp_target = %self.target, "circuit closed: the target answers again");
            }
        }
    }

    /// The target has failed.
    pub(crate) fn fail(&self) {
        let mut state = lock(&self.state);
        let until = Instant::now() + self.open_for;
        match &mut *state {
            State::Closed { failures } if *failures + 1 < self.most_failures => *failures += 1,
            State::Closed { .. } => {
                *state = State::Open { until, is_tried: false };
                drop(state);
                self.metrics.circuit(true);
                let seconds = self.open_for.as_secs_f64();
                let failures = self.most_failures;
                tracing::warn!(mcp_target = %self.target, failures, seconds, "circuit opened: the target failed too often");
            }
            State::Open { is_tried: true, .. } => {
                *state = State::Open { until, is_tried: false };
                drop(state);
                tracing::info!(mcp_target = %self.target, "circuit stays open: the target failed again");
            }
            State::Open { .. } => {}
        }
    }

    /// Takes account of a failed exchange.
    pub(crate) fn settle(&self, fault: &Fault) {
        match &fault.kind {
            Kind::Unreachable | Kind::Broken | Kind::Timeout | Kind::Protocol => self.fail(),
            Kind::Status(refused) if refused.status.is_server_error() => self.fail(),
            Kind::Status(_) | Kind::Rpc(_) => self.succeed(),
            // Says nothing of the target.
            Kind::SessionGone | Kind::Overloaded | Kind::CircuitOpen => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn breaker() -> Breaker {
        let spec = v1::McpCircuitBreaker { consecutive_failures: Some(2), duration_milliseconds: Some(10_000) };
        Breaker::new(&"t".into(), spec, &Arc::new(Metrics::default()).target("b", "t"))
    }

    #[tokio::test(start_paused = true)]
    async fn opens_and_closes() {
        let breaker = breaker();
        let advance = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        breaker.fail();
        breaker.succeed();
        breaker.fail();
        assert!(breaker.enter().is_ok(), "two failures, but not in a row");
        breaker.fail();
        let fault = breaker.enter().unwrap_err();
        assert_eq!(fault.reason(), "circuit_open");
        // A late answer to what was asked before does not close it.
        breaker.succeed();
        advance(9).await;
        assert!(breaker.enter().is_err());
        advance(2).await;
        assert!(breaker.enter().is_ok());
        assert!(breaker.enter().is_err(), "one tries, not two");
        breaker.fail();
        advance(9).await;
        assert!(breaker.enter().is_err());
        advance(2).await;
        assert!(breaker.enter().is_ok());
        // The handshake is done, the request follows.
        breaker.go_on();
        assert!(breaker.enter().is_ok());
        assert!(breaker.enter().is_err());
        breaker.succeed();
        assert!(breaker.enter().is_ok() && breaker.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_without_an_end_is_followed_by_another() {
        let breaker = breaker();
        breaker.fail();
        breaker.fail();
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(10)).await;
            assert!(breaker.enter().is_ok());
            assert!(breaker.enter().is_err());
        }
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let breaker = breaker();
        let fault = |kind| Fault::new(&"t".into(), kind, "x");
        for _ in 0..4 {
            breaker.settle(&fault(Kind::Timeout));
            breaker.settle(&fault(Kind::Rpc("{}".into())));
        }
        assert!(breaker.enter().is_ok());
        breaker.settle(&fault(Kind::Broken));
        breaker.settle(&fault(Kind::Unreachable));
        assert!(breaker.enter().is_err());
    }
}
