//! Counts of responses by status code, without a lock and in little memory.

use std::sync::atomic::{AtomicU64, Ordering};

/// Status codes that are told apart; what comes after them is counted as code 0.
const CODES: usize = 15;
const COUNT_BITS: u32 = 48;

/// Counts responses by status code. A word holds the code above and the count below; 15 codes and the rest fit in 128
/// bytes, so that ten thousand routes cost little.
#[derive(Debug, Default)]
pub struct StatusCounters {
    words: [AtomicU64; CODES],
    other: AtomicU64,
}

impl StatusCounters {
    /// Counts one response.
    pub fn count(&self, status: u16) {
        let fresh = (u64::from(status) << COUNT_BITS) | 1;
        for word in &self.words {
            let mut seen = word.load(Ordering::Relaxed);
            if seen == 0 {
                match word.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return,
                    Err(taken) => seen = taken,
                }
            }
            if seen >> COUNT_BITS == u64::from(status) {
                word.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        self.other.fetch_add(1, Ordering::Relaxed);
    }

    /// Codes and counts.
    pub fn read(&self) -> Vec<(u16, u64)> {
        let mask = (1 << COUNT_BITS) - 1;
        let mut all: Vec<(u16, u64)> = self
            .words
            .iter()
            .map(|w| w.load(Ordering::Relaxed))
            .filter(|w| *w != 0)
            .map(|w| (u16::try_from(w >> COUNT_BITS).unwrap_or(0), w & mask))
            .collect();
        let other = self.other.load(Ordering::Relaxed);
        if other > 0 {
            all.push((0, other));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart_until_the_table_is_full() {
        let counters = StatusCounters::default();
        for code in 200..220 {
            counters.count(code);
            counters.count(code);
        }
        let all = counters.read();
        assert_eq!(all.len(), CODES + 1);
        assert_eq!(all[0], (200, 2));
        assert_eq!(all[CODES], (0, 10));
    }

    #[test]
    fn threads_lose_nothing() {
        let counters = StatusCounters::default();
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| (0..10_000).for_each(|i| counters.count(200 + i % 3)));
            }
        });
        assert_eq!(counters.read().iter().map(|(_, n)| n).sum::<u64>(), 40_000);
    }
}
