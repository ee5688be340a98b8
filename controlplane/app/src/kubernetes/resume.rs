//! When an interrupted watch is tried again: soon at first, then each few seconds. An API server that comes back is noticed
//! within [`LONGEST`], where the usual half minute would leave proxies without what changed meanwhile.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;

/// Longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses between tries.
#[derive(Default)]
pub(crate) struct Resume(DefaultBackoff);

impl Iterator for Resume {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(LONGEST))
    }
}

impl Backoff for Resume {
    fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_never_end() {
        let pauses: Vec<Duration> = Resume::default().take(20).collect();
        assert_eq!(pauses.len(), 20);
        assert!(pauses[0] < LONGEST);
        assert!(pauses[19] == LONGEST);
    }
}
