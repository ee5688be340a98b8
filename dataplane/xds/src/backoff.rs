//! Waits between attempts: doubling, with jitter, and short enough that a control plane that is back is felt at once.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next wait: between half and all of the present step, so that many proxies do not come at once.
    pub(crate) fn next(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(LONGEST);
        let half = step / 2;
        // Without randomness the proxies come at once, which a control plane survives.
        let random = getrandom::u32().unwrap_or(0);
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_bound_and_starts_anew() {
        let mut backoff = Backoff::default();
        for step in [100, 200, 400, 800, 1_600, 2_000, 2_000] {
            let wait = backoff.next().as_millis();
            assert!((step / 2..=step).contains(&wait), "{wait} is not within {step}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
