//! What translated things look at, and who looked at what: the index behind incremental translation.

use std::collections::{BTreeSet, HashMap};

use agentgateway_collections::SmallSet;

use crate::Name;
use crate::object::{ObjectKey, ObjectKind};
use crate::unit::Unit;

/// Something that a translation looks at. It is recorded even where there is nothing to be seen, so that the looker is
/// translated again when it appears.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fact {
    /// A GatewayClass.
    Class(String),
    /// A GatewayParameters.
    Parameters(Name),
    /// A GatewayExtension.
    Extension(Name),
    /// A DirectResponse.
    Response(Name),
    /// What is in a TrafficPolicy, for filters that name it.
    Policy(Name),
    /// The ListenerSets of a Gateway.
    ListenerSets(Name),
    /// The ReferenceGrants of a namespace.
    Grants(String),
    /// A Service, without its status.
    Service(Name),
    /// All Services that have an MCP port.
    McpServices,
    /// The EndpointSlices of a Service.
    Slices(Name),
    /// The pods of a namespace: their labels, addresses and whether they are ready.
    Pods(String),
    /// What an InferencePool is for routes: whether it can be used.
    Pool(Name),
    /// The labels of a namespace.
    Namespace(String),
    /// The labels of all namespaces.
    Namespaces,
    /// Which objects of a kind a namespace has, with their labels.
    Labels(ObjectKind, String),
    /// Whether an object of this kind and name exists at all, ours or not.
    Exists(ObjectKey),
    /// What is in a Secret or ConfigMap.
    Content(ObjectKey),
    /// The BackendTLSPolicies of a Service or Backend, and what is in them.
    TlsPolicies(ObjectKey),
    /// What a Gateway or ListenerSet is for routes and policies: its listeners.
    Parent(ObjectKey),
    /// What a Backend is for routes and policies: whether it can be used, and its type.
    Backend(Name),
    /// What a route is for policies: the gateways it is on, and the names of its rules.
    Route(ObjectKey),
    /// The gateways that use a Service or Backend.
    Users(ObjectKey),
}

/// Who looked at what.
#[derive(Debug, Default)]
pub(crate) struct Index {
    facts: HashMap<Unit, SmallSet<Fact>>,
    lookers: HashMap<Fact, SmallSet<Unit>>,
    /// Secrets and ConfigMaps whose first looker came, or whose last one went.
    turned: BTreeSet<ObjectKey>,
}

impl Index {
    /// Notes all that `unit` looked at in its last translation.
    pub(crate) fn set(&mut self, unit: Unit, facts: SmallSet<Fact>) {
        let old = self.facts.get(&unit);
        if old == Some(&facts) {
            return;
        }
        for gone in old.into_iter().flatten().filter(|fact| !facts.contains(fact)) {
            if let Some(lookers) = self.lookers.get_mut(gone) {
                lookers.remove(&unit);
                if lookers.is_empty() {
                    self.lookers.remove(gone);
                    self.turned.extend(content(gone));
                }
            }
        }
        for fact in &facts {
            if let Some(lookers) = self.lookers.get_mut(fact) {
                lookers.insert(unit.clone());
            } else {
                self.lookers.insert(fact.clone(), SmallSet::from([unit.clone()]));
                self.turned.extend(content(fact));
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

    /// The Secrets and ConfigMaps that may have come into use or gone out of it since the last call, with whether they are
    /// in use now.
    pub(crate) fn take_turned(&mut self) -> Vec<(ObjectKey, bool)> {
        let turned = std::mem::take(&mut self.turned).into_iter();
        turned.map(|key| (key.clone(), self.lookers.contains_key(&Fact::Content(key)))).collect()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.lookers.is_empty()
    }
}

fn content(fact: &Fact) -> Option<ObjectKey> {
    if let Fact::Content(key) = fact { Some(key.clone()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_found_by_what_it_looked_at_last() {
        let (unit, a, b) = (Unit::Gateway(Name::new("n", "g")), Fact::Grants("a".into()), Fact::Grants("b".into()));
        let mut index = Index::default();
        index.set(unit.clone(), SmallSet::from([a.clone()]));
        index.set(unit.clone(), SmallSet::from([b.clone()]));
        assert_eq!(index.lookers(&a).count(), 0);
        assert_eq!(index.lookers(&b).collect::<Vec<_>>(), [&unit]);
        index.set(unit, SmallSet::default());
        assert!(index.is_empty());
    }
}
