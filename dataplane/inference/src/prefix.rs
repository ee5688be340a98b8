//! Which pod has which blocks in its prefix cache, as far as can be told from what was sent to it: for each pod the blocks that it
//! got last, up to a bound.
//!
//! A table leads from a block's hash to the pods that have it, so a choice costs one look for each block of the prompt, however
//! many pods there are. A pod's blocks form a list by age; of a prompt the first blocks count as the newest, so what a pod
//! forgets are ends of prompts before their beginnings, and what it has of a prompt is always a beginning.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Slot;

use crate::limits::MAX_PODS;

/// Number of a pod within an index.
pub type PodNumber = u32;

const NONE: u32 = u32::MAX;
/// Marks of a search: the pod has all blocks so far, and also the one that is looked at.
const MORE: u32 = u32::MAX;
const SEEN: u32 = u32::MAX - 1;

/// The pods that have a block.
#[derive(Debug)]
struct Holders {
    /// The first entry of the block.
    first: u32,
    /// How many pods have it.
    count: u32,
}

/// One block of one pod.
#[derive(Clone, Copy, Debug)]
struct Held {
    hash: u64,
    pod: PodNumber,
    newer: u32,
    older: u32,
    /// The next entry of the same block.
    next: u32,
}

#[derive(Clone, Debug)]
struct Age {
    newest: u32,
    oldest: u32,
    length: usize,
}

const EMPTY: Age = Age { newest: NONE, oldest: NONE, length: 0 };

/// Hashes are random already.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

/// What the pods of one pool have.
#[derive(Debug)]
pub struct PrefixIndex {
    capacity: usize,
    blocks: HashMap<u64, Holders, BuildHasherDefault<Same>>,
    entries: Vec<Held>,
    free: Vec<u32>,
    pods: Vec<Age>,
}

impl PrefixIndex {
    /// `capacity`: blocks of each pod.
    pub fn new(capacity: usize) -> PrefixIndex {
        let blocks = HashMap::with_hasher(BuildHasherDefault::default());
        PrefixIndex { capacity: capacity.max(1), blocks, entries: Vec::new(), free: Vec::new(), pods: Vec::new() }
    }

    /// Changes how many blocks each pod may have; those that are too many go with the next that come.
    pub fn resize(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
    }

    /// For each pod how many leading blocks it has. `matched` is indexed by the number of the pod.
    ///
    /// Whoever has a block has all before it, so where as many pods have the next block as had the last one, they are the same,
    /// and need not be looked at one by one.
    pub fn matches(&self, hashes: &[u64], matched: &mut Vec<u32>) {
        matched.clear();
        matched.resize(self.pods.len(), 0);
        let (mut depth, mut count) = (0, 0);
        for hash in hashes {
            let Some(holders) = self.blocks.get(hash) else { break };
            if depth == 0 || holders.count < count {
                // Whoever has it not any more has all before it.
                let mut at = holders.first;
                while let Some(entry) = self.entries.get(at as usize) {
                    if let Some(blocks) = matched.get_mut(entry.pod as usize)
                        && (depth == 0 || *blocks == MORE)
                    {
                        *blocks = SEEN;
                    }
                    at = entry.next;
                }
                for blocks in matched.iter_mut() {
                    *blocks = match *blocks {
                        SEEN => MORE,
                        MORE => depth,
                        known => known,
                    };
                }
                count = holders.count;
            }
            depth += 1;
        }
        for blocks in matched.iter_mut().filter(|blocks| **blocks == MORE) {
            *blocks = depth;
        }
    }

    /// The pod was sent a prompt of these blocks. Of long prompts give parts, the last first, so that no lock is held for long.
    pub fn record(&mut self, pod: PodNumber, hashes: &[u64]) {
        let number = pod as usize;
        if number >= MAX_PODS {
            return;
        }
        if self.pods.len() <= number {
            self.pods.resize(number + 1, EMPTY);
        }
        for hash in hashes.iter().rev() {
            match self.find(pod, *hash) {
                Some(at) => {
                    self.unlink(at);
                    self.link(at);
                }
                None => self.add(pod, *hash),
            }
        }
        while self.pods.get(number).is_some_and(|age| age.length > self.capacity) {
            self.forget_oldest(pod);
        }
    }

    /// Forgets up to `most` blocks of a pod; says whether there are more.
    pub fn forget(&mut self, pod: PodNumber, most: usize) -> bool {
        for _ in 0..most {
            if !self.forget_oldest(pod) {
                return false;
            }
        }
        self.length(pod) > 0
    }

    /// Blocks of a pod.
    pub fn length(&self, pod: PodNumber) -> usize {
        self.pods.get(pod as usize).map_or(0, |age| age.length)
    }

    fn find(&self, pod: PodNumber, hash: u64) -> Option<u32> {
        let mut at = self.blocks.get(&hash)?.first;
        loop {
            let entry = self.entries.get(at as usize)?;
            if entry.pod == pod {
                return Some(at);
            }
            at = entry.next;
        }
    }

    fn add(&mut self, pod: PodNumber, hash: u64) {
        let mut entry = Held { hash, pod, newer: NONE, older: NONE, next: NONE };
        let at = self.free.pop().unwrap_or_else(|| u32::try_from(self.entries.len()).unwrap_or(NONE));
        match self.blocks.entry(hash) {
            Slot::Occupied(mut slot) => {
                let holders = slot.get_mut();
                entry.next = std::mem::replace(&mut holders.first, at);
                holders.count += 1;
            }
            Slot::Vacant(slot) => {
                slot.insert(Holders { first: at, count: 1 });
            }
        }
        match self.entries.get_mut(at as usize) {
            Some(slot) => *slot = entry,
            None => self.entries.push(entry),
        }
        self.link(at);
    }

    /// Makes an entry the newest of its pod.
    fn link(&mut self, at: u32) {
        let Some(pod) = self.entries.get(at as usize).map(|entry| entry.pod) else { return };
        let Some(age) = self.pods.get_mut(pod as usize) else { return };
        let before = std::mem::replace(&mut age.newest, at);
        age.length += 1;
        if before == NONE {
            age.oldest = at;
        }
        if let Some(entry) = self.entries.get_mut(at as usize) {
            (entry.older, entry.newer) = (before, NONE);
        }
        if let Some(entry) = self.entries.get_mut(before as usize) {
            entry.newer = at;
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(Held { pod, newer, older, .. }) = self.entries.get(at as usize).copied() else { return };
        let Some(age) = self.pods.get_mut(pod as usize) else { return };
        age.length -= 1;
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => age.newest = older,
        }
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => age.oldest = newer,
        }
    }

    fn forget_oldest(&mut self, pod: PodNumber) -> bool {
        let Some(at) = self.pods.get(pod as usize).map(|age| age.oldest).filter(|at| *at != NONE) else { return false };
        self.unlink(at);
        let Some(gone) = self.entries.get(at as usize).copied() else { return false };
        if let Slot::Occupied(mut slot) = self.blocks.entry(gone.hash) {
            slot.get_mut().count -= 1;
            if slot.get().count == 0 {
                slot.remove();
            } else if slot.get().first == at {
                slot.get_mut().first = gone.next;
            } else {
                let mut before = slot.get().first;
                while let Some(entry) = self.entries.get_mut(before as usize) {
                    if entry.next == at {
                        entry.next = gone.next;
                        break;
                    }
                    before = entry.next;
                }
            }
        }
        self.free.push(at);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn matches(index: &PrefixIndex, hashes: &[u64]) -> Vec<u32> {
        let mut matched = Vec::new();
        index.matches(hashes, &mut matched);
        matched
    }

    #[test]
    fn the_longest_beginning_of_each_pod_is_found() {
        let mut index = PrefixIndex::new(100);
        index.record(0, &[1, 2, 3]);
        index.record(2, &[1, 2]);
        assert_eq!(matches(&index, &[1, 2, 3, 4]), [3, 0, 2]);
        assert_eq!(matches(&index, &[2, 3]), [2, 0, 1]);
        assert_eq!(matches(&index, &[9]), [0, 0, 0]);
        assert!(!index.forget(2, 100));
        assert_eq!(matches(&index, &[1, 2]), [2, 0, 0]);
    }

    #[test]
    fn ends_are_forgotten_before_beginnings() {
        let mut index = PrefixIndex::new(3);
        index.record(0, &[1, 2, 3]);
        index.record(0, &[1, 7]);
        assert_eq!((matches(&index, &[1, 2, 3]), index.length(0)), (vec![2], 3));
        index.record(0, &[1, 8, 9]);
        assert_eq!(matches(&index, &[1, 2]), [1]);
    }

    /// The same by lists that are looked through.
    #[derive(Default)]
    struct Naive(Vec<VecDeque<u64>>);

    impl Naive {
        fn record(&mut self, pod: usize, hashes: &[u64], capacity: usize) {
            if self.0.len() <= pod {
                self.0.resize(pod + 1, VecDeque::new());
            }
            let list = &mut self.0[pod];
            for hash in hashes.iter().rev() {
                list.retain(|h| h != hash);
                list.push_front(*hash);
            }
            list.truncate(capacity);
        }

        fn matches(&self, hashes: &[u64]) -> Vec<u32> {
            let run = |list: &VecDeque<u64>| hashes.iter().take_while(|h| list.contains(h)).count() as u32;
            self.0.iter().map(run).collect()
        }
    }

    /// As hashes of a prompt are: each stands for all before it.
    fn chain(tokens: &[u8]) -> Vec<u64> {
        let step = |before: &mut u64, token: &u8| {
            *before = before.wrapping_mul(31) + u64::from(*token) + 1;
            Some(*before)
        };
        tokens.iter().scan(0, step).collect()
    }

    proptest! {
        #[test]
        fn it_is_what_lists_are(steps in proptest::collection::vec((0_u32..5, proptest::collection::vec(0_u8..2, 0..8)), 1..60)) {
            let (mut index, mut naive) = (PrefixIndex::new(10), Naive::default());
            for (pod, tokens) in steps {
                let hashes = chain(&tokens);
                prop_assert_eq!(matches(&index, &hashes), naive.matches(&hashes));
                index.record(pod, &hashes);
                naive.record(pod as usize, &hashes, 10);
                prop_assert_eq!(index.entries.len() - index.free.len(), naive.0.iter().map(VecDeque::len).sum::<usize>());
            }
        }
    }
}
