//! A histogram of durations without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in microseconds: half a millisecond to a minute.
const BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000, 15_000_000,
    60_000_000,
];

/// Counts durations in fixed buckets.
#[derive(Debug, Default)]
pub struct DurationHistogram {
    /// One more than the bounds: what is longer than all.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_microseconds: AtomicU64,
}

impl DurationHistogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < microseconds);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// Sum in seconds, count, and the buckets as upper bound in seconds and count within that bucket alone.
    #[allow(clippy::cast_precision_loss, reason = "metrics are floats")]
    pub fn read(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let counts: Vec<u64> = self.buckets.iter().map(|b| b.load(Ordering::Relaxed)).collect();
        let bounds = BOUNDS.iter().map(|b| *b as f64 / 1e6).chain([f64::MAX]);
        let sum = self.sum_microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        (sum, counts.iter().sum(), bounds.zip(counts).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        let h = DurationHistogram::default();
        h.observe(Duration::from_micros(500));
        h.observe(Duration::from_micros(501));
        h.observe(Duration::from_secs(3600));
        let (sum, count, buckets) = h.read();
        assert_eq!(count, 3);
        assert!((sum - 3_600.001_001).abs() < 1e-9);
        assert_eq!((buckets[0].1, buckets[1].1, buckets[14].1), (1, 1, 1));
    }
}
