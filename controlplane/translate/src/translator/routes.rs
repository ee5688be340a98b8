//! The step that translates routes of all kinds.

use std::collections::BTreeSet;

use crate::Name;
use crate::fact::Fact;
use crate::object::ObjectKey;
use crate::route::{self, RouteState};
use crate::unit::{Dirty, Unit, replace};

use super::Translator;

impl Translator {
    pub(super) fn routes(&mut self, dirty: &mut Dirty) {
        let mut contested = BTreeSet::new();
        for key in std::mem::take(&mut dirty.routes) {
            self.route(key, dirty, &mut contested);
        }
        // Who loses a host name depends on what all routes claim. What a route claims does not depend on who loses, so this
        // needs no third round.
        let lost_or_won: BTreeSet<ObjectKey> =
            contested.iter().flat_map(|listener: &String| self.made.settle(listener)).collect();
        for key in lost_or_won {
            self.route(key, dirty, &mut BTreeSet::new());
        }
    }

    fn route(&mut self, key: ObjectKey, dirty: &mut Dirty, contested: &mut BTreeSet<String>) {
        self.counters.routes += 1;
        let exists = self.world.known(&key);
        let made = self.look(Unit::Route(key.clone()), exists, |world, view| route::translate(&key, world, view));
        dirty.statuses.insert(key.clone());
        if let Some(state) = made {
            self.put_route(key, state, dirty, contested);
        }
    }

    fn put_route(
        &mut self,
        key: ObjectKey,
        state: Option<RouteState>,
        dirty: &mut Dirty,
        contested: &mut BTreeSet<String>,
    ) {
        let existed = self.made.routes.contains_key(&key);
        let exists = state.is_some();
        let old = self.made.routes.remove(&key).unwrap_or_default();
        let new = state.unwrap_or_default();
        for listener in old.claims.keys().chain(new.claims.keys()).collect::<BTreeSet<_>>() {
            if old.claims.get(listener) != new.claims.get(listener) {
                self.made.claim(listener, &key, new.claims.get(listener).cloned());
                contested.insert(listener.clone());
            }
        }
        let gateways: BTreeSet<Name> = old.shares.keys().chain(new.shares.keys()).cloned().collect();
        let (no_old, no_new) = Default::default();
        for gateway in &gateways {
            let before = old.shares.get(gateway).unwrap_or(&no_old);
            let after = new.shares.get(gateway).unwrap_or(&no_new);
            let Some(state) = self.made.gateways.get_mut(gateway) else { continue };
            if before.items != after.items {
                replace(state.edit(), &before.items, &after.items);
            }
            dirty.statuses.extend(state.count(&before.listeners, &after.listeners));
            // First take, then give back: what both use is not taken out and put in again.
            for unit in after.uses.difference(&before.uses) {
                self.acquire(gateway, unit, dirty);
            }
            for unit in before.uses.difference(&after.uses) {
                self.release(gateway, unit, dirty);
            }
        }
        if existed != exists || !old.looks_like(&new) {
            self.fire(&Fact::Route(key.clone()), dirty);
        }
        if exists {
            self.made.routes.insert(key, new);
        }
    }
}
