//! The steps that translate policies.

use std::collections::BTreeSet;

use crate::Name;
use crate::backend_tls::{self, Candidate};
use crate::object::{ObjectKey, ObjectKind};
use crate::policy::{self, PolicyState};
use crate::unit::{Dirty, Unit, replace};

use super::Translator;

impl Translator {
    /// Policies, and the services that they ask; these may be targets of other policies.
    pub(super) fn policies_and_services(&mut self, dirty: &mut Dirty) {
        loop {
            self.policies(dirty);
            if dirty.backends.is_empty() {
                return;
            }
            self.services(dirty);
        }
    }

    fn policies(&mut self, dirty: &mut Dirty) {
        let mut concerned = BTreeSet::new();
        for name in std::mem::take(&mut dirty.policies) {
            concerned.extend(self.policy(&name, dirty));
        }
        // What a policy claims does not depend on who has it, so this needs no third round.
        for name in concerned {
            self.policy(&name, dirty);
        }
    }

    /// Translates a policy; gives those that claim what it claims.
    fn policy(&mut self, name: &Name, dirty: &mut Dirty) -> BTreeSet<Name> {
        self.counters.policies += 1;
        let key = ObjectKey { kind: ObjectKind::TrafficPolicy, name: name.clone() };
        let exists = self.world.known(&key);
        let (state, waits) = self.look_at(Unit::Policy(name.clone()), exists, |world, view| {
            match (world.unreadable.get(&key), world.policies.get(name)) {
                (Some(unreadable), _) => Some(policy::translate_unreadable(name, unreadable, view)),
                (None, Some(policy)) => Some(policy::translate(policy, view)),
                (None, None) => None,
            }
        });
        if waits && self.made.policies.contains_key(name) {
            // It stays as it was until its Secret is read.
            return BTreeSet::new();
        }
        // A new one that has to wait refuses everything meanwhile, which is nothing to report yet.
        if !waits {
            dirty.statuses.insert(key);
        }
        let old = self.made.policies.remove(name).unwrap_or_default();
        let exists = state.is_some();
        let new: PolicyState = state.unwrap_or_default();
        let nothing = policy::Share::default();
        for gateway in old.shares.keys().chain(new.shares.keys()).collect::<BTreeSet<_>>() {
            let before = old.shares.get(gateway).unwrap_or(&nothing);
            let after = new.shares.get(gateway).unwrap_or(&nothing);
            let Some(state) = self.made.gateways.get_mut(gateway) else { continue };
            if before.items != after.items {
                replace(state.edit(), &before.items, &after.items);
            }
            for unit in after.uses.difference(&before.uses) {
                self.acquire(gateway, unit, dirty);
            }
            for unit in before.uses.difference(&after.uses) {
                self.release(gateway, unit, dirty);
            }
        }
        let concerned = self.made.claim_fields(name, &old, &new);
        if exists {
            let waits = PolicyState { waits, ..new };
            self.made.policies.insert(name.clone(), waits);
        }
        concerned
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
