//! What was made of the objects so far.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agentgateway_proto::snapshot::{Edit, Snapshot};

use crate::Name;
use crate::backend::BackendState;
use crate::gateway::{GatewayVerdict, Plan};
use crate::object::ObjectKey;
use crate::output::{Status, Workload};
use crate::policy::PolicyState;
use crate::route::RouteState;
use crate::unit::{BackendUnit, Items};

/// What was made of the objects so far.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) gateways: BTreeMap<Name, GatewayState>,
    pub(crate) backends: HashMap<BackendUnit, BackendState>,
    pub(crate) routes: HashMap<Name, RouteState>,
    pub(crate) policies: HashMap<Name, PolicyState>,
    /// The gateways that use a backend: the other direction of [`GatewayState::uses`].
    pub(crate) users: HashMap<BackendUnit, BTreeSet<Name>>,
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
    /// Routes on each listener, by its name.
    pub(crate) attached: HashMap<String, usize>,
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

    /// Counts routes on listeners: takes the old ones off and puts the new ones on.
    pub(crate) fn count(&mut self, old: &BTreeSet<String>, new: &BTreeSet<String>) -> bool {
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
        old != new
    }
}

impl GatewayState {
    pub(crate) fn new(plan: Plan, verdict: GatewayVerdict, workload: Workload) -> GatewayState {
        GatewayState {
            plan,
            verdict,
            workload,
            items: Items::new(),
            snapshot: Snapshot::default(),
            edit: None,
            shown: false,
            uses: HashMap::new(),
            attached: HashMap::new(),
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
    /// A gateway no longer uses a backend.
    pub(crate) fn forget_user(&mut self, unit: &BackendUnit, gateway: &Name) {
        if let Some(users) = self.users.get_mut(unit) {
            users.remove(gateway);
            if users.is_empty() {
                self.users.remove(unit);
            }
        }
    }
}
