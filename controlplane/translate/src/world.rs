//! The objects as they are now, and what a change to one of them means.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use agentgateway_crds::{Backend, TrafficPolicy};
use gateway_api::apis::experimental::gatewayclasses::GatewayClass;
use gateway_api::apis::experimental::gateways::Gateway;
use gateway_api::apis::experimental::httproutes::HttpRoute;
use gateway_api::apis::experimental::referencegrants::ReferenceGrant;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;

use crate::fact::Fact;
use crate::object::{Change, Object, ObjectKey, ObjectKind, Unreadable};
use crate::service::has_mcp_port;
use crate::unit::{BackendUnit, Unit};
use crate::{Name, names};

/// Label that names the Service of an EndpointSlice.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

type Table<T> = BTreeMap<Name, Arc<T>>;

/// All objects.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) classes: Table<GatewayClass>,
    pub(crate) gateways: Table<Gateway>,
    pub(crate) routes: Table<HttpRoute>,
    pub(crate) grants: Table<ReferenceGrant>,
    pub(crate) services: Table<Service>,
    pub(crate) namespaces: Table<Namespace>,
    pub(crate) backends: Table<Backend>,
    pub(crate) policies: Table<TrafficPolicy>,
    pub(crate) slices: Table<EndpointSlice>,
    slices_of: HashMap<Name, BTreeSet<Name>>,
    /// Objects whose newest state does not fit our types. Beside it the last state that did is kept in the tables above, but
    /// not for kinds that protect: those must not live on in a form that is no longer what the user wrote.
    pub(crate) unreadable: BTreeMap<ObjectKey, Arc<Unreadable>>,
}

/// What a change means.
#[derive(Debug, Default)]
pub(crate) struct Meaning {
    pub(crate) facts: Vec<Fact>,
    pub(crate) units: Vec<Unit>,
    pub(crate) statuses: Vec<ObjectKey>,
}

impl World {
    /// Takes a change in.
    pub(crate) fn update(&mut self, change: Change) -> Meaning {
        let Change { key, object } = change;
        let name = key.name.clone();
        let mut meaning = Meaning::default();
        if matches!(key.kind, ObjectKind::GatewayClass | ObjectKind::Gateway | ObjectKind::HttpRoute)
            || matches!(key.kind, ObjectKind::Backend | ObjectKind::TrafficPolicy)
        {
            meaning.statuses.push(key.clone());
        }
        if object.is_none() || !self.known(&key) {
            meaning.facts.push(Fact::Exists(key.clone()));
        }
        if let Some(Object::Unreadable(unreadable)) = &object {
            let before = self.unreadable.insert(key.clone(), Arc::clone(unreadable));
            if before.as_ref() == Some(unreadable) {
                return meaning;
            }
            meaning.units.extend(unit(&key));
            if !matches!(key.kind, ObjectKind::TrafficPolicy | ObjectKind::ReferenceGrant) {
                return meaning;
            }
        } else if self.unreadable.remove(&key).is_some() {
            meaning.units.extend(unit(&key));
        }
        match key.kind {
            ObjectKind::GatewayClass => {
                let new = object.and_then(|o| if let Object::GatewayClass(c) = o { Some(c) } else { None });
                if swap(&mut self.classes, name, new, |c| c.spec.clone()) {
                    meaning.facts.push(Fact::Class(key.name.name));
                }
            }
            ObjectKind::Gateway => {
                let new = object.and_then(|o| if let Object::Gateway(g) = o { Some(g) } else { None });
                let look = |g: &Gateway| (g.spec.clone(), g.meta().labels.clone(), g.meta().uid.clone());
                if swap(&mut self.gateways, name.clone(), new, look) {
                    meaning.facts.push(Fact::GatewaysIn(name.namespace.clone()));
                    meaning.units.push(Unit::Gateway(name));
                }
            }
            ObjectKind::HttpRoute => {
                let new = object.and_then(|o| if let Object::HttpRoute(r) = o { Some(r) } else { None });
                let look =
                    |r: &HttpRoute| (r.spec.clone(), r.meta().labels.clone(), r.meta().creation_timestamp.clone());
                if swap(&mut self.routes, name.clone(), new, look) {
                    meaning.facts.push(Fact::RoutesIn(name.namespace.clone()));
                    meaning.units.push(Unit::Route(name));
                }
            }
            ObjectKind::ReferenceGrant => {
                let new = object.and_then(|o| if let Object::ReferenceGrant(g) = o { Some(g) } else { None });
                if swap(&mut self.grants, name, new, |g| g.spec.clone()) {
                    meaning.facts.push(Fact::Grants(key.name.namespace));
                }
            }
            ObjectKind::Service => {
                let new = object.and_then(|o| if let Object::Service(s) = o { Some(s) } else { None });
                let had_mcp = self.services.get(&name).is_some_and(|s| has_mcp_port(s));
                let has_mcp = new.as_ref().is_some_and(|s| has_mcp_port(s));
                let look = |s: &Service| (s.spec.clone(), s.metadata.labels.clone(), s.metadata.annotations.clone());
                if swap(&mut self.services, name.clone(), new, look) {
                    meaning.facts.push(Fact::Service(name.clone()));
                    if had_mcp || has_mcp {
                        meaning.facts.push(Fact::McpServices);
                    }
                }
                // Its address may be a Gateway's; several Gateways cannot have the same Service.
                let owner = names::gateway_of_service(self, &name);
                meaning.statuses.extend(owner.map(|name| ObjectKey { kind: ObjectKind::Gateway, name }));
            }
            ObjectKind::EndpointSlice => {
                let new = object.and_then(|o| if let Object::EndpointSlice(s) = o { Some(s) } else { None });
                meaning.facts.extend(self.update_slice(name, new).into_iter().map(Fact::Slices));
            }
            ObjectKind::Namespace => {
                let new = object.and_then(|o| if let Object::Namespace(n) = o { Some(n) } else { None });
                if swap(&mut self.namespaces, name, new, |n| n.metadata.labels.clone()) {
                    meaning.facts.extend([Fact::Namespace(key.name.name), Fact::Namespaces]);
                }
            }
            ObjectKind::Backend => {
                let new = object.and_then(|o| if let Object::Backend(b) = o { Some(b) } else { None });
                if swap(&mut self.backends, name.clone(), new, |b| (b.spec.clone(), b.metadata.labels.clone())) {
                    meaning.facts.push(Fact::BackendsIn(name.namespace.clone()));
                    meaning.units.push(Unit::Backend(BackendUnit::Object(name)));
                }
            }
            ObjectKind::TrafficPolicy => {
                let new = object.and_then(|o| if let Object::TrafficPolicy(p) = o { Some(p) } else { None });
                if swap(&mut self.policies, name.clone(), new, |p| p.spec.clone()) {
                    meaning.units.push(Unit::Policy(name));
                }
            }
            _ => {}
        }
        meaning
    }

    /// The EndpointSlices of a Service.
    pub(crate) fn slices_of(&self, service: &Name) -> impl Iterator<Item = &EndpointSlice> {
        let names = self.slices_of.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.get(name)).map(Arc::as_ref)
    }

    /// Whether there is such an object, readable or not.
    pub(crate) fn known(&self, key: &ObjectKey) -> bool {
        let name = &key.name;
        self.unreadable.contains_key(key)
            || match key.kind {
                ObjectKind::GatewayClass => self.classes.contains_key(name),
                ObjectKind::Gateway => self.gateways.contains_key(name),
                ObjectKind::HttpRoute => self.routes.contains_key(name),
                ObjectKind::ReferenceGrant => self.grants.contains_key(name),
                ObjectKind::Service => self.services.contains_key(name),
                ObjectKind::EndpointSlice => self.slices.contains_key(name),
                ObjectKind::Namespace => self.namespaces.contains_key(name),
                ObjectKind::Backend => self.backends.contains_key(name),
                ObjectKind::TrafficPolicy => self.policies.contains_key(name),
                _ => false,
            }
    }

    /// Gives the Services whose endpoints this changes: a slice may move from one to another.
    fn update_slice(&mut self, name: Name, new: Option<Arc<EndpointSlice>>) -> BTreeSet<Name> {
        let old_service = self.slices.get(&name).and_then(|s| service_of(s));
        let new_service = new.as_ref().and_then(|s| service_of(s));
        let look = |s: &EndpointSlice| (s.address_type.clone(), s.endpoints.clone(), s.ports.clone(), service_of(s));
        if !swap(&mut self.slices, name.clone(), new, look) {
            return BTreeSet::new();
        }
        if let Some(service) = &old_service
            && let Some(slices) = self.slices_of.get_mut(service)
        {
            slices.remove(&name);
            if slices.is_empty() {
                self.slices_of.remove(service);
            }
        }
        if let Some(service) = &new_service {
            self.slices_of.entry(service.clone()).or_default().insert(name);
        }
        old_service.into_iter().chain(new_service).collect()
    }
}

/// Puts an object into its table, or takes it out; says whether what is looked at changed.
fn swap<T, L: PartialEq>(table: &mut Table<T>, name: Name, new: Option<Arc<T>>, look: impl Fn(&T) -> L) -> bool {
    let seen = new.as_deref().map(&look);
    let old = match new {
        Some(new) => table.insert(name, new),
        None => table.remove(&name),
    };
    old.as_deref().map(look) != seen
}

fn service_of(slice: &EndpointSlice) -> Option<Name> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    Some(Name::new(slice.metadata.namespace.clone().unwrap_or_default(), service.clone()))
}

fn unit(key: &ObjectKey) -> Option<Unit> {
    let name = key.name.clone();
    match key.kind {
        ObjectKind::Gateway => Some(Unit::Gateway(name)),
        ObjectKind::HttpRoute => Some(Unit::Route(name)),
        ObjectKind::Backend => Some(Unit::Backend(BackendUnit::Object(name))),
        ObjectKind::TrafficPolicy => Some(Unit::Policy(name)),
        _ => None,
    }
}
