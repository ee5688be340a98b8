//! The eyes of a translation: what it asks for here, it is translated again for when that changes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use gateway_api::apis::experimental::gatewayclasses::GatewayClass;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::backend::BackendState;
use crate::fact::Fact;
use crate::gateway::Plan;
use crate::made::Made;
use crate::object::{ObjectKey, ObjectKind};
use crate::route::RouteState;
use crate::selector::Labels;
use crate::unit::BackendUnit;
use crate::world::World;
use crate::{Name, Settings};

/// Label that every namespace has.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The objects and what was made of them, with a memory of what was looked at.
pub(crate) struct View<'a> {
    pub(crate) settings: &'a Settings,
    world: &'a World,
    made: &'a Made,
    seen: RefCell<BTreeSet<Fact>>,
}

impl<'a> View<'a> {
    pub(crate) fn new(settings: &'a Settings, world: &'a World, made: &'a Made) -> View<'a> {
        View { settings, world, made, seen: RefCell::default() }
    }

    /// All that was looked at.
    pub(crate) fn into_seen(self) -> BTreeSet<Fact> {
        self.seen.into_inner()
    }

    fn look(&self, fact: Fact) {
        self.seen.borrow_mut().insert(fact);
    }

    pub(crate) fn class(&self, name: &str) -> Option<&'a GatewayClass> {
        self.look(Fact::Class(name.to_owned()));
        self.world.classes.get(&Name::new("", name)).map(Arc::as_ref)
    }

    /// The listeners of a Gateway of ours.
    pub(crate) fn plan(&self, gateway: &Name) -> Option<&'a Plan> {
        self.look(Fact::Plan(gateway.clone()));
        self.made.gateways.get(gateway).map(|state| &state.plan)
    }

    pub(crate) fn service(&self, name: &Name) -> Option<&'a Service> {
        self.look(Fact::Service(name.clone()));
        self.world.services.get(name).map(Arc::as_ref)
    }

    /// All Services with an MCP port, by name.
    pub(crate) fn mcp_services(&self) -> impl Iterator<Item = (&'a Name, &'a Service)> {
        self.look(Fact::McpServices);
        let services = self.world.services.iter().map(|(name, service)| (name, service.as_ref()));
        services.filter(|(_, service)| crate::service::has_mcp_port(service))
    }

    pub(crate) fn slices(&self, service: &Name) -> impl Iterator<Item = &'a EndpointSlice> {
        self.look(Fact::Slices(service.clone()));
        self.world.slices_of(service)
    }

    /// The labels of a namespace, which has at least that of its name.
    pub(crate) fn namespace_labels(&self, namespace: &str) -> Labels {
        self.look(Fact::Namespace(namespace.to_owned()));
        self.labels_of(namespace)
    }

    /// As [`View::namespace_labels`], for looking at many.
    pub(crate) fn any_namespace_labels(&self, namespace: &str) -> Labels {
        self.look(Fact::Namespaces);
        self.labels_of(namespace)
    }

    fn labels_of(&self, namespace: &str) -> Labels {
        let object = self.world.namespaces.get(&Name::new("", namespace));
        let mut labels = object.and_then(|n| n.metadata.labels.clone()).unwrap_or_default();
        labels.entry(NAMESPACE_NAME_LABEL.to_owned()).or_insert_with(|| namespace.to_owned());
        labels
    }

    /// Whether HTTPRoutes of `from` may refer to this object in another namespace (ReferenceGrant).
    pub(crate) fn granted(&self, from: &str, to_group: &str, to_kind: &str, to: &Name) -> bool {
        if from == to.namespace {
            return true;
        }
        self.look(Fact::Grants(to.namespace.clone()));
        let of_namespace = self.world.grants.range(Name::new(to.namespace.clone(), "")..);
        let mut grants = of_namespace.take_while(|(name, _)| name.namespace == to.namespace).map(|(_, grant)| grant);
        grants.any(|grant| {
            let from_matches =
                grant.spec.from.iter().any(|f| {
                    f.group == agentgateway_crds::GATEWAY_GROUP && f.kind == "HTTPRoute" && f.namespace == from
                });
            let named = |name: &Option<String>| name.as_deref().is_none_or(|n| n.is_empty() || n == to.name);
            let to_matches = grant.spec.to.iter().any(|t| t.group == to_group && t.kind == to_kind && named(&t.name));
            from_matches && to_matches
        })
    }

    /// What a Backend object became; `None` when there is none.
    pub(crate) fn backend(&self, name: &Name) -> Option<&'a BackendState> {
        self.look(Fact::Backend(name.clone()));
        self.made.backends.get(&BackendUnit::Object(name.clone()))
    }

    /// What an HTTPRoute became; `None` when there is none.
    pub(crate) fn route(&self, name: &Name) -> Option<&'a RouteState> {
        self.look(Fact::Route(name.clone()));
        self.made.routes.get(name)
    }

    /// The gateways that use a Backend object.
    pub(crate) fn users(&self, backend: &Name) -> BTreeSet<Name> {
        let unit = BackendUnit::Object(backend.clone());
        self.look(Fact::Users(unit.clone()));
        self.made.users.get(&unit).cloned().unwrap_or_default()
    }

    /// Whether there is such an object, ours or not.
    pub(crate) fn exists(&self, kind: ObjectKind, name: &Name) -> bool {
        let key = ObjectKey { kind, name: name.clone() };
        self.look(Fact::Exists(key.clone()));
        self.world.known(&key)
    }

    /// Names of the objects of a namespace with these labels.
    pub(crate) fn labelled(&self, kind: ObjectKind, namespace: &str, wanted: &Labels) -> Vec<Name> {
        let (world, at) = (self.world, Name::new(namespace, ""));
        match kind {
            ObjectKind::Gateway => {
                self.look(Fact::GatewaysIn(namespace.to_owned()));
                filter(world.gateways.range(at..), namespace, wanted, |g| g.metadata.labels.as_ref())
            }
            ObjectKind::HttpRoute => {
                self.look(Fact::RoutesIn(namespace.to_owned()));
                filter(world.routes.range(at..), namespace, wanted, |r| r.metadata.labels.as_ref())
            }
            ObjectKind::Backend => {
                self.look(Fact::BackendsIn(namespace.to_owned()));
                filter(world.backends.range(at..), namespace, wanted, |b| b.metadata.labels.as_ref())
            }
            _ => Vec::new(),
        }
    }
}

fn filter<'a, T: 'a>(
    objects: impl Iterator<Item = (&'a Name, &'a Arc<T>)>,
    namespace: &str,
    wanted: &Labels,
    labels: impl Fn(&'a T) -> Option<&'a Labels>,
) -> Vec<Name> {
    let of_namespace = objects.take_while(|(name, _)| name.namespace == namespace);
    let fitting = of_namespace.filter_map(|(name, object)| {
        let has = labels(object.as_ref());
        wanted.iter().all(|(key, value)| has.is_some_and(|l| l.get(key) == Some(value))).then(|| name.clone())
    });
    fitting.collect()
}
