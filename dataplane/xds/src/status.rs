//! What the client says about itself, for metrics and the admin page.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// State of the client; cheap to read at any time.
#[derive(Debug, Default)]
pub struct Status {
    connected: AtomicBool,
    generations: AtomicU64,
    connects: AtomicU64,
    rejected: AtomicU64,
    /// Milliseconds since the epoch; 0 for none.
    applied_at: AtomicU64,
}

impl Status {
    /// Whether a stream is open.
    pub fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Streams opened so far.
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    /// Generations applied so far.
    pub fn generations(&self) -> u64 {
        self.generations.load(Ordering::Relaxed)
    }

    /// Resources that cannot be applied at present.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Age of what is in use: time since the control plane confirmed it, also across a restart from the kept snapshot.
    /// While the stream is open, what is in use is current.
    pub fn age(&self) -> Option<Duration> {
        let at = self.applied_at.load(Ordering::Relaxed);
        if at == 0 {
            return None;
        }
        if self.connected() {
            return Some(Duration::ZERO);
        }
        Some(SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_millis(at)).unwrap_or_default())
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        if connected {
            self.connects.fetch_add(1, Ordering::Relaxed);
        } else if self.connected() {
            self.applied_at.store(millis(SystemTime::now()), Ordering::Relaxed);
        }
        self.connected.store(connected, Ordering::Relaxed);
    }

    pub(crate) fn applied(&self, confirmed: SystemTime, rejected: usize) {
        self.generations.fetch_add(1, Ordering::Relaxed);
        self.rejected.store(rejected as u64, Ordering::Relaxed);
        self.applied_at.store(millis(confirmed), Ordering::Relaxed);
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
