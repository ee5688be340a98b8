//! What outlives a configuration: the levels of rate limits, kept by policy so that a reload fills no bucket; keys that were
//! fetched; and threads.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use agentgateway_otlp::Exporters;
use agentgateway_proto::v1;
use agentgateway_telemetry::labels::{Label, LabelTable};
use agentgateway_telemetry::lines::Sinks;
use prost::Message;
use tokio::sync::Notify;

use crate::concurrency::InFlight;
use crate::jwt::RemoteKeys;
use crate::limits::MAX_KEY_URLS;
use crate::pool::Pool;
use crate::rate_limit::{Bucket, Parameters, Table};

/// State of the whole process. Written when a configuration is compiled, never by requests.
#[derive(Debug, Default)]
pub struct State {
    /// Weak: a bucket lives as long as a configuration that uses it.
    buckets: Mutex<HashMap<String, Weak<Bucket>>>,
    /// The same, by key of requests.
    tables: Mutex<HashMap<String, Weak<Table>>>,
    in_flight: Mutex<HashMap<String, Weak<InFlight>>>,
    limit_counters: Arc<LimitCounters>,
    /// Started by the first policy that needs it, as the next one.
    passwords: Mutex<Weak<Pool>>,
    bodies: Mutex<Weak<Pool>>,
    keys: Mutex<KeyUrls>,
    keys_added: Notify,
    exporters: Arc<Exporters>,
    sinks: Arc<Sinks>,
    label_tables: Mutex<HashMap<String, Weak<LabelTable>>>,
}

/// What limits did, of the whole process.
#[derive(Debug, Default)]
pub struct LimitCounters {
    /// Requests beyond a rate limit that this proxy counts itself.
    pub rate_limited: AtomicU64,
    /// Requests beyond a rate limit that all proxies share.
    pub globally_limited: AtomicU64,
    /// Times that such a limit could not be asked for.
    pub unavailable: AtomicU64,
    /// Requests beyond a concurrency limit.
    pub concurrency_limited: AtomicU64,
    /// Requests that were shed because the proxy had too much to do.
    pub shed: AtomicU64,
    /// Buckets that were not full when they had to make place for other keys.
    pub forgotten_keys: Arc<AtomicU64>,
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
        remember(&mut buckets, key, &bucket);
        bucket
    }

    /// The buckets by key of requests, as [`State::bucket`].
    pub(crate) fn table(&self, key: &str, parameters: Parameters, max_keys: usize) -> Arc<Table> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let table = match tables.get(key).and_then(Weak::upgrade) {
            Some(table) if table.is(parameters, max_keys) => return table,
            Some(table) => Arc::new(table.with_parameters(parameters, max_keys)),
            None => Arc::new(Table::new(parameters, max_keys, Arc::clone(&self.limit_counters.forgotten_keys))),
        };
        remember(&mut tables, key, &table);
        table
    }

    /// What is being served under `key`.
    pub fn in_flight(&self, key: &str) -> Arc<InFlight> {
        let mut all = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(key).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::default();
        remember(&mut all, key, &new);
        new
    }

    /// Collectors of spans and log records.
    pub fn exporters(&self) -> &Arc<Exporters> {
        &self.exporters
    }

    /// Where lines of access logs go.
    pub fn sinks(&self) -> &Arc<Sinks> {
        &self.sinks
    }

    /// The counters by label of `key`; with other labels than before they begin anew.
    pub(crate) fn label_table(&self, key: &str, labels: Vec<Label>) -> Arc<LabelTable> {
        let mut all = self.label_tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(key).and_then(Weak::upgrade)
            && *known.labels() == *labels
        {
            return known;
        }
        let new = Arc::new(LabelTable::new(labels));
        remember(&mut all, key, &new);
        new
    }

    /// The counters by label that are in use.
    pub fn label_tables(&self) -> Vec<Arc<LabelTable>> {
        let all = self.label_tables.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter_map(Weak::upgrade).collect()
    }

    /// What limits did.
    pub fn limit_counters(&self) -> Arc<LimitCounters> {
        Arc::clone(&self.limit_counters)
    }
}

/// Keeps `value` for as long as somebody uses it.
fn remember<T>(all: &mut HashMap<String, Weak<T>>, key: &str, value: &Arc<T>) {
    // As many dead entries as live ones at most, for a constant price per insertion.
    if all.len() == all.capacity() {
        all.retain(|_, value| value.strong_count() > 0);
    }
    all.insert(key.to_owned(), Arc::downgrade(value));
}

fn shared(pool: &Mutex<Weak<Pool>>, name: &str) -> Arc<Pool> {
    let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
    pool.upgrade().unwrap_or_else(|| {
        let new = Arc::new(Pool::start(name));
        *pool = Arc::downgrade(&new);
        new
    })
}
