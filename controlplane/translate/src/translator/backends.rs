//! The steps that translate Backends and ports of Services, and which gateway uses which.

use std::collections::BTreeSet;

use agentgateway_collections::SmallSet;

use crate::Name;
use crate::backend::{self, BackendState};
use crate::fact::Fact;
use crate::inference;
use crate::object::{ObjectKey, ObjectKind};
use crate::service;
use crate::unit::{BackendUnit, Dirty, Items, Speech, Unit, replace};

use super::Translator;

impl Translator {
    pub(super) fn backend_objects(&mut self, dirty: &mut Dirty) {
        let (objects, others) =
            std::mem::take(&mut dirty.backends).into_iter().partition(|unit: &BackendUnit| unit.is_object());
        dirty.backends = others;
        for unit in objects {
            if let BackendUnit::Pool(name) = &unit {
                self.pool(name.clone(), dirty);
                continue;
            }
            let BackendUnit::Object(name) = &unit else { continue };
            self.counters.backends += 1;
            let exists = self.world.backends.contains_key(name);
            let state = self.look(Unit::Backend(unit.clone()), exists, |world, view| {
                world.backends.get(name).map(|backend| backend::translate(backend, view))
            });
            let Some(state) = state else { continue };
            dirty.statuses.insert(ObjectKey { kind: ObjectKind::Backend, name: name.clone() });
            let look = |s: &BackendState| (s.mcp, s.a2a, s.http2, s.refused.clone());
            if self.made.backends.get(&unit).map(look) != state.as_ref().map(look) {
                self.fire(&Fact::Backend(name.clone()), dirty);
            }
            self.put_backend(unit, state, dirty);
        }
    }

    fn pool(&mut self, name: Name, dirty: &mut Dirty) {
        let unit = BackendUnit::Pool(name.clone());
        self.counters.backends += 1;
        let exists = self.world.pools.contains_key(&name);
        let state = self.look(Unit::Backend(unit.clone()), exists, |world, view| {
            world.pools.get(&name).map(|pool| inference::translate(&name, pool, view))
        });
        let Some(state) = state else { return };
        dirty.statuses.insert(unit.object());
        let look = |s: &BackendState| (s.http2, s.refused.clone());
        if self.made.backends.get(&unit).map(look) != state.as_ref().map(look) {
            self.fire(&Fact::Pool(name), dirty);
        }
        self.put_backend(unit, state, dirty);
    }

    pub(super) fn services(&mut self, dirty: &mut Dirty) {
        // A port that is an MCP backend brings the plain port with it, so the one comes before the other.
        let (mcp, mut plain): (BTreeSet<_>, BTreeSet<_>) = std::mem::take(&mut dirty.backends)
            .into_iter()
            .partition(|unit| matches!(unit, BackendUnit::Port(.., Speech::Mcp)));
        for unit in mcp {
            self.service(unit, dirty);
        }
        plain.append(&mut dirty.backends);
        for unit in plain {
            self.service(unit, dirty);
        }
    }

    fn service(&mut self, unit: BackendUnit, dirty: &mut Dirty) {
        if self.made.users_of(&unit).is_empty() {
            // Its last user went away in this pass.
            self.drop_if_unused(&unit);
            return;
        }
        let BackendUnit::Port(name, port, speech) = &unit else { return };
        self.counters.backends += 1;
        let made =
            self.look(Unit::Backend(unit.clone()), true, |_, view| service::translate(name, *port, *speech, view));
        if let Some(state) = made {
            self.put_backend(unit, Some(state), dirty);
        }
    }

    /// Replaces what a backend became, in every gateway that uses it.
    fn put_backend(&mut self, unit: BackendUnit, state: Option<BackendState>, dirty: &mut Dirty) {
        let old = self.made.backends.remove(&unit).unwrap_or_default();
        let users = self.made.users_of(&unit);
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

    /// A gateway begins to use a backend, or uses it once more.
    pub(super) fn acquire(&mut self, gateway: &Name, unit: &BackendUnit, dirty: &mut Dirty) {
        let Some(state) = self.made.gateways.get_mut(gateway) else { return };
        let count = state.uses.entry(unit.clone()).or_default();
        *count += 1;
        if *count > 1 {
            return;
        }
        if let Some(backend) = self.made.backends.get(unit) {
            replace(state.edit(), &Items::default(), &backend.items);
        }
        self.made.add_user(unit, gateway);
        self.tell_pool(unit, dirty);
        self.fire(&Fact::Users(unit.object()), dirty);
        match self.made.backends.get(unit) {
            Some(backend) => {
                for child in backend.children.clone() {
                    self.acquire(gateway, &child, dirty);
                }
            }
            None if unit.is_object() => {}
            None => {
                dirty.backends.insert(unit.clone());
            }
        }
    }

    /// A gateway uses a backend once less.
    pub(super) fn release(&mut self, gateway: &Name, unit: &BackendUnit, dirty: &mut Dirty) {
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
        self.tell_pool(unit, dirty);
        self.fire(&Fact::Users(unit.object()), dirty);
        if let Some(backend) = self.made.backends.get(unit) {
            let children = backend.children.clone();
            if let Some(state) = self.made.gateways.get_mut(gateway) {
                replace(state.edit(), &backend.items, &Items::default());
            }
            for child in children {
                self.release(gateway, &child, dirty);
            }
        }
        self.drop_if_unused(unit);
    }

    /// A pool's status names the gateways that use it.
    fn tell_pool(&self, unit: &BackendUnit, dirty: &mut Dirty) {
        if matches!(unit, BackendUnit::Pool(_)) {
            dirty.statuses.insert(unit.object());
        }
    }

    /// A port of a Service is kept only while it is used; a Backend object has a status of its own.
    pub(super) fn drop_if_unused(&mut self, unit: &BackendUnit) {
        if !unit.is_object() && self.made.users_of(unit).is_empty() {
            self.made.backends.remove(unit);
            self.index.set(Unit::Backend(unit.clone()), SmallSet::default());
        }
    }
}
