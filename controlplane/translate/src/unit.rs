//! What is translated as one piece, and the resources that a piece gives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::snapshot::{Edit, Encoded};

use crate::Name;
use crate::fact::Fact;

/// What is translated as one piece.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Unit {
    Gateway(Name),
    Route(Name),
    Backend(BackendUnit),
    Policy(Name),
}

/// Something that routes can send requests to. Its resources are the same for every gateway that uses it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum BackendUnit {
    /// A Backend object.
    Object(Name),
    /// A port of a Service.
    ServicePort(Name, u16),
    /// A port of a Service whose appProtocol says that an MCP server listens there.
    ServiceMcp(Name, u16),
}

/// Resources by kind and key. No two units give the same key.
pub(crate) type Items = BTreeMap<(Kind, Arc<str>), Arc<Encoded>>;

/// Encodes resources into items.
pub(crate) fn items(resources: impl IntoIterator<Item = Resource>) -> Items {
    let item = |r: Resource| ((r.kind(), Arc::from(r.key())), Arc::new(Encoded::new(&r)));
    resources.into_iter().map(item).collect()
}

/// Takes `old` out of a snapshot and puts `new` in, touching only what differs.
pub(crate) fn replace(edit: &mut Edit, old: &Items, new: &Items) {
    for (kind, key) in old.keys().filter(|key| !new.contains_key(*key)) {
        edit.remove(*kind, key);
    }
    for (at, encoded) in new.iter().filter(|(at, encoded)| old.get(*at) != Some(encoded)) {
        edit.insert_encoded(at.0, &at.1, Arc::clone(encoded));
    }
}

/// What is to be translated again, by the steps of a pass.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    pub(crate) gateways: BTreeSet<Name>,
    pub(crate) routes: BTreeSet<Name>,
    pub(crate) backends: BTreeSet<BackendUnit>,
    pub(crate) policies: BTreeSet<Name>,
    pub(crate) statuses: BTreeSet<crate::ObjectKey>,
}

impl Dirty {
    pub(crate) fn add(&mut self, unit: &Unit) {
        match unit {
            Unit::Gateway(name) => self.gateways.insert(name.clone()),
            Unit::Route(name) => self.routes.insert(name.clone()),
            Unit::Backend(unit) => self.backends.insert(unit.clone()),
            Unit::Policy(name) => self.policies.insert(name.clone()),
        };
    }

    pub(crate) fn fire(&mut self, index: &crate::fact::Index, fact: &Fact) {
        index.lookers(fact).for_each(|unit| self.add(unit));
    }
}
