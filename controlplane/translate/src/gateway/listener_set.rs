//! The status of a ListenerSet.

use agentgateway_crds::GATEWAY_GROUP;
use gateway_api::apis::experimental::listenersets::{
    ListenerSet, ListenerSetStatus, ListenerSetStatusListeners, ListenerSetStatusListenersSupportedKinds,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::PlannedListener;
use super::status::entry;
use super::tls::Why;
use crate::Name;
use crate::conditions::{Moment, Verdict, merge};
use crate::made::GatewayState;
use crate::object::{ObjectKey, ObjectKind};

const OURS: [&str; 2] = ["Accepted", "Programmed"];

/// The status of a ListenerSet of the Gateway that `state` and `programmed` are of.
pub(crate) fn status(
    set: &ListenerSet,
    state: &GatewayState,
    programmed: &Verdict,
    unreadable: Option<&str>,
    given: Option<&ListenerSetStatus>,
    now: &Time,
) -> ListenerSetStatus {
    let held = set.status.clone().unwrap_or_default();
    let at = Moment { now, generation: set.metadata.generation };
    let key = ObjectKey { kind: ObjectKind::ListenerSet, name: Name::of(set) };
    let own = state.plan.of(&key);
    let unserved: Vec<&str> = own.iter().filter(|l| !l.served()).map(|l| l.name.as_str()).collect();
    let accepted = match (unreadable, state.refuse_set(&key.name)) {
        (Some(reason), _) => {
            let message =
                format!("the object does not fit the types of this release and is not used in this form: {reason}");
            Verdict::no("Accepted", "Invalid", message)
        }
        (None, Some((reason, message))) => Verdict::no("Accepted", reason, message),
        (None, None) if unserved.is_empty() => Verdict::yes("Accepted", "Accepted", "the ListenerSet is valid"),
        (None, None) => Verdict::yes("Accepted", "ListenersNotValid", message(&unserved)),
    };
    let programmed = match (accepted.holds, programmed.holds) {
        (true, true) => Verdict::yes("Programmed", "Programmed", "the proxy has the listeners"),
        (true, false) => Verdict::no("Programmed", "ParentNotProgrammed", "the Gateway is not programmed"),
        (false, _) => Verdict { condition: "Programmed", ..accepted.clone() },
    };
    let listeners = own.iter().map(|listener| {
        let find = |status: &ListenerSetStatus| {
            status.listeners.iter().flatten().find(|l| l.name == listener.name).map(|l| l.conditions.clone())
        };
        let entry = entry(listener, state, find(&held), given.and_then(find), at);
        ListenerSetStatusListeners {
            name: listener.name.clone(),
            attached_routes: entry.attached,
            supported_kinds: Some(entry.kinds.into_iter().map(supported).collect()),
            conditions: entry.conditions,
        }
    });
    let conditions = |status: &ListenerSetStatus| status.conditions.clone().unwrap_or_default();
    let given = given.map(conditions).unwrap_or_default();
    ListenerSetStatus {
        listeners: Some(listeners.collect()),
        conditions: Some(merge(&conditions(&held), &given, &[accepted, programmed], &OURS, at)),
    }
}

fn supported(kind: &str) -> ListenerSetStatusListenersSupportedKinds {
    ListenerSetStatusListenersSupportedKinds { group: Some(GATEWAY_GROUP.to_owned()), kind: kind.to_owned() }
}

fn message(unserved: &[&str]) -> String {
    format!("listeners that cannot be served: {}", unserved.join(", "))
}

impl GatewayState {
    /// Why a ListenerSet is not accepted.
    fn refuse_set(&self, set: &Name) -> Option<Why> {
        if let Some(Err(why)) = self.plan.sets.get(set) {
            return Some(why.clone());
        }
        if self.plan.refused {
            return Some(("ParentNotAccepted", "the Gateway is not accepted".to_owned()));
        }
        let own = self.plan.of(&ObjectKey { kind: ObjectKind::ListenerSet, name: set.clone() });
        let names: Vec<&str> = own.iter().map(|l| l.name.as_str()).collect();
        (!own.iter().any(PlannedListener::served)).then(|| ("ListenersNotValid", message(&names)))
    }

    /// How many ListenerSets are accepted.
    pub(super) fn attached_sets(&self) -> usize {
        self.plan.sets.keys().filter(|set| self.refuse_set(set).is_none()).count()
    }
}
