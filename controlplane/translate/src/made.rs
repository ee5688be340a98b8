//! What was made of the objects so far.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agentgateway_collections::{SmallSet, SortedMap};
use agentgateway_proto::snapshot::{Edit, Snapshot};
use k8s_openapi::jiff::Timestamp;

use crate::Name;
use crate::backend::BackendState;
use crate::backend_tls::TlsPolicyState;
use crate::gateway::{GatewayVerdict, Plan};
use crate::object::ObjectKey;
use crate::output::{Status, Workload};
use crate::policy::{Claim as PolicyClaim, PolicyState};
use crate::route::{Claim, Claims, RouteState, losers};
use crate::unit::{BackendUnit, Items};

/// What was made of the objects so far.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) gateways: BTreeMap<Name, GatewayState>,
    pub(crate) backends: HashMap<BackendUnit, BackendState>,
    pub(crate) routes: HashMap<ObjectKey, RouteState>,
    pub(crate) policies: HashMap<Name, PolicyState>,
    pub(crate) tls_policies: HashMap<Name, TlsPolicyState>,
    /// What is used of each Service and Backend, and by which gateways: the other direction of [`GatewayState::uses`].
    pub(crate) users: HashMap<ObjectKey, SortedMap<BackendUnit, SmallSet<Name>>>,
    /// What routes claim on each listener, by its key: the other direction of [`RouteState::claims`].
    claims: HashMap<String, Claims>,
    /// The routes that lost on each listener.
    pub(crate) lost: HashMap<String, BTreeSet<ObjectKey>>,
    /// Who claims a field of which a target can have one, with the age of each: the other direction of [`PolicyState::claims`].
    pub(crate) policy_claims: HashMap<PolicyClaim, BTreeSet<(Timestamp, Name)>>,
    /// Secrets and ConfigMaps in use.
    pub(crate) references: BTreeSet<ObjectKey>,
    /// Statuses that were given out and have not come back with their objects.
    pub(crate) given: BTreeMap<ObjectKey, Status>,
}

/// A Gateway of our classes.
#[derive(Debug)]
pub(crate) struct GatewayState {
    pub(crate) plan: Plan,
    pub(crate) verdict: GatewayVerdict,
    pub(crate) workload: Workload,
    /// Its own resources: binds and listeners.
    pub(crate) items: Items,
    pub(crate) snapshot: Snapshot,
    /// The next snapshot, from the first change of a pass to its end.
    pub(crate) edit: Option<Edit>,
    /// Whether the snapshot was given out at all; an empty one must be, too.
    pub(crate) shown: bool,
    /// Backends in the snapshot, with the number of routes and of other backends that use each.
    pub(crate) uses: HashMap<BackendUnit, usize>,
    /// Routes on each listener, by who declares it and its name.
    pub(crate) attached: HashMap<(ObjectKey, String), usize>,
    /// Whether it was programmed when its status was last looked at, which its ListenerSets tell, too.
    pub(crate) programmed: Option<bool>,
    /// What its proxies refuse, by the object that it was made from.
    pub(crate) rejections: BTreeMap<ObjectKey, Vec<RejectedPart>>,
}

/// A refused resource, as its object's condition tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RejectedPart {
    /// For a listener its name, otherwise empty.
    pub(crate) section: String,
    pub(crate) reason: String,
}

impl GatewayState {
    pub(crate) fn edit(&mut self) -> &mut Edit {
        self.edit.get_or_insert_with(|| self.snapshot.edit())
    }

    /// Counts routes on listeners: takes the old ones off and puts the new ones on. Gives whose listeners these are.
    pub(crate) fn count(
        &mut self,
        old: &SmallSet<(ObjectKey, String)>,
        new: &SmallSet<(ObjectKey, String)>,
    ) -> BTreeSet<ObjectKey> {
        for listener in old.difference(new) {
            if let Some(count) = self.attached.get_mut(listener) {
                *count -= 1;
                if *count == 0 {
                    self.attached.remove(listener);
                }
            }
        }
        for listener in new.difference(old) {
            *self.attached.entry(listener.clone()).or_default() += 1;
        }
        old.difference(new).chain(new.difference(old)).map(|(owner, _)| owner.clone()).collect()
    }
}

impl GatewayState {
    pub(crate) fn new(plan: Plan, verdict: GatewayVerdict, workload: Workload) -> GatewayState {
        GatewayState {
            plan,
            verdict,
            workload,
            items: Items::default(),
            snapshot: Snapshot::default(),
            edit: None,
            shown: false,
            uses: HashMap::new(),
            attached: HashMap::new(),
            programmed: None,
            rejections: BTreeMap::new(),
        }
    }

    /// Ends the pass: the edit becomes the snapshot. Says whether there is something to show.
    pub(crate) fn end_edit(&mut self) -> bool {
        let before = self.snapshot.generation().clone();
        if let Some(edit) = self.edit.take() {
            self.snapshot = edit.finish();
        }
        let first = !std::mem::replace(&mut self.shown, true);
        first || *self.snapshot.generation() != before
    }
}

impl Made {
    /// A gateway begins to use a backend.
    pub(crate) fn add_user(&mut self, unit: &BackendUnit, gateway: &Name) {
        let units = self.users.entry(unit.object()).or_default();
        units.update(unit.clone(), |users| users.insert(gateway.clone()));
    }

    /// A gateway no longer uses a backend.
    pub(crate) fn forget_user(&mut self, unit: &BackendUnit, gateway: &Name) {
        let object = unit.object();
        let Some(units) = self.users.get_mut(&object) else { return };
        if let Some(users) = units.get_mut(unit) {
            users.remove(gateway);
            if users.is_empty() {
                units.remove(unit);
            }
        }
        if units.is_empty() {
            self.users.remove(&object);
        }
    }

    /// The gateways that use a backend.
    pub(crate) fn users_of(&self, unit: &BackendUnit) -> SmallSet<Name> {
        self.users.get(&unit.object()).and_then(|units| units.get(unit)).cloned().unwrap_or_default()
    }

    /// Sets what a route claims on a listener; `None` takes the claim back.
    pub(crate) fn claim(&mut self, listener: &str, route: &ObjectKey, claim: Option<Claim>) {
        let claims = self.claims.entry(listener.to_owned()).or_default();
        match claim {
            Some(claim) => claims.insert(route.clone(), claim),
            None => claims.remove(route),
        };
        if claims.is_empty() {
            self.claims.remove(listener);
        }
    }

    /// Takes a policy's old claims back and puts its new ones in; gives all policies for which that may change something.
    pub(crate) fn claim_fields(&mut self, policy: &Name, old: &PolicyState, new: &PolicyState) -> BTreeSet<Name> {
        let rank = |state: &PolicyState| (state.created.unwrap_or(Timestamp::MAX), policy.clone());
        let mut concerned = BTreeSet::new();
        if old.claims == new.claims && old.created == new.created {
            return concerned;
        }
        for claim in &old.claims {
            if let Some(all) = self.policy_claims.get_mut(claim) {
                all.remove(&rank(old));
                concerned.extend(all.iter().map(|(_, name)| name.clone()));
                if all.is_empty() {
                    self.policy_claims.remove(claim);
                }
            }
        }
        for claim in &new.claims {
            let all = self.policy_claims.entry(claim.clone()).or_default();
            all.insert(rank(new));
            if all.len() > 1 {
                concerned.extend(all.iter().map(|(_, name)| name.clone()));
            }
        }
        concerned
    }

    /// Finds out who loses on a listener, and gives the routes for which that changes.
    pub(crate) fn settle(&mut self, listener: &str) -> BTreeSet<ObjectKey> {
        let now = self.claims.get(listener).map(losers).unwrap_or_default();
        let before = self.lost.remove(listener).unwrap_or_default();
        let changed = before.symmetric_difference(&now).cloned().collect();
        if !now.is_empty() {
            self.lost.insert(listener.to_owned(), now);
        }
        changed
    }
}
