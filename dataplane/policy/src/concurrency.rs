//! Concurrency limit: how many requests are served at a time, of all workers together; by key of the request, if there is one.
//!
//! A request holds its permit until the last byte of its response is sent, also over retries and switched protocols.

use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentgateway_proto::v1;
use ahash::HashMap;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use smallvec::SmallVec;

use crate::limits::IN_FLIGHT_SHARDS;
use crate::rate_limit::Keys;
use crate::{LimitCounters, Reason, Reply, RequestContext, State};

type Counts = HashMap<Box<[u8]>, u32>;

/// What is being served: requests or connections, by key. A key without any takes no memory, so there are never more keys than
/// of these.
#[derive(Debug)]
pub struct InFlight {
    /// Of limits without a key.
    all: AtomicU32,
    secret: RandomState,
    shards: Box<[Mutex<Counts>]>,
}

impl Default for InFlight {
    fn default() -> InFlight {
        let shards = (0..IN_FLIGHT_SHARDS).map(|_| Mutex::default()).collect();
        InFlight { all: AtomicU32::new(0), secret: RandomState::new(), shards }
    }
}

impl InFlight {
    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Counts> {
        let index = usize::try_from(self.secret.hash_one(key) % self.shards.len() as u64).unwrap_or_default();
        self.shards.get(index).unwrap_or(&self.shards[0]).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, until the permits are dropped; None: there are `max` already. Those with a key are counted apart from
    /// those without.
    pub fn enter(self: &Arc<Self>, key: Option<Vec<u8>>, max: u32) -> Option<Permits> {
        let key = match key {
            None => {
                let enter = |now: u32| (now < max).then_some(now + 1);
                // Relaxed: the counter guards no other memory.
                self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).ok()?;
                None
            }
            Some(key) => {
                let key: Box<[u8]> = key.into();
                let mut shard = self.shard(&key);
                let count = shard.entry(key.clone()).or_insert(0);
                if *count >= max {
                    return None;
                }
                *count += 1;
                Some(key)
            }
        };
        let mut permits = Permits::default();
        permits.0.push(Permit { of: Arc::clone(self), key });
        Some(permits)
    }
}

/// A request that is being served.
#[derive(Debug)]
struct Permit {
    of: Arc<InFlight>,
    key: Option<Box<[u8]>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else {
            self.of.all.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        let mut shard = self.of.shard(&key);
        if let Entry::Occupied(mut entry) = shard.entry(key) {
            match entry.get().saturating_sub(1) {
                0 => drop(entry.remove()),
                left => *entry.get_mut() = left,
            }
        }
    }
}

/// What a request holds of concurrency limits, until this is dropped.
#[derive(Debug, Default)]
pub struct Permits(SmallVec<[Permit; 1]>);

impl Permits {
    /// Holds these as well.
    pub fn append(&mut self, mut other: Permits) {
        self.0.append(&mut other.0);
    }
}

impl Clone for Permits {
    /// A copy of a request's context is the same request, and is counted once.
    fn clone(&self) -> Permits {
        Permits::default()
    }
}

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimit {
    in_flight: Arc<InFlight>,
    max: u32,
    key: Keys,
    status: StatusCode,
    retry_after: HeaderValue,
    origin: Arc<str>,
    counters: Arc<LimitCounters>,
}

impl ConcurrencyLimit {
    /// Counts with whatever `state` keeps under `name`.
    pub(crate) fn compile(
        spec: &v1::ConcurrencyLimit,
        name: &str,
        origin: &str,
        state: &State,
    ) -> Result<ConcurrencyLimit, String> {
        if spec.max_requests == 0 {
            return Err("maxRequests must be more than 0".into());
        }
        let status = match spec.status_code {
            0 | 503 => StatusCode::SERVICE_UNAVAILABLE,
            429 => StatusCode::TOO_MANY_REQUESTS,
            other => return Err(format!("statusCode {other} is neither 429 nor 503")),
        };
        Ok(ConcurrencyLimit {
            // With another key the counts mean something else.
            in_flight: state.in_flight(&format!("{name} {:?}", spec.key)),
            max: spec.max_requests,
            key: Keys::compile(&spec.key)?,
            status,
            retry_after: HeaderValue::from(spec.retry_after_seconds.max(1)),
            origin: origin.into(),
            counters: state.limit_counters(),
        })
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) fn on_request(&self, head: &Parts, context: &mut RequestContext) -> Result<(), Reply> {
        let key = (!self.key.is_empty()).then(|| self.key.bytes(&context.input(head)));
        if let Some(permit) = self.in_flight.enter(key, self.max) {
            context.permits.append(permit);
            return Ok(());
        }
        self.counters.concurrency_limited.fetch_add(1, Ordering::Relaxed);
        let reason = Reason::ConcurrencyLimited(Arc::clone(&self.origin));
        let mut reply = Reply::new(self.status, "too many requests are being served", reason);
        reply.response.headers_mut().insert(header::RETRY_AFTER, self.retry_after.clone());
        Err(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, request};

    fn compile(max_requests: u32, key: &[&str], state: &State) -> ConcurrencyLimit {
        let key = key.iter().map(|k| (*k).to_owned()).collect();
        let spec = v1::ConcurrencyLimit { max_requests, key, ..Default::default() };
        ConcurrencyLimit::compile(&spec, "k", "p", state).expect("compiles")
    }

    fn enter(limit: &ConcurrencyLimit, user: &str) -> Result<RequestContext, Box<Reply>> {
        let mut context = context();
        limit.on_request(&request("GET", "/", &[("x-user", user)]), &mut context).map(|()| context).map_err(Box::new)
    }

    #[test]
    fn a_place_is_free_again_when_the_request_is_over() {
        let limit = compile(2, &[], &State::new());
        let first = enter(&limit, "a").expect("is served");
        let second = enter(&limit, "b").expect("is served");
        let reply = enter(&limit, "c").expect_err("is refused");
        assert_eq!(
            (reply.response.status().as_u16(), &reply.response.headers()["retry-after"]),
            (503, &"1".parse().expect("text"))
        );
        drop(first.clone());
        assert!(enter(&limit, "c").is_err(), "a copy of a context holds nothing, and gives nothing back");
        drop(first);
        assert!(enter(&limit, "c").is_ok());
        drop(second);
    }

    #[test]
    fn every_key_has_places_of_its_own_and_leaves_nothing_behind() {
        let limit = compile(1, &["request.headers['x-user']"], &State::new());
        let held: Vec<_> = (0..100).map(|i| enter(&limit, &i.to_string()).expect("is served")).collect();
        assert!(enter(&limit, "7").is_err());
        drop(held);
        assert!(enter(&limit, "7").is_ok());
        let left: usize = limit.in_flight.shards.iter().map(|s| s.lock().expect("locks").len()).sum();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_reload_forgets_no_request() {
        let state = State::new();
        let limit = compile(2, &[], &state);
        let held = enter(&limit, "a").expect("is served");
        let smaller = compile(1, &[], &state);
        assert!(enter(&smaller, "b").is_err());
        drop((held, limit));
        assert!(enter(&smaller, "b").is_ok());
    }

    #[test]
    fn threads_never_exceed_it_together() {
        let (limit, most) = (compile(3, &[], &State::new()), AtomicU32::new(0));
        let now = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let Ok(held) = enter(&limit, "a") else { continue };
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        now.fetch_sub(1, Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
        assert!((1..=3).contains(&most.into_inner()));
        assert_eq!(limit.in_flight.all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_cannot_be_meant_does_not_compile() {
        let compile = |spec| ConcurrencyLimit::compile(&spec, "k", "p", &State::new()).is_err();
        assert!(compile(v1::ConcurrencyLimit::default()));
        assert!(compile(v1::ConcurrencyLimit { max_requests: 1, status_code: 200, ..Default::default() }));
        assert!(compile(v1::ConcurrencyLimit { max_requests: 1, key: vec!["x".into()], ..Default::default() }));
    }
}
