//! Collectors that are in use: one queue for each, shared by the policies that name it alike.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use agentgateway_proto::v1;
use agentgateway_upstream::{AddressRules, Cluster, Resolver, Upstream};
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::export::{Collector, run};
use crate::message::{LogRecord, Span};
use crate::{MAX_QUEUED, export};

/// What is sent to a collector.
#[derive(Debug)]
pub enum Item {
    /// A span.
    Span(Box<Span>),
    /// A log record.
    Log(Box<LogRecord>),
}

/// What became of items, of the whole process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Those that a collector took.
    pub exported: AtomicU64,
    /// Those that found the queue full.
    pub overflowed: AtomicU64,
    /// Those that a collector did not take.
    pub failed: AtomicU64,
}

/// The way to one collector.
#[derive(Debug)]
pub struct Exporter {
    queue: mpsc::Sender<Item>,
    counters: Arc<Counters>,
}

impl Exporter {
    /// Gives an item on; it is dropped when too many wait.
    pub fn send(&self, item: Item) {
        if self.queue.try_send(item).is_err() {
            self.counters.overflowed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// All collectors.
pub struct Exporters {
    state: Mutex<State>,
    added: watch::Sender<u64>,
    closing: watch::Sender<bool>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct State {
    /// By the encoded message that names it. Weak: a queue lives as long as a configuration that uses it.
    all: HashMap<Vec<u8>, Weak<Exporter>>,
    unstarted: Vec<(Collector, mpsc::Receiver<Item>)>,
}

impl Default for Exporters {
    fn default() -> Self {
        let (added, closing) = (watch::Sender::new(0), watch::Sender::new(false));
        Exporters { state: Mutex::default(), added, closing, counters: Arc::default() }
    }
}

impl fmt::Debug for Exporters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporters")
    }
}

/// What sending needs of the process.
#[derive(Clone)]
pub struct Network {
    /// Looks names up.
    pub resolver: Resolver,
    /// Which addresses may be reached.
    pub rules: Arc<AddressRules>,
    /// The backend of plain HTTP or gRPC with a key, as it is configured at this moment.
    pub cluster: Arc<dyn Fn(&str) -> Option<Arc<Cluster>> + Send + Sync>,
}

impl Exporters {
    /// The way to this collector.
    ///
    /// # Errors
    /// The message cannot be used.
    pub fn get(&self, spec: &v1::OpenTelemetry) -> Result<Arc<Exporter>, String> {
        let collector = Collector::new(spec)?;
        let name = spec.encode_to_vec();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.all.get(&name).and_then(Weak::upgrade) {
            return Ok(known);
        }
        state.all.retain(|_, exporter| exporter.strong_count() > 0);
        let (queue, items) = mpsc::channel(MAX_QUEUED);
        let exporter = Arc::new(Exporter { queue, counters: Arc::clone(&self.counters) });
        state.all.insert(name, Arc::downgrade(&exporter));
        state.unstarted.push((collector, items));
        drop(state);
        self.added.send_modify(|added| *added += 1);
        Ok(exporter)
    }

    /// What became of items.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Starts the thread that sends when there is a collector; ends after [`Exporters::close`].
    ///
    /// # Errors
    /// The thread or its runtime could not be made.
    pub async fn run(self: Arc<Self>, network: Network) -> std::io::Result<()> {
        let mut added = self.added.subscribe();
        let mut closing = self.closing.subscribe();
        tokio::select! {
            _ = added.wait_for(|added| *added > 0) => {}
            _ = closing.wait_for(|closing| *closing) => return Ok(()),
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (done, ended) = tokio::sync::oneshot::channel::<()>();
        std::thread::Builder::new().name("telemetry".into()).spawn(move || {
            runtime.block_on(LocalSet::new().run_until(self.serve(network)));
            drop(done);
        })?;
        let _ended = ended.await;
        Ok(())
    }

    async fn serve(&self, network: Network) {
        let upstream = std::rc::Rc::new(Upstream::new(network.resolver, network.rules));
        let (mut added, mut closing) = (self.added.subscribe(), self.closing.subscribe());
        let mut tasks = JoinSet::new();
        loop {
            added.mark_unchanged();
            let new = std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).unstarted);
            for (collector, items) in new {
                let sending = export::Sending {
                    upstream: std::rc::Rc::clone(&upstream),
                    cluster: Arc::clone(&network.cluster),
                    counters: Arc::clone(&self.counters),
                    closing: self.closing.subscribe(),
                };
                tasks.spawn_local(run(collector, items, sending));
            }
            tokio::select! {
                _ = added.changed() => {}
                Some(_) = tasks.join_next() => {}
                _ = closing.wait_for(|closing| *closing) => break,
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Sends what waits, and waits for that as long as `patience`. `running` is the task of [`Exporters::run`].
    pub async fn close(&self, running: tokio::task::JoinHandle<std::io::Result<()>>, patience: Duration) {
        self.closing.send_replace(true);
        if tokio::time::timeout(patience, running).await.is_err() {
            tracing::warn!("spans or log records could not be sent in time");
        }
    }
}
