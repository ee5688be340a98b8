//! Counters by labels that policies define, with bounds on how many there are.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use dashmap::DashMap;

/// What is counted for values beyond the bounds.
pub const OTHER: &str = "other";
/// Combinations of values of one table; others are counted with all labels "other".
pub const MAX_SERIES: usize = 2000;
/// Longer values are cut.
const MAX_VALUE_BYTES: usize = 128;

/// One label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: Arc<str>,
    /// Different values that are counted by themselves.
    pub max_values: usize,
}

/// Counters by values of labels.
#[derive(Debug)]
pub struct LabelTable {
    labels: Box<[Label]>,
    known: Box<[RwLock<HashSet<Arc<str>>>]>,
    series: DashMap<Box<[Arc<str>]>, Arc<Counts>>,
}

/// What is counted of requests with the same values.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests.
    pub requests: AtomicU64,
    /// Of these, those with a status from 400.
    pub failed: AtomicU64,
    /// From head to the end of the response, together, in microseconds.
    pub duration_microseconds: AtomicU64,
    /// Tokens of language models.
    pub input_tokens: AtomicU64,
    /// Tokens of language models.
    pub output_tokens: AtomicU64,
}

/// What is counted of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Of the response.
    pub status: u16,
    /// From the head to the end of the response.
    pub duration: Duration,
    /// Tokens of language models.
    pub input_tokens: u64,
    /// Tokens of language models.
    pub output_tokens: u64,
}

impl LabelTable {
    /// An empty table.
    pub fn new(labels: Vec<Label>) -> LabelTable {
        let known = labels.iter().map(|_| RwLock::default()).collect();
        LabelTable { labels: labels.into(), known, series: DashMap::new() }
    }

    /// The labels.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Counts a request; there is one value for each label.
    pub fn count(&self, values: &[String], counted: Counted) {
        let values = self.known.iter().zip(&self.labels).zip(values);
        let mut key: Box<[Arc<str>]> = values.map(|((known, label), value)| bounded(known, label, value)).collect();
        if !self.series.contains_key(&key) && self.series.len() >= MAX_SERIES {
            key = self.labels.iter().map(|_| OTHER.into()).collect();
        }
        let counts = Arc::clone(&self.series.entry(key).or_default());
        counts.requests.fetch_add(1, Ordering::Relaxed);
        if counted.status >= 400 {
            counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        let microseconds = u64::try_from(counted.duration.as_micros()).unwrap_or(u64::MAX);
        counts.duration_microseconds.fetch_add(microseconds, Ordering::Relaxed);
        counts.input_tokens.fetch_add(counted.input_tokens, Ordering::Relaxed);
        counts.output_tokens.fetch_add(counted.output_tokens, Ordering::Relaxed);
    }

    /// All that was counted.
    pub fn read(&self) -> Vec<(Box<[Arc<str>]>, Arc<Counts>)> {
        self.series.iter().map(|series| (series.key().clone(), Arc::clone(series.value()))).collect()
    }
}

/// The value, or "other" where there are too many.
fn bounded(known: &RwLock<HashSet<Arc<str>>>, label: &Label, value: &str) -> Arc<str> {
    let value = value.get(..value.floor_char_boundary(MAX_VALUE_BYTES)).unwrap_or_default();
    if let Ok(known) = known.read() {
        if let Some(value) = known.get(value) {
            return Arc::clone(value);
        }
        if known.len() >= label.max_values {
            return OTHER.into();
        }
    }
    let Ok(mut known) = known.write() else { return OTHER.into() };
    if known.len() >= label.max_values && !known.contains(value) {
        return OTHER.into();
    }
    let value: Arc<str> = value.into();
    known.insert(Arc::clone(&value));
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str, max_values: usize) -> Label {
        Label { name: name.into(), max_values }
    }

    fn counted(table: &LabelTable) -> Vec<(String, u64)> {
        let read = table.read().into_iter();
        let mut all: Vec<_> = read.map(|(key, c)| (key.join(","), c.requests.load(Ordering::Relaxed))).collect();
        all.sort();
        all
    }

    #[test]
    fn values_beyond_the_bound_are_counted_as_other() {
        let table = LabelTable::new(vec![label("tenant", 2), label("tier", 10)]);
        for tenant in ["a", "b", "a", "c", "d"] {
            table.count(&[tenant.to_owned(), "x".to_owned()], Counted { status: 500, ..Counted::default() });
        }
        assert_eq!(counted(&table), [("a,x".into(), 2), ("b,x".into(), 1), ("other,x".into(), 2)]);
    }

    #[test]
    fn combinations_are_bounded_too_and_threads_lose_nothing() {
        let table = LabelTable::new(vec![label("a", 1000), label("b", 1000)]);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let table = &table;
                scope.spawn(move || {
                    for i in 0..1000_u32 {
                        table.count(&[i.to_string(), (i % (2 + thread)).to_string()], Counted::default());
                    }
                });
            }
        });
        let all = counted(&table);
        // Threads that add at one moment may each add the last one.
        assert!(all.len() <= MAX_SERIES + 5, "{}", all.len());
        assert_eq!(all.iter().map(|(_, n)| n).sum::<u64>(), 4000);
    }
}
