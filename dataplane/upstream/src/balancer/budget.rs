//! The retry budget: how many retries a backend gets, as a share of its requests within an interval, and a least rate
//! beside it (GEP-3388). Counted per try, so that it holds however fast tries fail.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use super::settings::BudgetSettings;

const PARTS: usize = 10;

/// Counts of one part of the interval.
#[derive(Debug, Default)]
struct Part {
    /// Number of the part since the start of the process.
    number: AtomicU64,
    /// First tries; for a moment below zero when a retry is allowed before its try is counted.
    requests: AtomicI32,
    retries: AtomicI32,
}

/// Counts of an interval that moves in parts of a tenth. Threads that begin a part at one moment may lose a count.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) settings: BudgetSettings,
    parts: [Part; PARTS],
    /// Number of the least rate's interval, and what was taken in it.
    least: AtomicU64,
}

impl Budget {
    pub(super) fn new(settings: BudgetSettings) -> Self {
        Budget { settings, parts: Default::default(), least: AtomicU64::new(0) }
    }

    /// A try; `now` is the time since some moment.
    pub(super) fn request(&self, now: Duration) {
        if let Some(part) = self.part(now) {
            part.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether there may be a retry now; if so it is counted, and the try that follows is not one of those that count.
    pub(super) fn retry(&self, now: Duration) -> bool {
        let Some(part) = self.part(now) else { return false };
        let current = part.number.load(Ordering::Relaxed);
        let (mut requests, mut retries) = (0_i64, 0_i64);
        for part in &self.parts {
            if part.number.load(Ordering::Relaxed) + PARTS as u64 > current {
                requests += i64::from(part.requests.load(Ordering::Relaxed));
                retries += i64::from(part.retries.load(Ordering::Relaxed));
            }
        }
        let allowed = (retries + 1) * 100 <= requests * self.settings.percent;
        if !allowed && !self.least(now) {
            return false;
        }
        // What the least rate gave is no part of the share.
        part.retries.fetch_add(i32::from(allowed), Ordering::Relaxed);
        part.requests.fetch_sub(1, Ordering::Relaxed);
        true
    }

    fn part(&self, now: Duration) -> Option<&Part> {
        let width = (self.settings.interval.as_nanos() / PARTS as u128).max(1);
        // From 1: what is 0 was never used.
        let number = u64::try_from(now.as_nanos() / width).unwrap_or(u64::MAX - 1) + 1;
        let part = self.parts.get(usize::try_from(number % PARTS as u64).ok()?)?;
        let was = part.number.load(Ordering::Relaxed);
        if was != number && part.number.compare_exchange(was, number, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            part.requests.store(0, Ordering::Relaxed);
            part.retries.store(0, Ordering::Relaxed);
        }
        Some(part)
    }

    /// Takes one of the retries that are allowed in any case.
    fn least(&self, now: Duration) -> bool {
        let number = now.as_nanos() / self.settings.min_interval.as_nanos().max(1);
        let number = u64::from(u32::try_from(number & u128::from(u32::MAX)).unwrap_or(0));
        let take = |packed: u64| {
            let (of, taken) = (packed >> 32, packed & u64::from(u32::MAX));
            let taken = if of == number { taken } else { 0 };
            (taken < u64::from(self.settings.min_retries)).then_some((number << 32) | (taken + 1))
        };
        self.least.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(percent: i64, min_retries: u32) -> Budget {
        let (interval, min_interval) = (Duration::from_secs(10), Duration::from_secs(1));
        Budget::new(BudgetSettings { percent, interval, min_retries, min_interval })
    }

    #[test]
    fn retries_are_a_share_of_the_interval() {
        let budget = budget(20, 0);
        let at = Duration::from_millis;
        assert!(!budget.retry(at(0)), "without a request there is no retry");
        let mut retries = 0;
        for n in 0..1000 {
            budget.request(at(n));
            while budget.retry(at(n)) {
                retries += 1;
                budget.request(at(n));
            }
        }
        assert_eq!(retries, 200);
        assert!(!budget.retry(at(9_900)) && !budget.retry(at(60_000)), "requests of long ago allow nothing");
        budget.request(at(60_000));
        assert!(!budget.retry(at(60_000)));
        (0..4).for_each(|_| budget.request(at(60_001)));
        assert!(budget.retry(at(60_001)) && !budget.retry(at(60_002)));
    }

    #[test]
    fn the_least_rate_holds_in_each_of_its_intervals() {
        let budget = budget(0, 3);
        for second in 0..5 {
            let taken = (0..100).filter(|n| budget.retry(Duration::from_millis(second * 1000 + n))).count();
            assert_eq!(taken, 3);
        }
    }
}
