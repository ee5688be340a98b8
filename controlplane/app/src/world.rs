//! The one place where inputs become outputs: takes changes in, translates, publishes snapshots, and hands on the rest.
//!
//! Changes that wait are translated together; none waits for others to come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agentgateway_controlplane_translate::{
    Change, Installed, Name, Object, ObjectKey, ObjectKind, Output, References, Rejection, Settings, StatusUpdate,
    Translator, Workload,
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
    /// Which definitions of Gateway API the cluster has; `None` when that cannot be known.
    Installed(Option<Installed>),
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
    /// Secrets and ConfigMaps to be read and followed. Gives back those that are known at once; the others come as input.
    fn references(&mut self, references: References) -> Vec<Change>;
}

/// The translator and what hangs on it.
pub(crate) struct World<S> {
    translator: Translator,
    registry: Arc<Registry>,
    rejections: Arc<Rejections>,
    metrics: Metrics,
    sink: S,
    start: Start,
    unreadable: BTreeSet<ObjectKey>,
    rejecting: Rejecting,
    peers_rejecting: Rejecting,
    ready: watch::Sender<bool>,
}

/// How far the start is. Until its end nothing is given out: half a world would close what is open.
enum Start {
    /// Objects are listed: kinds that are not complete, whether definitions are known, and of each object the newest state.
    Listing { unsynced: BTreeSet<ObjectKind>, definitions: bool, early: BTreeMap<ObjectKey, Change> },
    /// All is translated but what waits for Secrets and ConfigMaps. With what is to be deployed as far as that is known.
    Reading { workloads: BTreeMap<Name, Option<Workload>> },
    /// Everything is given out as it comes.
    Over,
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
            start: Start::Listing {
                unsynced: ObjectKind::ALL.iter().copied().filter(|kind| kind.watched()).collect(),
                definitions: false,
                early: BTreeMap::new(),
            },
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
        let mut synced = Vec::new();
        let mut installed = None;
        let mut repeat = false;
        let mut rejections = false;
        for input in inputs {
            match input {
                Input::Changes(more) => changes.extend(more),
                Input::Synced(kind) => synced.push(kind),
                Input::Installed(new) => installed = Some(new),
                Input::RepeatStatuses => repeat = true,
                Input::PeerRejections(peers) => {
                    self.peers_rejecting = peers;
                    rejections = true;
                }
            }
        }
        if !matches!(self.start, Start::Over) {
            // A new leader's statuses and what proxies reject are looked at when it is over.
            return self.begin(changes, &synced, installed);
        }
        if let Some(installed) = installed.flatten() {
            let output = self.translate(|translator, now| translator.set_installed(installed, now));
            self.settle(output);
        }
        if !changes.is_empty() {
            self.apply(changes);
        }
        if rejections {
            self.take_rejections();
        }
        if repeat {
            let pending = self.translator.pending_statuses();
            self.settle(Output { statuses: pending, ..Output::default() });
        }
    }

    /// Takes in what comes before the start is over, and gives everything out when this ends it.
    fn begin(&mut self, mut changes: Vec<Change>, synced: &[ObjectKind], installed: Option<Option<Installed>>) {
        let told = installed.is_some();
        if let Some(installed) = installed.flatten() {
            // Statuses are given out at the end of the start.
            self.translate(|translator, now| translator.set_installed(installed, now));
        }
        if let Start::Listing { unsynced, definitions, early } = &mut self.start {
            *definitions |= told;
            early.extend(changes.into_iter().map(|change| (change.key.clone(), change)));
            unsynced.retain(|kind| !synced.contains(kind));
            if !unsynced.is_empty() || !*definitions {
                return;
            }
            changes = std::mem::take(early).into_values().collect();
            self.start = Start::Reading { workloads: BTreeMap::new() };
        }
        loop {
            changes.iter().for_each(|change| self.note_unreadable(change));
            let output = self.translate(|translator, now| translator.apply(changes, now));
            let Start::Reading { workloads } = &mut self.start else { return };
            workloads.extend(output.workloads);
            changes = self.sink.references(output.references);
            if changes.is_empty() {
                break;
            }
        }
        if self.translator.unread().next().is_some() {
            return;
        }
        if let Start::Reading { workloads } = std::mem::replace(&mut self.start, Start::Over) {
            self.give_out(workloads);
        }
    }

    fn give_out(&mut self, workloads: BTreeMap<Name, Option<Workload>>) {
        let names = self.translator.gateway_names().cloned().collect::<Vec<_>>();
        let snapshots = names.into_iter().map(|name| {
            let snapshot = self.translator.snapshot(&name).cloned();
            (name, snapshot)
        });
        let output = Output {
            snapshots: snapshots.collect(),
            statuses: self.translator.pending_statuses(),
            workloads,
            ..Output::default()
        };
        self.settle(output);
        self.take_rejections();
        tracing::info!(gateways = self.registry.gateways().len(), "all inputs seen and translated; serving");
        self.registry.set_phase(Phase::Serving);
        self.ready.send_replace(true);
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
            if output.references != References::default() {
                back = self.sink.references(output.references);
            }
            if !output.workloads.is_empty() {
                back.extend(self.sink.workloads(output.workloads));
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
