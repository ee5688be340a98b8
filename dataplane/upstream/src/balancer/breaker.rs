//! Circuit breakers: what one backend may have at a time of connections, waiting requests, requests and retries.
//!
//! Counted in atomics that all workers share; nobody waits for a lock. Only a request that waits for a connection waits,
//! for a bounded time and among a bounded number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::budget::Budget;
use super::settings::{Limits, Settings};
use crate::endpoint::since_start;
use crate::error::{Error, Kind};

/// Wakes the workers' pools: a request waits for a connection, and idle ones are to be given up.
pub(crate) static RECLAIM: Notify = Notify::const_new();

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Open connections.
    Connections,
    /// Requests that wait for a connection.
    Pending,
    /// Requests.
    Requests,
    /// Retries at one time, or in an interval.
    Retries,
}

impl Bound {
    /// All of them.
    pub const ALL: [Bound; 4] = [Bound::Connections, Bound::Pending, Bound::Requests, Bound::Retries];

    /// A word for labels.
    pub fn name(self) -> &'static str {
        match self {
            Bound::Connections => "connections",
            Bound::Pending => "pending_requests",
            Bound::Requests => "requests",
            Bound::Retries => "retries",
        }
    }
}

/// A number and its bound.
#[derive(Debug)]
struct Gauge {
    now: AtomicU32,
    most: AtomicU32,
    refused: AtomicU64,
}

impl Default for Gauge {
    fn default() -> Self {
        Gauge { now: AtomicU32::new(0), most: AtomicU32::new(u32::MAX), refused: AtomicU64::new(0) }
    }
}

impl Gauge {
    fn enter(&self) -> bool {
        if self.now.fetch_add(1, Ordering::Relaxed) < self.most.load(Ordering::Relaxed) {
            return true;
        }
        self.leave();
        false
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }

    fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// What all threads count of one backend.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    gauges: [Gauge; 4],
    /// Requests that wait for another connection to end.
    waiting: AtomicU32,
    freed: Notify,
    budget: ArcSwapOption<Budget>,
    /// Failures in a row from which an endpoint is looked at; 0: never.
    pub(super) consecutive_5xx: AtomicU32,
    pub(super) consecutive_gateway: AtomicU32,
    /// Wakes the keeper.
    pub(super) wake: Notify,
}

impl Shared {
    pub(super) fn configure(&self, settings: &Settings) {
        let Limits { connections, pending, requests, retries } = settings.limits;
        for (gauge, most) in self.gauges.iter().zip([connections, pending, requests, retries]) {
            gauge.most.store(most, Ordering::Relaxed);
        }
        let outlier = settings.outlier.as_ref();
        self.consecutive_5xx.store(outlier.map_or(0, |o| o.consecutive_5xx), Ordering::Relaxed);
        self.consecutive_gateway.store(outlier.map_or(0, |o| o.consecutive_gateway), Ordering::Relaxed);
        // What was counted goes on counting when the settings are the same.
        if self.budget.load().as_ref().map(|b| b.settings) != settings.budget {
            self.budget.store(settings.budget.map(|s| Arc::new(Budget::new(s))));
        }
        self.freed.notify_waiters();
    }

    fn gauge(&self, bound: Bound) -> &Gauge {
        let [connections, pending, requests, retries] = &self.gauges;
        match bound {
            Bound::Connections => connections,
            Bound::Pending => pending,
            Bound::Requests => requests,
            Bound::Retries => retries,
        }
    }

    /// How many there are now, and how often there would have been too many.
    pub(super) fn read(&self, bound: Bound) -> (u32, u64) {
        let gauge = self.gauge(bound);
        (gauge.now.load(Ordering::Relaxed), gauge.refused.load(Ordering::Relaxed))
    }

    /// Counts a try of a request for as long as the permit lives.
    pub(crate) fn request(self: &Arc<Self>) -> Result<Permit, Error> {
        if let Some(budget) = &*self.budget.load() {
            budget.request(since_start());
        }
        self.permit(Bound::Requests)
    }

    /// Whether a request may be sent again.
    pub(super) fn retry(self: &Arc<Self>) -> Option<Permit> {
        let permit = self.permit(Bound::Retries).ok()?;
        match &*self.budget.load() {
            // The try that follows is counted as a request; a retry is none.
            Some(budget) if !budget.retry(since_start()) => {
                self.gauge(Bound::Retries).refuse();
                None
            }
            _ => Some(permit),
        }
    }

    fn permit(self: &Arc<Self>, bound: Bound) -> Result<Permit, Error> {
        let gauge = self.gauge(bound);
        if gauge.enter() {
            return Ok(Permit { shared: Arc::clone(self), bound });
        }
        gauge.refuse();
        let most = gauge.most.load(Ordering::Relaxed);
        Err(Error::new(Kind::CircuitOpen, format!("the backend has {most} {} already", bound.name())))
    }

    /// A place among the connections, waited for as long as `patience`.
    pub(crate) async fn connection(self: &Arc<Self>, patience: Duration) -> Result<Permit, Error> {
        let gauge = self.gauge(Bound::Connections);
        let place = || gauge.enter().then(|| Permit { shared: Arc::clone(self), bound: Bound::Connections });
        if let Some(permit) = place() {
            return Ok(permit);
        }
        let _pending = self.permit(Bound::Pending)?;
        let _waiting = Waiting::new(self);
        let wait = async {
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                // From here on nothing is missed that is freed before the next line looks.
                freed.as_mut().enable();
                if let Some(permit) = place() {
                    return permit;
                }
                RECLAIM.notify_waiters();
                freed.await;
            }
        };
        tokio::time::timeout(patience, wait).await.map_err(|_| {
            gauge.refuse();
            let most = gauge.most.load(Ordering::Relaxed);
            Error::new(Kind::CircuitOpen, format!("all {most} connections of the backend stayed in use"))
        })
    }

    /// Whether a request waits for a connection, so that an idle one is to be given up.
    pub(crate) fn wants_connections(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

struct Waiting<'s>(&'s Shared);

impl<'s> Waiting<'s> {
    fn new(shared: &'s Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts one of what is bounded for as long as it lives.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    bound: Bound,
}

impl Permit {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.gauge(self.bound).leave();
        if self.bound == Bound::Connections {
            self.shared.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentgateway_proto::v1::{CircuitBreakers, PolicySpec, policy_spec};

    fn shared(breakers: CircuitBreakers) -> Arc<Shared> {
        let spec = PolicySpec { kind: Some(policy_spec::Kind::CircuitBreakers(breakers)) };
        let settings = Settings::compile(std::iter::once(&spec)).expect("compiles").expect("is set");
        let shared = Arc::new(Shared::default());
        shared.configure(&settings);
        shared
    }

    #[test]
    fn requests_above_the_bound_are_refused_until_one_ends() {
        let shared = shared(CircuitBreakers { max_requests: Some(2), ..Default::default() });
        let (first, _second) = (shared.request().expect("first"), shared.request().expect("second"));
        assert_eq!(shared.request().expect_err("third").kind, Kind::CircuitOpen);
        drop(first);
        assert!(shared.request().is_ok());
        assert_eq!(shared.read(Bound::Requests), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_a_connection() {
        let most = CircuitBreakers { max_connections: Some(1), max_pending_requests: Some(1), ..Default::default() };
        let (shared, patience) = (shared(most), Duration::from_secs(5));
        let held = shared.connection(patience).await.expect("first");
        let waiting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move { shared.connection(patience).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(shared.wants_connections());
        assert_eq!(shared.connection(patience).await.expect_err("one may wait").kind, Kind::CircuitOpen);
        drop(held);
        waiting.await.expect("ends").expect("gets the place");
        assert!(!shared.wants_connections());
        let _held = shared.connection(patience).await.expect("free again");
        assert_eq!(shared.connection(patience).await.expect_err("too long").kind, Kind::CircuitOpen);
    }
}
