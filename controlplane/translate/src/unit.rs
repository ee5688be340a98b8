//! What is translated as one piece, and the resources that a piece gives.

use std::collections::BTreeSet;
use std::sync::Arc;

use agentgateway_collections::SortedMap;
use agentgateway_proto::key;
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::snapshot::{Edit, Encoded};

use crate::Name;
use crate::fact::Fact;
use crate::object::{ObjectKey, ObjectKind};

/// What is translated as one piece.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Unit {
    /// A Gateway with its ListenerSets.
    Gateway(Name),
    Route(ObjectKey),
    Backend(BackendUnit),
    Policy(Name),
    BackendTls(Name),
}

/// Something that routes can send requests to. Its resources are the same for every gateway that uses it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum BackendUnit {
    /// A Backend object.
    Object(Name),
    /// An InferencePool.
    Pool(Name),
    /// A port of a Service.
    Port(Name, u16, Speech),
}

impl BackendUnit {
    /// Whether it is translated for its own sake, and not only while it is used: it has a status.
    pub(crate) fn is_object(&self) -> bool {
        matches!(self, BackendUnit::Object(_) | BackendUnit::Pool(_))
    }
}

/// How a port of a Service is spoken to. What its `appProtocol` and its BackendTLSPolicies say is found out when the port is
/// translated; here is what depends on who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Speech {
    /// As the port itself says: HTTP, or a stream of bytes.
    Plain,
    /// gRPC, on a port that does not say so itself.
    Grpc,
    /// Datagrams.
    Udp,
    /// MCP: the port as a backend with one target, behind itself as a plain one.
    Mcp,
    /// A2A: HTTP whose requests are looked at.
    A2a,
}

impl BackendUnit {
    /// The Backend, InferencePool or Service.
    pub(crate) fn object(&self) -> ObjectKey {
        match self {
            BackendUnit::Object(name) => ObjectKey { kind: ObjectKind::Backend, name: name.clone() },
            BackendUnit::Pool(name) => ObjectKey { kind: ObjectKind::InferencePool, name: name.clone() },
            BackendUnit::Port(name, ..) => ObjectKey { kind: ObjectKind::Service, name: name.clone() },
        }
    }

    /// Key of its Backend resource.
    pub(crate) fn key(&self) -> String {
        let source = self.object();
        let source = source.name.to_ref(source.kind.kind());
        match self {
            BackendUnit::Object(_) | BackendUnit::Pool(_) => key::backend(&source),
            BackendUnit::Port(_, port, speech) => {
                let suffix = match speech {
                    Speech::Plain => "",
                    Speech::Grpc => "/grpc",
                    Speech::Udp => "/udp",
                    Speech::Mcp => "/mcp",
                    Speech::A2a => "/a2a",
                };
                key::backend_section(&source, &format!("{port}{suffix}"))
            }
        }
    }
}

/// Resources by kind and key. No two units give the same key.
pub(crate) type Items = SortedMap<(Kind, Arc<str>), Arc<Encoded>>;

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
    pub(crate) routes: BTreeSet<ObjectKey>,
    pub(crate) backends: BTreeSet<BackendUnit>,
    pub(crate) policies: BTreeSet<Name>,
    pub(crate) backend_tls: BTreeSet<Name>,
    pub(crate) statuses: BTreeSet<ObjectKey>,
}

impl Dirty {
    pub(crate) fn add(&mut self, unit: &Unit) {
        match unit {
            Unit::Gateway(name) => self.gateways.insert(name.clone()),
            Unit::Route(key) => self.routes.insert(key.clone()),
            Unit::Backend(unit) => self.backends.insert(unit.clone()),
            Unit::Policy(name) => self.policies.insert(name.clone()),
            Unit::BackendTls(name) => self.backend_tls.insert(name.clone()),
        };
    }

    pub(crate) fn fire(&mut self, index: &crate::fact::Index, fact: &Fact) {
        index.lookers(fact).for_each(|unit| self.add(unit));
    }
}
