//! Local rate limit: a token bucket of the whole process, in one atomic.
//!
//! A bucket holds at most `max_tokens` and gets `tokens_per_fill` at every fill. Instead of its level it keeps how many
//! tokens were ever taken, counted so that a full bucket has taken as many as were ever filled in: then filling costs
//! nothing, and taking is one compare-and-swap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentgateway_proto::v1;
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use crate::{Reason, Reply, State};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// A bucket's size and how it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    max_tokens: u64,
    tokens_per_fill: u64,
    fill_interval: Duration,
}

/// The level of a bucket, shared by all workers and by successive configurations.
#[derive(Debug)]
pub(crate) struct Bucket {
    parameters: Parameters,
    start: Instant,
    taken: AtomicU64,
}

impl Bucket {
    pub(crate) fn full(parameters: Parameters) -> Bucket {
        Bucket { parameters, start: Instant::now(), taken: AtomicU64::new(0) }
    }

    /// A bucket of other parameters with the level of this one, as far as it fits.
    pub(crate) fn with_parameters(&self, parameters: Parameters) -> Bucket {
        let level = self.level(Instant::now()).min(parameters.max_tokens);
        let bucket = Bucket::full(parameters);
        bucket.taken.store(parameters.max_tokens - level, Ordering::Relaxed);
        bucket
    }

    pub(crate) fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// Tokens that were ever filled in.
    fn filled(&self, now: Instant) -> u64 {
        let interval = self.parameters.fill_interval.as_nanos().max(1);
        let fills = now.saturating_duration_since(self.start).as_nanos() / interval;
        u64::try_from(fills).unwrap_or(u64::MAX).saturating_mul(self.parameters.tokens_per_fill)
    }

    /// Tokens in the bucket.
    fn level(&self, now: Instant) -> u64 {
        let filled = self.filled(now);
        let taken = self.taken.load(Ordering::Relaxed).max(filled);
        filled.saturating_add(self.parameters.max_tokens).saturating_sub(taken)
    }

    /// Takes one token, if there is one.
    fn take(&self, now: Instant) -> bool {
        let filled = self.filled(now);
        let most = filled.saturating_add(self.parameters.max_tokens);
        let take = |taken: u64| {
            let taken = taken.max(filled);
            (taken < most).then(|| taken.saturating_add(1))
        };
        // Relaxed: the counter guards no other memory.
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Time until the next fill.
    fn next_fill(&self, now: Instant) -> Duration {
        let interval = self.parameters.fill_interval.as_nanos().max(1);
        let left = interval - now.saturating_duration_since(self.start).as_nanos() % interval;
        Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

/// A compiled limit.
#[derive(Debug)]
pub(crate) struct RateLimit {
    bucket: Arc<Bucket>,
    origin: Arc<str>,
}

impl RateLimit {
    /// The bucket is the one that `state` keeps under `key`.
    pub(crate) fn compile(
        spec: &v1::LocalRateLimit,
        key: &str,
        origin: &str,
        state: &State,
    ) -> Result<RateLimit, String> {
        if spec.max_tokens == 0 || spec.tokens_per_fill == 0 || spec.fill_interval_milliseconds == 0 {
            return Err("maxTokens, tokensPerFill and fillInterval must be more than 0".into());
        }
        let parameters = Parameters {
            max_tokens: spec.max_tokens,
            tokens_per_fill: spec.tokens_per_fill,
            fill_interval: Duration::from_millis(spec.fill_interval_milliseconds),
        };
        Ok(RateLimit { bucket: state.bucket(key, parameters), origin: origin.into() })
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) fn on_request(&self) -> Result<(), Reply> {
        let now = Instant::now();
        if self.bucket.take(now) {
            return Ok(());
        }
        let mut reply = Reply::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate limit exceeded",
            Reason::RateLimited(Arc::clone(&self.origin)),
        );
        let headers = reply.response.headers_mut();
        // Rounded up: whoever comes back after that many seconds finds the bucket filled.
        let seconds = HeaderValue::from(self.bucket.next_fill(now).as_millis().div_ceil(1000).max(1) as u64);
        headers.insert(header::RETRY_AFTER, seconds.clone());
        headers.insert(LIMIT, HeaderValue::from(self.bucket.parameters.max_tokens));
        headers.insert(REMAINING, HeaderValue::from(0));
        headers.insert(RESET, seconds);
        Err(reply)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn spec(max_tokens: u64, tokens_per_fill: u64, fill_interval_milliseconds: u64) -> v1::LocalRateLimit {
        v1::LocalRateLimit { max_tokens, tokens_per_fill, fill_interval_milliseconds }
    }

    fn allowed(limit: &RateLimit, tries: usize) -> usize {
        (0..tries).filter(|_| limit.on_request().is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_as_much_as_is_filled_and_never_more_than_fits() {
        let state = State::new();
        let limit = RateLimit::compile(&spec(5, 2, 1000), "k", "p", &state).expect("compiles");
        assert_eq!(allowed(&limit, 10), 5);
        advance(Duration::from_millis(999)).await;
        assert_eq!(allowed(&limit, 10), 0);
        advance(Duration::from_millis(1)).await;
        assert_eq!(allowed(&limit, 10), 2);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(allowed(&limit, 10), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_says_when_to_come_back() {
        let state = State::new();
        let limit = RateLimit::compile(&spec(1, 1, 60_000), "k", "p", &state).expect("compiles");
        assert_eq!(allowed(&limit, 1), 1);
        advance(Duration::from_millis(18_500)).await;
        let reply = limit.on_request().expect_err("is refused");
        assert_eq!(reply.response.status(), 429);
        let header = |name: &str| reply.response.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(
            ["retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(header),
            ["42", "1", "0", "42"]
        );
        advance(Duration::from_secs(42)).await;
        assert_eq!(allowed(&limit, 2), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_fills_nothing() {
        let state = State::new();
        let compile = |max| RateLimit::compile(&spec(max, 1, 1000), "k", "p", &state).expect("compiles");
        let first = compile(4);
        assert_eq!(allowed(&first, 3), 3);
        let same = compile(4);
        assert_eq!(allowed(&same, 10), 1);
        drop(first);
        let larger = compile(10);
        assert_eq!(allowed(&larger, 20), 0, "a level is kept when the size changes");
        drop((same, larger));
        assert_eq!(allowed(&compile(4), 10), 4, "a limit that was gone starts full");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shrunk_bucket_holds_no_more_than_fits() {
        let state = State::new();
        let large = RateLimit::compile(&spec(100, 1, 1000), "k", "p", &state).expect("compiles");
        let small = RateLimit::compile(&spec(3, 1, 1000), "k", "p", &state).expect("compiles");
        assert_eq!(allowed(&small, 10), 3);
        drop(large);
    }

    #[test]
    fn threads_share_one_bucket() {
        let state = State::new();
        let limit = RateLimit::compile(&spec(1000, 1, 3_600_000), "k", "p", &state).expect("compiles");
        let sum: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| allowed(&limit, 500))).collect();
            threads.into_iter().map(|t| t.join().expect("ends")).sum()
        });
        assert_eq!(sum, 1000);
    }

    #[test]
    fn refuses_a_bucket_that_never_fills() {
        let state = State::new();
        for bad in [spec(0, 1, 1), spec(1, 0, 1), spec(1, 1, 0)] {
            assert!(RateLimit::compile(&bad, "k", "p", &state).is_err());
        }
    }
}
