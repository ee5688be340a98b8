//! What outlives a configuration: the levels of rate limits, kept by policy so that a reload fills no bucket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::rate_limit::{Bucket, Parameters};

/// State of the whole process. Written when a configuration is compiled, never by requests.
#[derive(Debug, Default)]
pub struct State {
    /// Weak: a bucket lives as long as a configuration that uses it.
    buckets: Mutex<HashMap<String, Weak<Bucket>>>,
}

impl State {
    /// Empty state.
    pub fn new() -> Self {
        State::default()
    }

    /// The bucket of `key`, full if it is new. With other parameters than before it keeps its level as far as that fits.
    pub(crate) fn bucket(&self, key: &str, parameters: Parameters) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = match buckets.get(key).and_then(Weak::upgrade) {
            Some(bucket) if bucket.parameters() == parameters => return bucket,
            Some(bucket) => Arc::new(bucket.with_parameters(parameters)),
            None => Arc::new(Bucket::full(parameters)),
        };
        // As many dead entries as live ones at most, for a constant price per insertion.
        if buckets.len() == buckets.capacity() {
            buckets.retain(|_, bucket| bucket.strong_count() > 0);
        }
        buckets.insert(key.to_owned(), Arc::downgrade(&bucket));
        bucket
    }
}
