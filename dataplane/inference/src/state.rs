//! What a pool knows beyond its configuration: which endpoint got which prompts, and its counters. Found by the pool's key, so that
//! it outlives changes of the configuration.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak};

use agentgateway_telemetry::histogram::DurationHistogram;

use crate::flow::{Dropped, Flow};
use crate::limits::{MAX_PODS, RECORDED_AT_ONCE};
use crate::picker::ScorerKind;
use crate::prefix::{PodNumber, PrefixIndex};

/// Blocks that are forgotten of endpoints that are gone, at a time.
const FORGOTTEN_AT_ONCE: usize = 256;

/// What one pool knows.
#[derive(Debug)]
pub(crate) struct PoolState {
    /// As metrics name it.
    pub(crate) printed: String,
    pub(crate) counters: Counters,
    pub(crate) flow: Flow,
    /// When its servers were told that requests come.
    pub(crate) marked_at: AtomicU64,
    prefixes: RwLock<PrefixIndex>,
    numbers: Mutex<Numbers>,
}

/// Numbers of endpoints in the index.
#[derive(Debug, Default)]
struct Numbers {
    of: HashMap<SocketAddr, Weak<Number>>,
    next: PodNumber,
    free: Vec<PodNumber>,
    /// Given back, with blocks that are still to be forgotten.
    leaving: Vec<PodNumber>,
}

/// The number of an endpoint; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Number {
    number: PodNumber,
    state: Weak<PoolState>,
}

impl Number {
    pub(crate) fn get(&self) -> PodNumber {
        self.number
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            state.numbers.lock().unwrap_or_else(PoisonError::into_inner).leaving.push(self.number);
        }
    }
}

/// What a pool counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Choices by what decided them; the last for none of the scorers.
    pub(crate) choices: [AtomicU64; ScorerKind::ALL.len() + 1],
    /// Time that choices took, without the wait for the body.
    pub(crate) choosing: DurationHistogram,
    /// From the head of the request to the first byte of the answer's body.
    pub(crate) first_byte: DurationHistogram,
    /// Blocks of prompts, and those that the chosen endpoint had already.
    pub(crate) blocks: AtomicU64,
    pub(crate) blocks_cached: AtomicU64,
    /// Requests that went to another endpoint than the best.
    pub(crate) fallbacks: AtomicU64,
    pub(crate) picker_failures: AtomicU64,
    pub(crate) picker_answers: AtomicU64,
    /// Requests that were dropped, by the reason.
    pub(crate) dropped: [AtomicU64; Dropped::ALL.len()],
    /// Requests whose model was rewritten.
    pub(crate) rewritten: AtomicU64,
}

impl PoolState {
    pub(crate) fn new(printed: String, capacity: usize) -> PoolState {
        PoolState {
            printed,
            counters: Counters::default(),
            flow: Flow::default(),
            marked_at: AtomicU64::new(0),
            prefixes: RwLock::new(PrefixIndex::new(capacity)),
            numbers: Mutex::default(),
        }
    }

    /// The index, to look at.
    pub(crate) fn prefixes(&self) -> RwLockReadGuard<'_, PrefixIndex> {
        self.prefixes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks that are remembered for each endpoint.
    pub(crate) fn resize(&self, capacity: usize) {
        self.prefixes.write().unwrap_or_else(PoisonError::into_inner).resize(capacity);
    }

    /// An endpoint gets a prompt. The end is recorded first: its beginning is what is forgotten last.
    pub(crate) fn record(&self, pod: PodNumber, hashes: &[u64]) {
        for part in hashes.rchunks(RECORDED_AT_ONCE) {
            self.prefixes.write().unwrap_or_else(PoisonError::into_inner).record(pod, part);
        }
    }

    /// The number of the endpoint with this address. Those beyond the bound share the last one, of which nothing is recorded.
    pub(crate) fn number(self: &Arc<Self>, address: SocketAddr) -> Arc<Number> {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = numbers.of.get(&address).and_then(Weak::upgrade) {
            return known;
        }
        let bound = PodNumber::try_from(MAX_PODS).unwrap_or(PodNumber::MAX);
        let (number, state) = match numbers.free.pop() {
            Some(number) => (number, Arc::downgrade(self)),
            None if numbers.next < bound => {
                numbers.next += 1;
                (numbers.next - 1, Arc::downgrade(self))
            }
            None => (bound, Weak::new()),
        };
        let number = Arc::new(Number { number, state });
        numbers.of.insert(address, Arc::downgrade(&number));
        number
    }

    /// Forgets what endpoints had that are gone.
    pub(crate) fn sweep(&self) {
        let leaving = {
            let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            numbers.of.retain(|_, number| number.strong_count() > 0);
            std::mem::take(&mut numbers.leaving)
        };
        for number in leaving {
            while self.prefixes.write().unwrap_or_else(PoisonError::into_inner).forget(number, FORGOTTEN_AT_ONCE) {}
            self.numbers.lock().unwrap_or_else(PoisonError::into_inner).free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_again_when_nothing_is_left_of_its_endpoint() {
        let state = Arc::new(PoolState::new("p".into(), 100));
        let address = |n: u16| SocketAddr::from(([10, 0, 0, 1], n));
        let (first, second) = (state.number(address(1)), state.number(address(2)));
        assert_eq!((first.get(), second.get()), (0, 1));
        assert!(Arc::ptr_eq(&first, &state.number(address(1))), "a change of the configuration keeps it");
        state.record(0, &[1, 2, 3]);
        drop(first);
        assert_eq!(state.number(address(3)).get(), 2, "not yet");
        state.sweep();
        let mut matched = Vec::new();
        state.prefixes().matches(&[1], &mut matched);
        assert_eq!(matched, [0]);
        let again = [state.number(address(4)).get(), state.number(address(5)).get()];
        assert!(again.contains(&0), "{again:?}");
    }

    #[test]
    fn endpoints_beyond_the_bound_are_served_without_memory() {
        let state = Arc::new(PoolState::new("p".into(), 100));
        let all: Vec<_> = (0..MAX_PODS + 2).map(|n| state.number(([10, 0, 0, 1], n as u16).into())).collect();
        assert_eq!(all.last().map(|n| n.get() as usize), Some(MAX_PODS));
        state.record(all[MAX_PODS].get(), &[1]);
        assert_eq!(state.prefixes().length(0), 0);
    }
}
