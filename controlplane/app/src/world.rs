//! The one place where inputs become outputs: takes changes in, translates, publishes snapshots, and hands on the rest.
//!
//! Changes that wait are translated together; none waits for others to come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agentgateway_controlplane_translate::{
    Change, Name, Object, ObjectKey, ObjectKind, Output, Rejection, Settings, StatusUpdate, Translator, Workload,
};
use agentgateway_controlplane_xds::registry::Phase;
use agentgateway_controlplane_xds::{Registry, Rejections};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::metrics::Metrics;

/// Messages that wait for the translator; a full queue slows the watches down.
pub(crate) const INPUT_QUEUE: usize = 1_024;
/// Messages translated together at most, so that a flood does not hold back what is done already.
const BATCH: usize = 256;

/// What the world is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// New states of objects.
    Changes(Vec<Change>),
    /// All objects of this kind have been given.
    Synced(ObjectKind),
    /// Statuses that are not written yet are to be handed out again: this replica has become the leader.
    RepeatStatuses,
    /// What proxies reject on the streams of the other replicas, all of it.
    PeerRejections(Rejecting),
}

/// What proxies reject, by gateway.
pub(crate) type Rejecting = BTreeMap<Name, BTreeSet<Rejection>>;

/// What is done with statuses and workloads.
pub(crate) trait Sink: Send + 'static {
    /// Statuses to write. Gives back objects whose status changed thereby at once, as happens without an API server.
    fn statuses(&mut self, statuses: Vec<StatusUpdate>) -> Vec<Change>;
    /// What is to be deployed. Gives back objects that exist thereby at once.
    fn workloads(&mut self, workloads: BTreeMap<Name, Option<Workload>>) -> Vec<Change>;
}

/// The translator and what hangs on it.
pub(crate) struct World<S> {
    translator: Translator,
    registry: Arc<Registry>,
    rejections: Arc<Rejections>,
    metrics: Metrics,
    sink: S,
    unsynced: BTreeSet<ObjectKind>,
    /// Of each object the newest state, until all kinds are complete: half a world would close what is open.
    early: BTreeMap<ObjectKey, Change>,
    unreadable: BTreeSet<ObjectKey>,
    rejecting: Rejecting,
    peers_rejecting: Rejecting,
    ready: watch::Sender<bool>,
}

impl<S: Sink> World<S> {
    /// A world that waits until every kind that is [watched](ObjectKind::watched) is complete.
    pub(crate) fn new(
        settings: Settings,
        registry: Arc<Registry>,
        rejections: Arc<Rejections>,
        metrics: Metrics,
        sink: S,
        ready: watch::Sender<bool>,
    ) -> Self {
        World {
            translator: Translator::new(settings),
            registry,
            rejections,
            metrics,
            sink,
            unsynced: ObjectKind::ALL.iter().copied().filter(|kind| kind.watched()).collect(),
            early: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            rejecting: Rejecting::new(),
            peers_rejecting: Rejecting::new(),
            ready,
        }
    }

    /// Runs until nobody gives input any more.
    pub(crate) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut rejections = self.rejections.subscribe();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                count = inputs.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    // Translating a large world takes longer than a task may.
                    tokio::task::block_in_place(|| self.take(batch.drain(..)));
                }
                changed = rejections.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if *self.ready.borrow() {
                        tokio::task::block_in_place(|| self.take_rejections());
                    }
                }
            }
        }
    }

    fn take(&mut self, inputs: impl Iterator<Item = Input>) {
        let mut changes = Vec::new();
        let mut repeat = false;
        let mut rejections = false;
        for input in inputs {
            match input {
                Input::Changes(more) => changes.extend(more),
                Input::Synced(kind) => {
                    self.unsynced.remove(&kind);
                }
                Input::RepeatStatuses => repeat = true,
                Input::PeerRejections(peers) => {
                    self.peers_rejecting = peers;
                    rejections = true;
                }
            }
        }
        let first = !*self.ready.borrow();
        if first {
            self.early.extend(changes.into_iter().map(|change| (change.key.clone(), change)));
            if !self.unsynced.is_empty() {
                return;
            }
            changes = std::mem::take(&mut self.early).into_values().collect();
        }
        if !changes.is_empty() || first {
            self.apply(changes);
        }
        if rejections || first {
            self.take_rejections();
        }
        if repeat {
            let pending = self.translator.pending_statuses();
            self.settle(Output { statuses: pending, ..Output::default() });
        }
        if first {
            tracing::info!(gateways = self.registry.gateways().len(), "all inputs seen and translated; serving");
            self.registry.set_phase(Phase::Serving);
            self.ready.send_replace(true);
        }
    }

    fn apply(&mut self, changes: Vec<Change>) {
        for change in &changes {
            self.note_unreadable(change);
        }
        let output = self.translate(|translator, now| translator.apply(changes, now));
        self.settle(output);
    }

    /// Publishes, hands on, and takes back what comes of that, until nothing does. Statuses come last: what is deployed
    /// may change them.
    fn settle(&mut self, mut output: Output) {
        let mut statuses = BTreeMap::new();
        loop {
            for (gateway, snapshot) in output.snapshots {
                match snapshot {
                    Some(snapshot) => self.registry.publish(&gateway.to_string(), Arc::new(snapshot)),
                    None => self.registry.remove(&gateway.to_string()),
                }
            }
            statuses.extend(output.statuses.into_iter().map(|status| (status.key.clone(), status)));
            let mut back = Vec::new();
            if !output.workloads.is_empty() {
                back = self.sink.workloads(output.workloads);
            }
            if back.is_empty() && !statuses.is_empty() {
                back = self.sink.statuses(std::mem::take(&mut statuses).into_values().collect());
            }
            if back.is_empty() {
                return;
            }
            output = self.translate(|translator, now| translator.apply(back, now));
        }
    }

    fn translate(&mut self, call: impl FnOnce(&mut Translator, &Time) -> Output) -> Output {
        let began = std::time::Instant::now();
        let output = call(&mut self.translator, &Time(Timestamp::now()));
        self.metrics.translate_seconds.observe(began.elapsed().as_secs_f64());
        self.metrics.translated(self.translator.counters());
        output
    }

    fn note_unreadable(&mut self, change: &Change) {
        if let Some(Object::Unreadable(unreadable)) = &change.object {
            tracing::warn!(object = %change.key, reason = unreadable.reason, "an object does not fit our types");
            self.unreadable.insert(change.key.clone());
        } else {
            self.unreadable.remove(&change.key);
        }
        self.metrics.unreadable.set(i64::try_from(self.unreadable.len()).unwrap_or(i64::MAX));
    }

    fn take_rejections(&mut self) {
        let mut now = self.peers_rejecting.clone();
        for (gateway, _, rejection) in self.rejections.all() {
            let Some((namespace, name)) = gateway.split_once('/') else { continue };
            let rejection = Rejection { kind: rejection.kind, key: rejection.key, reason: rejection.reason };
            now.entry(Name::new(namespace, name)).or_default().insert(rejection);
        }
        let before = std::mem::replace(&mut self.rejecting, now.clone());
        let gateways: BTreeSet<&Name> = before.keys().chain(now.keys()).collect();
        for gateway in gateways {
            if before.get(gateway) == now.get(gateway) {
                continue;
            }
            let rejections = now.get(gateway).into_iter().flatten().cloned().collect();
            let output = self.translate(|translator, time| translator.set_rejections(gateway, rejections, time));
            self.settle(output);
        }
    }
}
