//! What outlives a configuration: the levels of rate limits, kept by policy so that a reload fills no bucket; keys that were
//! fetched; and threads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use agentgateway_proto::v1;
use prost::Message;
use tokio::sync::Notify;

use crate::jwt::RemoteKeys;
use crate::limits::MAX_KEY_URLS;
use crate::pool::Pool;
use crate::rate_limit::{Bucket, Parameters};

/// State of the whole process. Written when a configuration is compiled, never by requests.
#[derive(Debug, Default)]
pub struct State {
    /// Weak: a bucket lives as long as a configuration that uses it.
    buckets: Mutex<HashMap<String, Weak<Bucket>>>,
    /// Started by the first policy that needs it, as the next one.
    passwords: Mutex<Weak<Pool>>,
    bodies: Mutex<Weak<Pool>>,
    keys: Mutex<KeyUrls>,
    keys_added: Notify,
}

/// Keys of issuers' URLs.
#[derive(Debug, Default)]
struct KeyUrls {
    /// By the encoded message that names them.
    all: HashMap<Vec<u8>, Weak<RemoteKeys>>,
    /// Those that nobody fetches yet.
    unfetched: VecDeque<Weak<RemoteKeys>>,
}

impl State {
    /// Empty state.
    pub fn new() -> Self {
        State::default()
    }

    /// The keys of a URL: those that are there already, or new ones that are to be fetched.
    pub(crate) fn remote_keys(&self, spec: &v1::RemoteJwks) -> Result<Arc<RemoteKeys>, String> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let name = spec.encode_to_vec();
        if let Some(known) = keys.all.get(&name).and_then(Weak::upgrade) {
            return Ok(known);
        }
        keys.all.retain(|_, keys| keys.strong_count() > 0);
        if keys.all.len() >= MAX_KEY_URLS {
            return Err(format!("{MAX_KEY_URLS} URLs are in use already"));
        }
        let new = Arc::new(RemoteKeys::new(spec));
        keys.all.insert(name, Arc::downgrade(&new));
        keys.unfetched.push_back(Arc::downgrade(&new));
        self.keys_added.notify_one();
        Ok(new)
    }

    pub(crate) fn unfetched(&self) -> Option<Weak<RemoteKeys>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).unfetched.pop_front()
    }

    pub(crate) async fn keys_added(&self) {
        self.keys_added.notified().await;
    }

    /// The threads that hash passwords; they end with the last policy that uses them.
    pub(crate) fn password_pool(&self) -> Arc<Pool> {
        shared(&self.passwords, "passwords")
    }

    /// The threads that transform large bodies; they end with the last policy that uses them.
    pub(crate) fn body_pool(&self) -> Arc<Pool> {
        shared(&self.bodies, "bodies")
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

fn shared(pool: &Mutex<Weak<Pool>>, name: &str) -> Arc<Pool> {
    let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
    pool.upgrade().unwrap_or_else(|| {
        let new = Arc::new(Pool::start(name));
        *pool = Arc::downgrade(&new);
        new
    })
}
