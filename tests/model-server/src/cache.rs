//! The KV cache: blocks by the chained hash of what they hold. Blocks in use stay; of the others the one that was used longest
//! ago is taken when there is no free one.

use std::collections::BTreeMap;

use ahash::AHashMap;

/// Blocks of one server.
#[derive(Debug)]
pub(crate) struct Cache {
    size: usize,
    known: AHashMap<u64, Block>,
    /// Blocks that nothing uses, by when they were used last.
    idle: BTreeMap<u64, u64>,
    /// Blocks without a hash: those of answers, and the rest of a prompt that fills no block.
    unnamed: usize,
    clock: u64,
    /// Prompt tokens that were looked for and found.
    pub(crate) queries: u64,
    pub(crate) hits: u64,
}

#[derive(Debug)]
struct Block {
    users: u32,
    used: u64,
}

/// What a request holds of the cache.
#[derive(Debug)]
pub(crate) struct Held {
    hashes: Vec<u64>,
    unnamed: usize,
    /// Leading blocks that were there already.
    pub(crate) cached: usize,
}

impl Cache {
    pub(crate) fn new(size: usize) -> Cache {
        Cache { size, known: AHashMap::new(), idle: BTreeMap::new(), unnamed: 0, clock: 0, queries: 0, hits: 0 }
    }

    /// Takes blocks for a prompt and `unnamed` more; None when there are too few at this moment.
    pub(crate) fn take(&mut self, hashes: &[u64], unnamed: usize, block_size: usize) -> Option<Held> {
        let cached = hashes.iter().take_while(|hash| self.known.contains_key(*hash)).count();
        let fresh = hashes.iter().filter(|hash| !self.known.contains_key(*hash)).count() + unnamed;
        let idle_of_ours = hashes.iter().filter(|h| self.known.get(*h).is_some_and(|b| b.users == 0)).count();
        let used = self.in_use();
        if used + idle_of_ours + fresh > self.size {
            return None;
        }
        self.queries += (hashes.len() * block_size) as u64;
        self.hits += (cached * block_size) as u64;
        for hash in hashes {
            if let Some(block) = self.known.get_mut(hash) {
                if block.users == 0 {
                    self.idle.remove(&block.used);
                }
                block.users += 1;
            }
        }
        for _ in 0..(self.known.len() + self.unnamed + fresh).saturating_sub(self.size) {
            if let Some((_, oldest)) = self.idle.pop_first() {
                self.known.remove(&oldest);
            }
        }
        for hash in hashes {
            self.known.entry(*hash).or_insert(Block { users: 1, used: 0 });
        }
        self.unnamed += unnamed;
        Some(Held { hashes: hashes.to_vec(), unnamed, cached })
    }

    /// Gives blocks back; those of the prompt stay cached. The end of a chain is given up before its beginning.
    pub(crate) fn give(&mut self, held: &Held) {
        self.unnamed -= held.unnamed;
        for hash in held.hashes.iter().rev() {
            let Some(block) = self.known.get_mut(hash) else { continue };
            block.users -= 1;
            if block.users == 0 {
                self.clock += 1;
                block.used = self.clock;
                self.idle.insert(self.clock, *hash);
            }
        }
    }

    /// Blocks that requests hold.
    pub(crate) fn in_use(&self) -> usize {
        self.known.len() - self.idle.len() + self.unnamed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_found_and_the_oldest_goes_first() {
        let mut cache = Cache::new(4);
        let first = cache.take(&[1, 2], 1, 16).expect("room");
        assert_eq!((first.cached, cache.in_use()), (0, 3));
        assert!(cache.take(&[3, 4], 0, 16).is_none(), "only one block is left");
        cache.give(&first);
        assert_eq!(cache.in_use(), 0);
        let again = cache.take(&[1, 2], 0, 16).expect("room");
        assert_eq!(again.cached, 2);
        cache.give(&again);
        // Three fresh blocks: one is free, two must go; 2 was given back before 1.
        let other = cache.take(&[7, 8, 9], 0, 16).expect("room");
        cache.give(&other);
        let last = cache.take(&[1, 2], 0, 16).expect("room");
        assert_eq!(last.cached, 1, "the beginning of a chain outlives its end");
    }
}
