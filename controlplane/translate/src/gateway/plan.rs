//! What a Gateway is for routes and policies: its listeners and those of its ListenerSets.

use std::collections::{BTreeMap, BTreeSet};

use agentgateway_proto::v1::listener::Protocol;

use super::conflicts::Conflict;
use super::declared::{Namespaces, SetVerdict};
use super::tls::Why;
use crate::Name;
use crate::conditions::Verdict;
use crate::object::{ObjectKey, ObjectKind};

/// What a Gateway is for routes and policies.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Its listeners, by the object that declares them.
    pub(crate) listeners: BTreeMap<ObjectKey, Vec<PlannedListener>>,
    /// The ListenerSets that name it as their parent.
    pub(crate) sets: BTreeMap<Name, SetVerdict>,
    /// Whether the Gateway as a whole is refused, and nothing of it served.
    pub(crate) refused: bool,
}

/// A Gateway or ListenerSet of ours, as routes and policies see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent<'a> {
    pub(crate) gateway: &'a Name,
    pub(crate) listeners: &'a [PlannedListener],
    pub(crate) refused: bool,
}

impl Plan {
    /// All that becomes resources.
    pub(crate) fn served(&self) -> impl Iterator<Item = &PlannedListener> {
        self.listeners.values().flatten().filter(|listener| !self.refused && listener.served())
    }

    /// The listeners that an object declares.
    pub(crate) fn of(&self, owner: &ObjectKey) -> &[PlannedListener] {
        self.listeners.get(owner).map(Vec::as_slice).unwrap_or_default()
    }

    /// As routes see one of its objects; `None` for one that is no part of it.
    pub(crate) fn parent<'a>(&'a self, gateway: &'a Name, owner: &ObjectKey) -> Option<Parent<'a>> {
        let part = match owner.kind {
            ObjectKind::ListenerSet => self.sets.contains_key(&owner.name),
            _ => owner.name == *gateway,
        };
        part.then(|| Parent { gateway, listeners: self.of(owner), refused: self.refused })
    }

    /// The Gateway, which has listeners of its own always, and its ListenerSets.
    pub(crate) fn owners(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        let sets = self.sets.keys().map(|name| ObjectKey { kind: ObjectKind::ListenerSet, name: name.clone() });
        self.listeners.keys().filter(|owner| owner.kind != ObjectKind::ListenerSet).cloned().chain(sets)
    }

    /// The objects that routes would see in another way in `other`.
    pub(crate) fn changed(&self, other: &Plan) -> BTreeSet<ObjectKey> {
        let (mine, theirs): (BTreeSet<_>, BTreeSet<_>) = (self.owners().collect(), other.owners().collect());
        let same = |owner: &ObjectKey| {
            self.refused == other.refused
                && mine.contains(owner) == theirs.contains(owner)
                && self.of(owner) == other.of(owner)
        };
        mine.union(&theirs).filter(|owner| !same(owner)).cloned().collect()
    }
}

/// A listener.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedListener {
    /// The Gateway or ListenerSet that declares it.
    pub(crate) owner: ObjectKey,
    pub(crate) name: String,
    /// Key of its resource.
    pub(crate) key: String,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    /// `None` is every host.
    pub(crate) hostname: Option<String>,
    /// The kinds of route that may attach.
    pub(crate) kinds: Vec<ObjectKind>,
    /// The namespaces whose routes may attach.
    pub(crate) namespaces: Namespaces,
    /// Why it cannot be served.
    pub(crate) accepted: Result<(), Why>,
    pub(crate) conflict: Option<Conflict>,
    /// Why its references do not resolve.
    pub(crate) unresolved: Option<Why>,
    /// Whether it has the certificates that it needs.
    pub(crate) equipped: bool,
    /// Whether its host overlaps with that of another one on its port.
    pub(crate) overlaps: bool,
}

impl PlannedListener {
    /// Whether it becomes a resource.
    pub(crate) fn served(&self) -> bool {
        self.accepted.is_ok() && self.conflict.is_none() && self.equipped && !self.kinds.is_empty()
    }

    /// Its conditions, but for Programmed.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let accepted = match (&self.conflict, &self.accepted) {
            (Some((reason, message)), _) | (None, Err((reason, message))) => Verdict::no("Accepted", reason, message),
            (None, Ok(())) => Verdict::yes("Accepted", "Accepted", "the listener is valid"),
        };
        let conflicted = match &self.conflict {
            Some((reason, message)) => Verdict::yes("Conflicted", reason, message),
            None => Verdict::no("Conflicted", "NoConflicts", "no other listener is in its way"),
        };
        let resolved = match &self.unresolved {
            Some((reason, message)) => Verdict::no("ResolvedRefs", reason, message),
            None => Verdict::yes("ResolvedRefs", "ResolvedRefs", "all references are resolved"),
        };
        let mut verdicts = vec![accepted, conflicted, resolved];
        if self.overlaps {
            let message = "another listener on the port has a host that covers this one's or is covered by it; a client may \
                           use a connection for the one for requests to the other";
            verdicts.push(Verdict::yes("OverlappingTLSConfig", "OverlappingHostnames", message));
        }
        verdicts
    }

    /// Why it is not programmed, when it is not served.
    pub(crate) fn not_programmed(&self) -> Option<Verdict> {
        match &self.conflict {
            Some((reason, message)) => Some(Verdict::no("Programmed", reason, message)),
            None if self.served() => None,
            None => Some(Verdict::no("Programmed", "Invalid", "the listener cannot be served")),
        }
    }
}
