//! The steps that translate policies.

use std::collections::BTreeSet;

use crate::backend_tls::{self, Candidate};
use crate::object::{ObjectKey, ObjectKind};
use crate::policy::{self, PolicyState};
use crate::unit::{Dirty, Unit, replace};

use super::Translator;

impl Translator {
    pub(super) fn policies(&mut self, dirty: &mut Dirty) {
        for name in std::mem::take(&mut dirty.policies) {
            self.counters.policies += 1;
            let key = ObjectKey { kind: ObjectKind::TrafficPolicy, name: name.clone() };
            let exists = self.world.known(&key);
            let state = self.look(Unit::Policy(name.clone()), exists, |world, view| {
                match (world.unreadable.get(&key), world.policies.get(&name)) {
                    (Some(unreadable), _) => Some(policy::translate_unreadable(&name, unreadable, view)),
                    (None, Some(policy)) => Some(policy::translate(policy, view)),
                    (None, None) => None,
                }
            });
            let Some(state) = state else { continue };
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

    /// What a BackendTLSPolicy does is part of the backends that it applies to; here is what its status says.
    pub(super) fn tls_policies(&mut self, dirty: &mut Dirty) {
        for name in std::mem::take(&mut dirty.backend_tls) {
            self.counters.policies += 1;
            let key = ObjectKey { kind: ObjectKind::BackendTlsPolicy, name: name.clone() };
            let exists = self.world.known(&key);
            let state = self.look(Unit::BackendTls(name.clone()), exists, |world, view| {
                let candidate = match (world.unreadable.get(&key), world.backend_tls.get(&name)) {
                    (Some(unreadable), _) => Candidate::Unreadable(&name, unreadable),
                    (None, Some(policy)) => Candidate::Readable(&name, policy),
                    (None, None) => return None,
                };
                Some(backend_tls::translate(candidate, &world.tls_targets(&name), view))
            });
            dirty.statuses.insert(key);
            match state {
                Some(Some(state)) => self.made.tls_policies.insert(name, state),
                Some(None) => self.made.tls_policies.remove(&name),
                None => continue,
            };
        }
    }
}
