//! What is known of one model server, whichever pools it is in: what its metrics said last, and what this process sent there.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::exposition::{Adapters, Sample};
use crate::limits::{IDLE_AFTER, READ_INTERVAL, STALE_AFTER, STALE_INTERVALS};
use crate::picker::{Candidate, Lora};

/// Milliseconds since the first question about it, and never 0.
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    milliseconds(START.get_or_init(Instant::now).elapsed()) + 1
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1)
}

/// One model server. Shared by all threads.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    waiting: AtomicF32,
    running: AtomicF32,
    kv_usage: AtomicF32,
    /// When the metrics were read; 0: never, or they could not be used.
    read_at: AtomicU64,
    /// Milliseconds between two readings at this time.
    interval: AtomicU64,
    in_flight: AtomicU32,
    /// As it was when the metrics were read: what came since is no part of them.
    in_flight_then: AtomicU32,
    tokens: AtomicU64,
    adapters: ArcSwapOption<Adapters>,
    /// When a pool of this server got a request.
    wanted_at: AtomicU64,
    /// Wakes the reader from a long pause.
    pub(crate) wake: Notify,
    pub(crate) readings: AtomicU64,
    pub(crate) failures: AtomicU64,
}

impl Server {
    /// Nothing is known of it yet.
    pub fn new(address: SocketAddr) -> Server {
        Server {
            address,
            waiting: AtomicF32::default(),
            running: AtomicF32::default(),
            kv_usage: AtomicF32::default(),
            read_at: AtomicU64::new(0),
            interval: AtomicU64::new(milliseconds(READ_INTERVAL)),
            in_flight: AtomicU32::new(0),
            in_flight_then: AtomicU32::new(0),
            tokens: AtomicU64::new(0),
            adapters: ArcSwapOption::empty(),
            wanted_at: AtomicU64::new(0),
            wake: Notify::new(),
            readings: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The metrics were read. `in_flight` is how many requests there were when they were asked for.
    pub fn read(&self, sample: Sample, in_flight: u32) {
        self.waiting.store(sample.waiting);
        self.running.store(sample.running);
        self.kv_usage.store(sample.kv_usage);
        self.in_flight_then.store(in_flight, Ordering::Relaxed);
        if self.adapters.load().as_deref() != sample.adapters.as_ref() {
            self.adapters.store(sample.adapters.map(Arc::new));
        }
        self.readings.fetch_add(1, Ordering::Relaxed);
        self.read_at.store(now(), Ordering::Release);
    }

    /// The metrics could not be read, or cannot be.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The pause until the metrics are read again.
    pub(crate) fn set_interval(&self, interval: Duration) {
        self.interval.store(milliseconds(interval), Ordering::Relaxed);
    }

    /// A pool of this server got a request.
    pub(crate) fn want(&self, now: u64) {
        let before = self.wanted_at.swap(now, Ordering::Relaxed);
        if now.saturating_sub(before) > milliseconds(IDLE_AFTER) || before == 0 {
            self.wake.notify_one();
        }
    }

    /// Whether no request came for a while.
    pub(crate) fn is_idle(&self) -> bool {
        let wanted = self.wanted_at.load(Ordering::Relaxed);
        wanted == 0 || now().saturating_sub(wanted) > milliseconds(IDLE_AFTER)
    }

    /// Whether what its metrics said is of now.
    pub(crate) fn is_fresh(&self, now: u64) -> bool {
        let read = self.read_at.load(Ordering::Acquire);
        let interval = self.interval.load(Ordering::Relaxed);
        let limit = milliseconds(STALE_AFTER).max(interval.saturating_mul(u64::from(STALE_INTERVALS)));
        read != 0 && now.saturating_sub(read) <= limit
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How near to full it is: 1 and more are saturated. What is not known counts as such.
    pub(crate) fn saturation(&self, queue_depth: f32, kv_usage: f32, now: u64) -> f32 {
        if !self.is_fresh(now) {
            return 1.0;
        }
        (self.queue() / queue_depth).max(self.kv_usage.load() / kv_usage)
    }

    /// Waiting requests by its metrics, and those that came since.
    fn queue(&self) -> f32 {
        let since = self.in_flight().saturating_sub(self.in_flight_then.load(Ordering::Relaxed));
        self.waiting.load() + since as f32
    }

    /// Its state as a choice sees it. `adapter` is the model that the request names, where adapters count.
    pub fn candidate(&self, adapter: Option<&str>, now: u64) -> Candidate {
        let (fresh, in_flight) = (self.is_fresh(now), self.in_flight());
        let (waiting, running, kv_usage) = match fresh {
            true => (self.queue(), self.running.load(), self.kv_usage.load()),
            // All that is known of it.
            false => (in_flight as f32, in_flight as f32, 0.0),
        };
        Candidate {
            waiting,
            running,
            kv_usage,
            fresh,
            lora: adapter.map_or(Lora::Active, |model| self.lora(model)),
            in_flight,
            tokens: self.tokens.load(Ordering::Relaxed),
            matched_blocks: 0,
            has_session: false,
        }
    }

    fn lora(&self, model: &str) -> Lora {
        match &*self.adapters.load() {
            // A server without adapters serves its base model alone.
            None => Lora::Active,
            Some(adapters) if adapters.running.iter().any(|name| name == model) => Lora::Active,
            Some(adapters) if adapters.waiting.iter().any(|name| name == model) => Lora::Waiting,
            Some(adapters) if adapters.running.len() + adapters.waiting.len() < adapters.most => Lora::HasRoom,
            Some(_) => Lora::Full,
        }
    }
}

/// A request that this process has sent to a server; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    server: Arc<Server>,
    tokens: u64,
}

impl InFlight {
    pub(crate) fn new(server: Arc<Server>, tokens: u64) -> InFlight {
        server.in_flight.fetch_add(1, Ordering::Relaxed);
        server.tokens.fetch_add(tokens, Ordering::Relaxed);
        InFlight { server, tokens }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.server.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.server.tokens.fetch_sub(self.tokens, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct AtomicF32(AtomicU32);

impl AtomicF32 {
    fn load(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn store(&self, value: f32) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Arc<Server> {
        Arc::new(Server::new(([10, 0, 0, 1], 8000).into()))
    }

    #[test]
    fn requests_since_the_last_reading_count_as_waiting() {
        let server = server();
        let _before = InFlight::new(Arc::clone(&server), 100);
        server.read(Sample { waiting: 3.0, ..Sample::default() }, server.in_flight());
        assert_eq!(server.candidate(None, now()).waiting, 3.0);
        let since = InFlight::new(Arc::clone(&server), 50);
        let candidate = server.candidate(None, now());
        assert_eq!((candidate.waiting, candidate.in_flight, candidate.tokens), (4.0, 2, 150));
        drop(since);
        assert_eq!(server.candidate(None, now()).waiting, 3.0);
    }

    #[test]
    fn what_is_old_is_not_trusted() {
        let server = server();
        assert!(!server.candidate(None, now()).fresh, "never read");
        server.read(Sample { waiting: 9.0, ..Sample::default() }, 0);
        assert!(server.is_fresh(now()) && server.saturation(5.0, 0.8, now()) > 1.0);
        let later = now() + 10_000;
        assert!(!server.is_fresh(later));
        assert_eq!(server.candidate(None, later).waiting, 0.0, "what this process sent there");
        assert_eq!(server.saturation(5.0, 0.8, later), 1.0);
    }

    #[test]
    fn adapters_are_active_have_room_wait_or_do_not_fit() {
        let server = server();
        assert_eq!(server.lora("a"), Lora::Active, "nothing is said of adapters");
        let with = |most, running: &[&str], waiting: &[&str]| {
            let names = |all: &[&str]| all.iter().map(|n| (*n).to_owned()).collect();
            let adapters = Some(Adapters { most, running: names(running), waiting: names(waiting) });
            server.read(Sample { adapters, ..Sample::default() }, 0);
            server.lora("a")
        };
        assert_eq!(with(2, &["a", "b"], &[]), Lora::Active);
        assert_eq!(with(2, &["b"], &[]), Lora::HasRoom);
        assert_eq!(with(2, &["b", "c"], &["a"]), Lora::Waiting);
        assert_eq!(with(2, &["b", "c"], &[]), Lora::Full);
    }
}
