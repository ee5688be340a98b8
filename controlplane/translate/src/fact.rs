//! What translated things look at, and who looked at what: the index behind incremental translation.

use std::collections::{BTreeSet, HashMap};

use crate::Name;
use crate::unit::{BackendUnit, Unit};

/// Something that a translation looks at. It is recorded even where there is nothing to be seen, so that the looker is
/// translated again when it appears.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fact {
    /// A GatewayClass.
    Class(String),
    /// The ReferenceGrants of a namespace.
    Grants(String),
    /// A Service, without its status.
    Service(Name),
    /// All Services that have an MCP port.
    McpServices,
    /// The EndpointSlices of a Service.
    Slices(Name),
    /// The labels of a namespace.
    Namespace(String),
    /// The labels of all namespaces.
    Namespaces,
    /// Which Gateways a namespace has, with their labels.
    GatewaysIn(String),
    /// Which HTTPRoutes a namespace has, with their labels.
    RoutesIn(String),
    /// Which Backends a namespace has, with their labels.
    BackendsIn(String),
    /// Whether an object of this kind and name exists at all, ours or not.
    Exists(crate::ObjectKey),
    /// What a Gateway is for routes and policies: its listeners.
    Plan(Name),
    /// What a Backend is for routes and policies: whether it can be used, and its type.
    Backend(Name),
    /// What an HTTPRoute is for policies: the gateways it is on, and the names of its rules.
    Route(Name),
    /// The gateways that use a backend.
    Users(BackendUnit),
}

/// Who looked at what.
#[derive(Debug, Default)]
pub(crate) struct Index {
    facts: HashMap<Unit, BTreeSet<Fact>>,
    lookers: HashMap<Fact, BTreeSet<Unit>>,
}

impl Index {
    /// Notes all that `unit` looked at in its last translation.
    pub(crate) fn set(&mut self, unit: Unit, facts: BTreeSet<Fact>) {
        let old = self.facts.get(&unit);
        if old == Some(&facts) {
            return;
        }
        for gone in old.into_iter().flatten().filter(|fact| !facts.contains(fact)) {
            if let Some(lookers) = self.lookers.get_mut(gone) {
                lookers.remove(&unit);
                if lookers.is_empty() {
                    self.lookers.remove(gone);
                }
            }
        }
        for fact in &facts {
            if let Some(lookers) = self.lookers.get_mut(fact) {
                lookers.insert(unit.clone());
            } else {
                self.lookers.insert(fact.clone(), BTreeSet::from([unit.clone()]));
            }
        }
        if facts.is_empty() {
            self.facts.remove(&unit);
        } else {
            self.facts.insert(unit, facts);
        }
    }

    /// Who looked at `fact`.
    pub(crate) fn lookers(&self, fact: &Fact) -> impl Iterator<Item = &Unit> {
        self.lookers.get(fact).into_iter().flatten()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.lookers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_found_by_what_it_looked_at_last() {
        let (unit, a, b) = (Unit::Route(Name::new("n", "r")), Fact::Grants("a".into()), Fact::Grants("b".into()));
        let mut index = Index::default();
        index.set(unit.clone(), BTreeSet::from([a.clone()]));
        index.set(unit.clone(), BTreeSet::from([b.clone()]));
        assert_eq!(index.lookers(&a).count(), 0);
        assert_eq!(index.lookers(&b).collect::<Vec<_>>(), [&unit]);
        index.set(unit, BTreeSet::new());
        assert!(index.is_empty());
    }
}
