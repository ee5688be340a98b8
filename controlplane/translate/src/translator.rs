//! The translator: keeps the objects, finds out what a change concerns, and translates that again.

mod backends;
mod gateways;
mod policies;
mod routes;

use std::collections::BTreeSet;

use agentgateway_collections::SmallSet;
use agentgateway_proto::snapshot::Snapshot;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::fact::{Fact, Index};
use crate::made::Made;
use crate::object::{Change, ObjectKey, ObjectKind, Rejection};
use crate::output::{Output, References, StatusUpdate};
use crate::unit::{Dirty, Unit};
use crate::view::View;
use crate::world::World;
use crate::{Installed, Name, Settings, gateway, names, rejected, statuses};

/// How often objects were translated, since the translator was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Gateways, each with its ListenerSets.
    pub gateways: u64,
    /// Routes of all kinds.
    pub routes: u64,
    /// Backends and ports of Services.
    pub backends: u64,
    /// Policies of all kinds.
    pub policies: u64,
}

/// Keeps the objects and what was made of them.
#[derive(Debug)]
pub struct Translator {
    settings: Settings,
    world: World,
    made: Made,
    index: Index,
    counters: Counters,
}

impl Translator {
    /// A translator that knows no objects.
    pub fn new(settings: Settings) -> Translator {
        let (world, made, index) = (World::default(), Made::default(), Index::default());
        Translator { settings, world, made, index, counters: Counters::default() }
    }

    /// Takes the changes in, all at once, and says what they change. `now` is the time for conditions that change.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>, now: &Time) -> Output {
        let mut dirty = Dirty::default();
        let mut touched = BTreeSet::new();
        for change in changes {
            touched.insert(change.key.clone());
            let meaning = self.world.update(change);
            meaning.facts.iter().for_each(|fact| dirty.fire(&self.index, fact));
            meaning.units.iter().for_each(|unit| dirty.add(unit));
            dirty.statuses.extend(meaning.statuses);
        }
        let mut output = Output::default();
        self.gateways(&mut dirty, &mut output);
        self.backend_objects(&mut dirty);
        self.routes(&mut dirty);
        self.services(&mut dirty);
        self.policies_and_services(&mut dirty);
        self.tls_policies(&mut dirty);
        self.finish(dirty, &touched, now, output)
    }

    /// Sets what the proxies of a gateway refuse, all of it; it becomes conditions of the objects.
    pub fn set_rejections(&mut self, gateway: &Name, rejections: Vec<Rejection>, now: &Time) -> Output {
        let mut dirty = Dirty::default();
        if let Some(state) = self.made.gateways.get_mut(gateway) {
            let new = rejected::by_object(gateway, rejections);
            let changed = |key: &&ObjectKey| new.get(*key) != state.rejections.get(*key);
            dirty.statuses = new.keys().chain(state.rejections.keys()).filter(changed).cloned().collect();
            state.rejections = new;
        }
        self.finish(dirty, &BTreeSet::new(), now, Output::default())
    }

    /// Sets which definitions of Gateway API the cluster has: what GatewayClasses say depends on it.
    pub fn set_installed(&mut self, installed: Installed, now: &Time) -> Output {
        let mut dirty = Dirty::default();
        if self.world.installed.as_ref() != Some(&installed) {
            let key = |name: &Name| ObjectKey { kind: ObjectKind::GatewayClass, name: name.clone() };
            dirty.statuses = self.world.classes.keys().map(key).collect();
            self.world.installed = Some(installed);
        }
        self.finish(dirty, &BTreeSet::new(), now, Output::default())
    }

    /// What the proxies of a gateway are to have; `None` when it is not ours.
    pub fn snapshot(&self, gateway: &Name) -> Option<&Snapshot> {
        self.made.gateways.get(gateway).map(|state| &state.snapshot)
    }

    /// The gateways of our classes.
    pub fn gateway_names(&self) -> impl Iterator<Item = &Name> {
        self.made.gateways.keys()
    }

    /// All statuses that were given out and have not come back with their objects yet.
    pub fn pending_statuses(&self) -> Vec<StatusUpdate> {
        statuses::pending(&self.world, &self.made)
    }

    /// The Secrets and ConfigMaps in use of which nobody has said yet what is in them. What uses them is not translated, so
    /// a first translation is complete only when there are none.
    pub fn unread(&self) -> impl Iterator<Item = &ObjectKey> {
        self.made.references.iter().filter(|key| !self.world.is_read(key))
    }

    /// How often objects were translated.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Translates one unit, and notes what it looked at. Gives nothing when it has to wait for what is not read yet; it is
    /// then left as it is.
    fn look<T>(&mut self, unit: Unit, exists: bool, translate: impl FnOnce(&World, &View<'_>) -> T) -> Option<T> {
        let (made, waits) = self.look_at(unit, exists, translate);
        (!waits).then_some(made)
    }

    /// As [`Translator::look`], with what came of it and whether it has to wait.
    fn look_at<T>(&mut self, unit: Unit, exists: bool, translate: impl FnOnce(&World, &View<'_>) -> T) -> (T, bool) {
        let view = View::new(&self.settings, &self.world, &self.made);
        let made = translate(&self.world, &view);
        let wait = view.saw_unread();
        self.index.set(unit, if exists { view.into_seen() } else { SmallSet::default() });
        (made, wait)
    }

    fn finish(&mut self, mut dirty: Dirty, touched: &BTreeSet<ObjectKey>, now: &Time, mut output: Output) -> Output {
        for (name, state) in &mut self.made.gateways {
            if state.end_edit() {
                output.snapshots.insert(name.clone(), Some(state.snapshot.clone()));
            }
        }
        self.tell_sets(&mut dirty);
        for key in dirty.statuses {
            let update =
                statuses::update(&key, touched.contains(&key), &self.settings, &self.world, &mut self.made, now);
            output.statuses.extend(update);
        }
        output.references = self.references();
        output
    }

    /// Whether a Gateway is programmed concerns its ListenerSets.
    fn tell_sets(&mut self, dirty: &mut Dirty) {
        let gateways: Vec<Name> =
            dirty.statuses.iter().filter(|key| key.kind == ObjectKind::Gateway).map(|key| key.name.clone()).collect();
        for name in gateways {
            let (Some(object), Some(state)) = (self.world.gateways.get(&name), self.made.gateways.get_mut(&name))
            else {
                continue;
            };
            let service = names::service_of_gateway(&self.world, &name);
            let programmed = gateway::programmed(object, state, service).holds;
            if state.programmed.replace(programmed) != Some(programmed) {
                dirty.statuses.extend(state.plan.owners());
            }
        }
    }

    fn references(&mut self) -> References {
        let mut references = References::default();
        for (key, used) in self.index.take_turned() {
            if used && self.made.references.insert(key.clone()) {
                references.added.insert(key);
            } else if !used && self.made.references.remove(&key) {
                self.world.forget(&key);
                references.removed.insert(key);
            }
        }
        references
    }

    fn fire(&self, fact: &Fact, dirty: &mut Dirty) {
        dirty.fire(&self.index, fact);
    }
}
