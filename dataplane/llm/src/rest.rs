//! A sick provider rests for a while: after failures in a row, or for as long as it asks.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::limits::{FAILURES_UNTIL_REST, FIRST_REST, LONGEST_REST};

/// State of one provider, shared by all workers. It outlives changes of configuration that leave the provider as it is.
#[derive(Debug)]
pub(crate) struct Rest {
    start: Instant,
    /// In milliseconds after `start`; 0 when it never rested.
    until: AtomicU64,
    failures: AtomicU32,
}

impl Default for Rest {
    fn default() -> Self {
        Rest { start: Instant::now(), until: AtomicU64::new(0), failures: AtomicU32::new(0) }
    }
}

impl Rest {
    /// How long it still rests.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        let until = self.until.load(Ordering::Relaxed);
        until.checked_sub(self.millis(now)).filter(|left| *left > 0).map(Duration::from_millis)
    }

    /// It answered.
    pub(crate) fn succeeded(&self) {
        // Loads are enough almost always, and keep the cache line shared.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.until.load(Ordering::Relaxed) != 0 {
            self.until.store(0, Ordering::Relaxed);
        }
    }

    /// It failed; `asked` is what its `Retry-After` said. Whether it rests now, and did not before.
    pub(crate) fn failed(&self, now: Instant, asked: Option<Duration>) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let own = match failures.checked_sub(FAILURES_UNTIL_REST) {
            Some(more) => FIRST_REST.saturating_mul(1 << more.min(6)),
            None => Duration::ZERO,
        };
        let rest = asked.unwrap_or_default().max(own).min(LONGEST_REST);
        if rest.is_zero() {
            return false;
        }
        let rested = self.left(now).is_some();
        let millis = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
        self.until.fetch_max(self.millis(now).saturating_add(millis), Ordering::Relaxed);
        !rested
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_make_it_rest_longer_and_longer() {
        let (rest, now) = (Rest::default(), Instant::now());
        assert!(!rest.failed(now, None) && !rest.failed(now, None));
        assert_eq!(rest.left(now), None);
        assert!(rest.failed(now, None), "it begins to rest");
        assert!(rest.left(now).is_some_and(|left| left <= FIRST_REST && left > FIRST_REST / 2));
        assert!(!rest.failed(now, None), "it rests already");
        assert!(rest.left(now).is_some_and(|left| left > FIRST_REST));
        assert_eq!(rest.left(now + LONGEST_REST), None);
        for _ in 0..100 {
            rest.failed(now, None);
        }
        assert!(rest.left(now).is_some_and(|left| left <= LONGEST_REST));
    }

    #[test]
    fn it_rests_as_long_as_it_asks_and_an_answer_ends_that() {
        let (rest, now) = (Rest::default(), Instant::now());
        assert!(rest.failed(now, Some(Duration::from_secs(2))));
        assert!(rest.left(now).is_some());
        assert_eq!(rest.left(now + Duration::from_secs(3)), None);
        rest.failed(now, Some(Duration::from_secs(1 << 30)));
        assert!(rest.left(now).is_some_and(|left| left <= LONGEST_REST));
        rest.succeeded();
        assert_eq!(rest.left(now), None);
        assert!(!rest.failed(now, None));
    }
}
