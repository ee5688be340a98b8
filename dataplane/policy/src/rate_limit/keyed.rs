//! Token buckets by key, bounded in number: a sharded table of the whole process.
//!
//! A key is kept as a hash of 128 bits under a secret of the process, so a bucket takes the same memory whatever the length
//! of its key, and who does not know the secret cannot choose keys that meet. When a shard has no place left, a few of its
//! buckets are looked at in turn, and the fullest makes place: a full one remembers nothing, so nothing is lost with it.

use std::hash::{BuildHasher as _, RandomState as Secret};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::HashMap;
use tokio::time::Instant;

use super::bucket::{Parameters, Taken};
use crate::limits::{KEYS_PER_SHARD, MAX_KEY_SHARDS, MAX_LOOKED_AT};

/// A key's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(u128);

/// Buckets by key.
#[derive(Debug)]
pub(crate) struct Table {
    parameters: Parameters,
    max_keys: usize,
    start: Instant,
    secrets: [Secret; 2],
    shards: Box<[Mutex<Shard>]>,
    /// Buckets that were not full when they had to make place, of all tables.
    forgotten: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Shard {
    places: HashMap<Key, usize>,
    entries: Vec<Entry>,
    /// Where the search for a place goes on.
    hand: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    /// When it was full and first used, from the table's start on.
    since: Duration,
    taken: u64,
}

impl Table {
    pub(crate) fn new(parameters: Parameters, max_keys: usize, forgotten: Arc<AtomicU64>) -> Table {
        let shards = (max_keys / KEYS_PER_SHARD).clamp(1, MAX_KEY_SHARDS);
        Table {
            parameters,
            max_keys,
            start: Instant::now(),
            secrets: [Secret::new(), Secret::new()],
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            forgotten,
        }
    }

    pub(crate) fn is(&self, parameters: Parameters, max_keys: usize) -> bool {
        self.parameters == parameters && self.max_keys == max_keys
    }

    /// A table of other parameters with the levels of this one, as far as they fit.
    pub(crate) fn with_parameters(&self, parameters: Parameters, max_keys: usize) -> Table {
        let mut table = Table::new(parameters, max_keys, Arc::clone(&self.forgotten));
        table.start = self.start;
        table.secrets = self.secrets.clone();
        let age = self.age(Instant::now());
        for shard in &self.shards {
            for entry in &lock(shard).entries {
                let level = self.parameters.level(self.parameters.filled(age.saturating_sub(entry.since)), entry.taken);
                let taken = parameters.max_tokens - level.min(parameters.max_tokens);
                if taken > 0 {
                    let mut shard = table.shard(entry.key);
                    let place = shard.place(entry.key, age, &table);
                    if let Some(new) = shard.entries.get_mut(place) {
                        new.taken = taken;
                    }
                }
            }
        }
        table
    }

    pub(super) fn key(&self, bytes: &[u8]) -> Key {
        let [high, low] = self.secrets.each_ref().map(|secret| u128::from(secret.hash_one(bytes)));
        Key(high << 64 | low)
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        // The low half; the maps within use the whole.
        let index = usize::try_from(key.0 as u64 % self.shards.len() as u64).unwrap_or_default();
        lock(self.shards.get(index).unwrap_or(&self.shards[0]))
    }

    /// Takes `cost` from the bucket of `key`, if `needed` are there.
    pub(super) fn take(&self, key: Key, now: Instant, cost: u64, needed: u64) -> Taken {
        let age = self.age(now);
        let mut shard = self.shard(key);
        let place = shard.place(key, age, self);
        let Some(entry) = shard.entries.get_mut(place) else {
            return Taken::No { left: 0, wait: self.parameters.fill_interval };
        };
        let age = age.saturating_sub(entry.since);
        let filled = self.parameters.filled(age);
        match self.parameters.after(filled, entry.taken, cost, needed) {
            Some(taken) => {
                entry.taken = taken;
                Taken::Yes { left: self.parameters.level(filled, taken), next: self.parameters.next(age) }
            }
            None => Taken::No {
                left: self.parameters.level(filled, entry.taken),
                wait: self.parameters.wait(age, entry.taken, needed),
            },
        }
    }

    /// Corrects what was taken, where the bucket is still there.
    pub(super) fn correct(&self, key: Key, now: Instant, more: u64, less: u64) {
        let age = self.age(now);
        let mut shard = self.shard(key);
        let place = shard.place(key, age, self);
        if let Some(entry) = shard.entries.get_mut(place) {
            let filled = self.parameters.filled(age.saturating_sub(entry.since));
            entry.taken = entry.taken.max(filled).saturating_add(more).saturating_sub(less);
        }
    }

    /// Keys of which a bucket is kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).entries.len()).sum()
    }
}

impl Shard {
    /// Where the bucket of `key` is; a full one is made where there is none.
    fn place(&mut self, key: Key, age: Duration, table: &Table) -> usize {
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let entry = Entry { key, since: age, taken: 0 };
        if self.entries.len() < (table.max_keys / table.shards.len()).max(1) {
            self.entries.push(entry);
            self.places.insert(key, self.entries.len() - 1);
            return self.entries.len() - 1;
        }
        let place = self.fullest(age, table);
        if let Some(old) = self.entries.get_mut(place) {
            self.places.remove(&old.key);
            *old = entry;
        }
        self.places.insert(key, place);
        place
    }

    /// The first full one of the next few buckets, or the fullest of them.
    fn fullest(&mut self, age: Duration, table: &Table) -> usize {
        let (mut best, mut most) = (self.hand, 0);
        for _ in 0..MAX_LOOKED_AT.min(self.entries.len()) {
            self.hand = (self.hand + 1) % self.entries.len();
            let Some(entry) = self.entries.get(self.hand) else { break };
            let filled = table.parameters.filled(age.saturating_sub(entry.since));
            let level = table.parameters.level(filled, entry.taken);
            if level == table.parameters.max_tokens {
                return self.hand;
            }
            if level >= most {
                (best, most) = (self.hand, level);
            }
        }
        table.forgotten.fetch_add(1, Ordering::Relaxed);
        best
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(max_tokens: u64) -> Parameters {
        Parameters { max_tokens, tokens_per_fill: 1, fill_interval: Duration::from_secs(3600) }
    }

    fn table(max_tokens: u64, max_keys: usize) -> Table {
        Table::new(parameters(max_tokens), max_keys, Arc::default())
    }

    fn allowed(table: &Table, key: &str, tries: usize) -> usize {
        let take = |_: &usize| matches!(table.take(table.key(key.as_bytes()), Instant::now(), 1, 1), Taken::Yes { .. });
        (0..tries).filter(take).count()
    }

    #[test]
    fn every_key_has_a_bucket_of_its_own() {
        let table = table(3, 1000);
        for key in ["a", "b", "c"] {
            assert_eq!(allowed(&table, key, 10), 3, "{key}");
        }
        assert_eq!(allowed(&table, "a", 10), 0);
    }

    #[test]
    fn threads_share_the_bucket_of_a_key() {
        let table = table(1000, 10_000);
        let keys: Vec<String> = (0..50).map(|i| format!("user {i}")).collect();
        let sum: usize = std::thread::scope(|scope| {
            let spend = || keys.iter().map(|key| allowed(&table, key, 400)).sum::<usize>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(spend)).collect();
            threads.into_iter().map(|t| t.join().expect("ends")).sum()
        });
        assert_eq!(sum, 50 * 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_bounded_and_full_buckets_make_place_first() {
        let table = table(2, 10);
        for i in 0..9 {
            assert_eq!(allowed(&table, &format!("full again {i}"), 1), 1);
        }
        tokio::time::advance(Duration::from_secs(7200)).await;
        assert_eq!(allowed(&table, "spent", 3), 2);
        for i in 0..9 {
            assert_eq!(allowed(&table, &format!("new {i}"), 1), 1);
        }
        assert_eq!((table.len(), table.forgotten.load(Ordering::Relaxed)), (10, 0));
        assert_eq!(allowed(&table, "spent", 1), 0, "it was not full, and is remembered");
        for i in 0..10_000 {
            allowed(&table, &format!("flood {i}"), 1);
        }
        assert_eq!(table.len(), 10);
        assert!(table.forgotten.load(Ordering::Relaxed) > 9000);
    }

    #[test]
    fn large_tables_hold_no_more_than_they_may_either() {
        let table = table(1, 5000);
        for i in 0..50_000 {
            allowed(&table, &i.to_string(), 1);
        }
        assert!((4000..=5000).contains(&table.len()), "{}", table.len());
    }

    #[test]
    fn levels_outlive_a_change_of_the_size() {
        let table = table(10, 1000);
        assert_eq!(allowed(&table, "a", 8), 8);
        let changed = table.with_parameters(parameters(5), 500);
        assert_eq!(allowed(&changed, "a", 10), 2);
        assert_eq!(allowed(&changed, "b", 10), 5);
    }
}
