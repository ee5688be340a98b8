//! A token bucket of the whole process, in one atomic.
//!
//! A bucket holds at most `max_tokens` and gets `tokens_per_fill` at every fill. Instead of its level it keeps how many
//! tokens were ever taken, counted so that a full bucket has taken as many as were ever filled in: then filling costs
//! nothing, and taking is one compare-and-swap. What was taken may exceed what there was, where usage is known only
//! afterwards; the bucket is then in debt until fills have paid it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A bucket's size and how it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) max_tokens: u64,
    pub(crate) tokens_per_fill: u64,
    pub(crate) fill_interval: Duration,
}

/// What came of taking tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// They were there; so many are left, and more come after this time.
    Yes { left: u64, next: Duration },
    /// They were not, and will be after this time.
    No { left: u64, wait: Duration },
}

impl Parameters {
    /// Tokens that were filled in within this time.
    pub(super) fn filled(&self, age: Duration) -> u64 {
        let fills = age.as_nanos() / self.fill_interval.as_nanos().max(1);
        u64::try_from(fills).unwrap_or(u64::MAX).saturating_mul(self.tokens_per_fill)
    }

    /// What there is, where `taken` were taken; and 0 in debt.
    pub(super) fn level(&self, filled: u64, taken: u64) -> u64 {
        filled.saturating_add(self.max_tokens).saturating_sub(taken.max(filled))
    }

    /// What is taken after `cost` more, where at least `needed` must be there. None: they are not.
    pub(super) fn after(&self, filled: u64, taken: u64, cost: u64, needed: u64) -> Option<u64> {
        (self.level(filled, taken) >= needed).then(|| taken.max(filled).saturating_add(cost))
    }

    /// Time from `age` on until the next fill.
    pub(super) fn next(&self, age: Duration) -> Duration {
        let interval = self.fill_interval.as_nanos().max(1);
        Duration::from_nanos(u64::try_from(interval - age.as_nanos() % interval).unwrap_or(u64::MAX))
    }

    /// Time from `age` on until `needed` are there, if nobody takes any. More than fit never are: then the time until the
    /// bucket is full.
    pub(super) fn wait(&self, age: Duration, taken: u64, needed: u64) -> Duration {
        let interval = self.fill_interval.as_nanos().max(1);
        let filled = self.filled(age);
        let level = i128::from(filled) + i128::from(self.max_tokens) - i128::from(taken.max(filled));
        let lacking = i128::from(needed.min(self.max_tokens)) - level;
        let fills = lacking.max(1).unsigned_abs().div_ceil(u128::from(self.tokens_per_fill.max(1)));
        let left = (interval - age.as_nanos() % interval).saturating_add((fills - 1).saturating_mul(interval));
        Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
    }
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
        let filled = self.parameters.filled(self.age(Instant::now()));
        let level = self.parameters.level(filled, self.taken.load(Ordering::Relaxed)).min(parameters.max_tokens);
        let bucket = Bucket::full(parameters);
        bucket.taken.store(parameters.max_tokens - level, Ordering::Relaxed);
        bucket
    }

    pub(crate) fn parameters(&self) -> Parameters {
        self.parameters
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    /// Takes `cost`, if `needed` are there.
    pub(super) fn take(&self, now: Instant, cost: u64, needed: u64) -> Taken {
        let age = self.age(now);
        let filled = self.parameters.filled(age);
        let take = |taken: u64| self.parameters.after(filled, taken, cost, needed);
        // Relaxed: the counter guards no other memory.
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(before) => Taken::Yes {
                left: self.parameters.level(filled, before.max(filled).saturating_add(cost)),
                next: self.parameters.next(age),
            },
            Err(taken) => {
                Taken::No { left: self.parameters.level(filled, taken), wait: self.parameters.wait(age, taken, needed) }
            }
        }
    }

    /// Corrects what was taken: `more` was used than that, or `less`.
    pub(super) fn correct(&self, now: Instant, more: u64, less: u64) {
        let filled = self.parameters.filled(self.age(now));
        let correct = |taken: u64| Some(taken.max(filled).saturating_add(more).saturating_sub(less));
        // It always gives a value.
        let _before = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, correct);
    }
}
