//! The translator: keeps the objects, finds out what a change concerns, and translates that again.

use std::collections::BTreeSet;

use agentgateway_proto::snapshot::Snapshot;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::backend::BackendState;
use crate::fact::{Fact, Index};
use crate::gateway::{self, GatewayTranslation};
use crate::made::{GatewayState, Made};
use crate::object::{Change, ObjectKey, ObjectKind, Rejection};
use crate::output::{Output, StatusUpdate};
use crate::policy::{self, PolicyState};
use crate::route::{self, RouteState};
use crate::unit::{BackendUnit, Dirty, Items, Unit, replace};
use crate::view::View;
use crate::world::World;
use crate::{Name, Settings, backend, rejected, service, statuses};

/// How often objects were translated, since the translator was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Gateways.
    pub gateways: u64,
    /// HTTPRoutes.
    pub routes: u64,
    /// Backends and ports of Services.
    pub backends: u64,
    /// TrafficPolicies.
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
        self.policies(&mut dirty);
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

    /// How often objects were translated.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn gateways(&mut self, dirty: &mut Dirty, output: &mut Output) {
        for name in std::mem::take(&mut dirty.gateways) {
            self.counters.gateways += 1;
            let view = View::new(&self.settings, &self.world, &self.made);
            let object = self.world.gateways.get(&name);
            let made = object.and_then(|gateway| gateway::translate(gateway, &view));
            let seen = if object.is_some() { view.into_seen() } else { BTreeSet::new() };
            self.index.set(Unit::Gateway(name.clone()), seen);
            dirty.statuses.insert(ObjectKey { kind: ObjectKind::Gateway, name: name.clone() });
            match made {
                Some(made) => self.put_gateway(name, made, dirty, output),
                None => self.drop_gateway(&name, dirty, output),
            }
        }
    }

    fn put_gateway(&mut self, name: Name, made: GatewayTranslation, dirty: &mut Dirty, output: &mut Output) {
        let GatewayTranslation { plan, verdict, workload, items } = made;
        let Some(state) = self.made.gateways.get_mut(&name) else {
            output.workloads.insert(name.clone(), Some(workload.clone()));
            dirty.fire(&self.index, &Fact::Plan(name.clone()));
            let mut state = GatewayState::new(plan, verdict, workload);
            replace(state.edit(), &Items::new(), &items);
            state.items = items;
            self.made.gateways.insert(name, state);
            return;
        };
        if state.workload != workload {
            output.workloads.insert(name.clone(), Some(workload.clone()));
            state.workload = workload;
        }
        if state.plan != plan {
            dirty.fire(&self.index, &Fact::Plan(name));
            state.plan = plan;
        }
        state.verdict = verdict;
        let old = std::mem::replace(&mut state.items, items.clone());
        if old != items {
            replace(state.edit(), &old, &items);
        }
    }

    fn drop_gateway(&mut self, name: &Name, dirty: &mut Dirty, output: &mut Output) {
        let Some(state) = self.made.gateways.remove(name) else { return };
        output.workloads.insert(name.clone(), None);
        output.snapshots.insert(name.clone(), None);
        dirty.fire(&self.index, &Fact::Plan(name.clone()));
        for unit in state.uses.into_keys() {
            self.made.forget_user(&unit, name);
            self.drop_if_unused(&unit);
            dirty.fire(&self.index, &Fact::Users(unit));
        }
        // The objects that proxies of the gateway refused lose that condition.
        dirty.statuses.extend(state.rejections.into_keys());
    }

    fn backend_objects(&mut self, dirty: &mut Dirty) {
        let (objects, others) =
            std::mem::take(&mut dirty.backends).into_iter().partition(|unit| matches!(unit, BackendUnit::Object(_)));
        dirty.backends = others;
        for unit in objects {
            let BackendUnit::Object(name) = &unit else { continue };
            self.counters.backends += 1;
            let view = View::new(&self.settings, &self.world, &self.made);
            let object = self.world.backends.get(name);
            let state = object.map(|backend| backend::translate(backend, &view));
            let seen = if object.is_some() { view.into_seen() } else { BTreeSet::new() };
            self.index.set(Unit::Backend(unit.clone()), seen);
            dirty.statuses.insert(ObjectKey { kind: ObjectKind::Backend, name: name.clone() });
            let look = |s: &BackendState| (s.mcp, s.refused.clone());
            if self.made.backends.get(&unit).map(look) != state.as_ref().map(look) {
                dirty.fire(&self.index, &Fact::Backend(name.clone()));
            }
            self.put_backend(unit, state, dirty);
        }
    }

    fn services(&mut self, dirty: &mut Dirty) {
        // A port that is an MCP backend brings the plain port with it, so the one comes before the other.
        let (mcp, mut plain): (BTreeSet<_>, BTreeSet<_>) = std::mem::take(&mut dirty.backends)
            .into_iter()
            .partition(|unit| matches!(unit, BackendUnit::ServiceMcp(..)));
        for unit in mcp {
            self.service(unit, dirty);
        }
        plain.append(&mut dirty.backends);
        for unit in plain {
            self.service(unit, dirty);
        }
    }

    fn service(&mut self, unit: BackendUnit, dirty: &mut Dirty) {
        if !self.made.users.contains_key(&unit) {
            // Its last user went away in this pass.
            self.drop_if_unused(&unit);
            return;
        }
        self.counters.backends += 1;
        let view = View::new(&self.settings, &self.world, &self.made);
        let state = match &unit {
            BackendUnit::ServicePort(name, port) => service::translate_port(name, *port, &view),
            BackendUnit::ServiceMcp(name, port) => service::translate_mcp(name, *port, &view),
            BackendUnit::Object(_) => return,
        };
        self.index.set(Unit::Backend(unit.clone()), view.into_seen());
        self.put_backend(unit, Some(state), dirty);
    }

    /// Replaces what a backend became, in every gateway that uses it.
    fn put_backend(&mut self, unit: BackendUnit, state: Option<BackendState>, dirty: &mut Dirty) {
        let old = self.made.backends.remove(&unit).unwrap_or_default();
        let users = self.made.users.get(&unit).cloned().unwrap_or_default();
        let (items, children) = state.as_ref().map(|s| (s.items.clone(), s.children.clone())).unwrap_or_default();
        if let Some(state) = state {
            self.made.backends.insert(unit, state);
        }
        for gateway in &users {
            if let Some(state) = self.made.gateways.get_mut(gateway)
                && old.items != items
            {
                replace(state.edit(), &old.items, &items);
            }
            for child in children.difference(&old.children) {
                self.acquire(gateway, child, dirty);
            }
            for child in old.children.difference(&children) {
                self.release(gateway, child, dirty);
            }
        }
    }

    fn routes(&mut self, dirty: &mut Dirty) {
        for name in std::mem::take(&mut dirty.routes) {
            self.counters.routes += 1;
            let view = View::new(&self.settings, &self.world, &self.made);
            let object = self.world.routes.get(&name);
            let key = ObjectKey { kind: ObjectKind::HttpRoute, name: name.clone() };
            let unreadable = self.world.unreadable.get(&key);
            let mut state = object.map(|route| route::translate(route, &view));
            if let Some(unreadable) = unreadable {
                let parents = route::unreadable_parents(&name, &unreadable.raw, &unreadable.reason, &view);
                state.get_or_insert_default().parents = parents;
            }
            let seen = if state.is_some() { view.into_seen() } else { BTreeSet::new() };
            self.index.set(Unit::Route(name.clone()), seen);
            dirty.statuses.insert(key);
            self.put_route(name, state, dirty);
        }
    }

    fn put_route(&mut self, name: Name, state: Option<RouteState>, dirty: &mut Dirty) {
        let existed = self.made.routes.contains_key(&name);
        let exists = state.is_some();
        let old = self.made.routes.remove(&name).unwrap_or_default();
        let new = state.unwrap_or_default();
        let gateways: BTreeSet<Name> = old.shares.keys().chain(new.shares.keys()).cloned().collect();
        let (no_old, no_new) = Default::default();
        for gateway in &gateways {
            let before = old.shares.get(gateway).unwrap_or(&no_old);
            let after = new.shares.get(gateway).unwrap_or(&no_new);
            let Some(state) = self.made.gateways.get_mut(gateway) else { continue };
            if before.items != after.items {
                replace(state.edit(), &before.items, &after.items);
            }
            if state.count(&before.listeners, &after.listeners) {
                dirty.statuses.insert(ObjectKey { kind: ObjectKind::Gateway, name: gateway.clone() });
            }
            // First take, then give back: what both use is not taken out and put in again.
            for unit in after.uses.difference(&before.uses) {
                self.acquire(gateway, unit, dirty);
            }
            for unit in before.uses.difference(&after.uses) {
                self.release(gateway, unit, dirty);
            }
        }
        if existed != exists || !old.looks_like(&new) {
            dirty.fire(&self.index, &Fact::Route(name.clone()));
        }
        if exists {
            self.made.routes.insert(name, new);
        }
    }

    fn policies(&mut self, dirty: &mut Dirty) {
        for name in std::mem::take(&mut dirty.policies) {
            self.counters.policies += 1;
            let view = View::new(&self.settings, &self.world, &self.made);
            let key = ObjectKey { kind: ObjectKind::TrafficPolicy, name: name.clone() };
            let state = match (self.world.unreadable.get(&key), self.world.policies.get(&name)) {
                (Some(unreadable), _) => Some(policy::translate_unreadable(&name, unreadable, &view)),
                (None, Some(policy)) => Some(policy::translate(policy, &view)),
                (None, None) => None,
            };
            let seen = if state.is_some() { view.into_seen() } else { BTreeSet::new() };
            self.index.set(Unit::Policy(name.clone()), seen);
            dirty.statuses.insert(key);
            let old = self.made.policies.remove(&name).unwrap_or_default();
            let exists = state.is_some();
            let new: PolicyState = state.unwrap_or_default();
            for gateway in old.shares.keys().chain(new.shares.keys()).collect::<BTreeSet<_>>() {
                let Some(state) = self.made.gateways.get_mut(gateway) else { continue };
                let items = |policy: &PolicyState| policy.shares.get(gateway).cloned().unwrap_or_default();
                let (before, after) = (items(&old), items(&new));
                if before != after {
                    replace(state.edit(), &before, &after);
                }
            }
            if exists {
                self.made.policies.insert(name, new);
            }
        }
    }

    fn finish(&mut self, dirty: Dirty, touched: &BTreeSet<ObjectKey>, now: &Time, mut output: Output) -> Output {
        for (name, state) in &mut self.made.gateways {
            if state.end_edit() {
                output.snapshots.insert(name.clone(), Some(state.snapshot.clone()));
            }
        }
        for key in dirty.statuses {
            let update =
                statuses::update(&key, touched.contains(&key), &self.settings, &self.world, &mut self.made, now);
            output.statuses.extend(update);
        }
        output
    }

    /// A gateway begins to use a backend, or uses it once more.
    fn acquire(&mut self, gateway: &Name, unit: &BackendUnit, dirty: &mut Dirty) {
        let Some(state) = self.made.gateways.get_mut(gateway) else { return };
        let count = state.uses.entry(unit.clone()).or_default();
        *count += 1;
        if *count > 1 {
            return;
        }
        self.made.users.entry(unit.clone()).or_default().insert(gateway.clone());
        dirty.fire(&self.index, &Fact::Users(unit.clone()));
        match self.made.backends.get(unit) {
            Some(backend) => {
                replace(state.edit(), &Items::new(), &backend.items);
                for child in backend.children.clone() {
                    self.acquire(gateway, &child, dirty);
                }
            }
            None if matches!(unit, BackendUnit::Object(_)) => {}
            None => {
                dirty.backends.insert(unit.clone());
            }
        }
    }

    /// A gateway uses a backend once less.
    fn release(&mut self, gateway: &Name, unit: &BackendUnit, dirty: &mut Dirty) {
        let Some(state) = self.made.gateways.get_mut(gateway) else { return };
        match state.uses.get_mut(unit) {
            Some(count) if *count > 1 => {
                *count -= 1;
                return;
            }
            Some(_) => state.uses.remove(unit),
            None => return,
        };
        self.made.forget_user(unit, gateway);
        dirty.fire(&self.index, &Fact::Users(unit.clone()));
        if let Some(backend) = self.made.backends.get(unit) {
            let children = backend.children.clone();
            if let Some(state) = self.made.gateways.get_mut(gateway) {
                replace(state.edit(), &backend.items, &Items::new());
            }
            for child in children {
                self.release(gateway, &child, dirty);
            }
        }
        self.drop_if_unused(unit);
    }

    /// A port of a Service is kept only while it is used; a Backend object has a status of its own.
    fn drop_if_unused(&mut self, unit: &BackendUnit) {
        if !matches!(unit, BackendUnit::Object(_)) && !self.made.users.contains_key(unit) {
            self.made.backends.remove(unit);
            self.index.set(Unit::Backend(unit.clone()), BTreeSet::new());
        }
    }
}
