//! Takes changes into the tables, and says what each means.

use std::collections::BTreeMap;
use std::sync::Arc;

use agentgateway_crds::{
    Backend, DirectResponse, GatewayExtension, GatewayParameters, InferencePool, TcpRoute, TrafficPolicy, UdpRoute,
};
use gateway_api::apis::experimental::gateways::Gateway;
use gateway_api::apis::experimental::grpcroutes::GrpcRoute;
use gateway_api::apis::experimental::httproutes::HttpRoute;
use gateway_api::apis::experimental::listenersets::ListenerSet;
use gateway_api::apis::experimental::tlsroutes::TlsRoute;
use gateway_api::apis::standard::backendtlspolicies::BackendTlsPolicy;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;

use super::{Meaning, Read, Table, World, index};
use crate::fact::Fact;
use crate::object::{Change, FromObject, Object, ObjectKey, ObjectKind, Secret};
use crate::service::has_mcp_port;
use crate::unit::{BackendUnit, Unit};
use crate::{Name, names, parameters};

impl World {
    /// Takes a change in.
    pub(crate) fn update(&mut self, change: Change) -> Meaning {
        let Change { key, object } = change;
        let mut meaning = Meaning::default();
        if has_status(key.kind) {
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
            if !drops_what_it_was(key.kind) {
                return meaning;
            }
        } else if self.unreadable.remove(&key).is_some() {
            meaning.units.extend(unit(&key));
        }
        self.put(&key, object, &mut meaning);
        meaning
    }

    fn put(&mut self, key: &ObjectKey, object: Option<Object>, meaning: &mut Meaning) {
        let name = &key.name;
        match key.kind {
            ObjectKind::GatewayClass => {
                if swap(&mut self.classes, name, object, |c| c.spec.clone()) {
                    meaning.facts.push(Fact::Class(name.name.clone()));
                }
            }
            ObjectKind::Gateway => {
                let look = |g: &Gateway| (g.spec.clone(), g.meta().labels.clone(), g.meta().uid.clone());
                if swap(&mut self.gateways, name, object, look) {
                    meaning.labelled(key);
                    meaning.units.push(Unit::Gateway(name.clone()));
                }
            }
            ObjectKind::ListenerSet => {
                let look = |s: &ListenerSet| {
                    (s.spec.clone(), s.metadata.labels.clone(), s.metadata.creation_timestamp.clone())
                };
                let before = self.listener_sets.get(name).map(|s| index::gateway_of(s));
                if swap(&mut self.listener_sets, name, object, look) {
                    let after = self.listener_sets.get(name).map(|s| index::gateway_of(s));
                    self.indexes.move_set(name, before.as_ref(), after.as_ref());
                    meaning.labelled(key);
                    meaning.facts.extend(before.into_iter().chain(after).map(Fact::ListenerSets));
                }
            }
            ObjectKind::HttpRoute => {
                let look = |r: &HttpRoute| (r.spec.clone(), labels_and_age(r));
                meaning.route(key, swap(&mut self.http_routes, name, object, look));
            }
            ObjectKind::GrpcRoute => {
                let look = |r: &GrpcRoute| (r.spec.clone(), labels_and_age(r));
                meaning.route(key, swap(&mut self.grpc_routes, name, object, look));
            }
            ObjectKind::TlsRoute => {
                let look = |r: &TlsRoute| (r.spec.clone(), labels_and_age(r));
                meaning.route(key, swap(&mut self.tls_routes, name, object, look));
            }
            ObjectKind::TcpRoute => {
                let look = |r: &TcpRoute| (r.spec.clone(), labels_and_age(r));
                meaning.route(key, swap(&mut self.tcp_routes, name, object, look));
            }
            ObjectKind::UdpRoute => {
                let look = |r: &UdpRoute| (r.spec.clone(), labels_and_age(r));
                meaning.route(key, swap(&mut self.udp_routes, name, object, look));
            }
            ObjectKind::BackendTlsPolicy => self.put_backend_tls(key, object, meaning),
            ObjectKind::ReferenceGrant => {
                if swap(&mut self.grants, name, object, |g| g.spec.clone()) {
                    meaning.facts.push(Fact::Grants(name.namespace.clone()));
                }
            }
            ObjectKind::Service => self.put_service(key, object, meaning),
            ObjectKind::EndpointSlice => self.put_slice(name, object, meaning),
            ObjectKind::Namespace => {
                if swap(&mut self.namespaces, name, object, |n| n.metadata.labels.clone()) {
                    meaning.facts.extend([Fact::Namespace(name.name.clone()), Fact::Namespaces]);
                }
            }
            ObjectKind::Secret => {
                let new = object.and_then(Secret::from_object);
                let same = |a: &Secret, b: &Secret| a.same_content(b);
                if read(&mut self.secrets, name, new, same) {
                    meaning.facts.push(Fact::Content(key.clone()));
                }
            }
            ObjectKind::ConfigMap => {
                let new = object.and_then(ConfigMap::from_object);
                let same = |a: &ConfigMap, b: &ConfigMap| a.data == b.data && a.binary_data == b.binary_data;
                if read(&mut self.config_maps, name, new, same) {
                    meaning.facts.push(Fact::Content(key.clone()));
                }
            }
            ObjectKind::Backend => {
                if swap(&mut self.backends, name, object, |b: &Backend| (b.spec.clone(), b.metadata.labels.clone())) {
                    meaning.labelled(key);
                    meaning.units.push(Unit::Backend(BackendUnit::Object(name.clone())));
                }
            }
            ObjectKind::TrafficPolicy => {
                if swap(&mut self.policies, name, object, |p: &TrafficPolicy| {
                    (p.spec.clone(), p.metadata.creation_timestamp.clone())
                }) {
                    meaning.units.push(Unit::Policy(name.clone()));
                    meaning.facts.push(Fact::Policy(name.clone()));
                }
            }
            ObjectKind::GatewayExtension => {
                if swap(&mut self.extensions, name, object, |e: &GatewayExtension| e.spec.clone()) {
                    meaning.facts.push(Fact::Extension(name.clone()));
                }
            }
            ObjectKind::DirectResponse => {
                if swap(&mut self.responses, name, object, |r: &DirectResponse| r.spec.clone()) {
                    meaning.facts.push(Fact::Response(name.clone()));
                }
            }
            ObjectKind::InferencePool => {
                if swap(&mut self.pools, name, object, |p: &InferencePool| p.spec.clone()) {
                    meaning.units.push(Unit::Backend(BackendUnit::Pool(name.clone())));
                }
            }
            ObjectKind::Pod => {
                // Of all that changes in a pod's life these alone count.
                let look = |p: &Pod| {
                    let status = p.status.as_ref();
                    let ready = status.and_then(|s| s.conditions.as_ref()).into_iter().flatten();
                    let ready = ready.into_iter().any(|c| c.type_ == "Ready" && c.status == "True");
                    let address = status.and_then(|s| s.pod_ip.clone());
                    (p.metadata.labels.clone(), p.metadata.deletion_timestamp.is_some(), address, ready)
                };
                if swap(&mut self.pods, name, object, look) {
                    meaning.facts.push(Fact::Pods(name.namespace.clone()));
                }
            }
            ObjectKind::GatewayParameters => {
                if swap(&mut self.parameters, name, object, |p: &GatewayParameters| p.spec.clone()) {
                    meaning.facts.push(Fact::Parameters(name.clone()));
                    let classes = self.classes.iter().filter(|(_, class)| parameters::names(class, name));
                    let key = |class: &Name| ObjectKey { kind: ObjectKind::GatewayClass, name: class.clone() };
                    meaning.statuses.extend(classes.map(|(class, _)| key(class)));
                }
            }
        }
    }

    fn put_service(&mut self, key: &ObjectKey, object: Option<Object>, meaning: &mut Meaning) {
        let name = &key.name;
        let mcp = |world: &World| world.services.get(name).is_some_and(|s| has_mcp_port(s));
        let had_mcp = mcp(self);
        let look = |s: &Service| (s.spec.clone(), s.metadata.labels.clone(), s.metadata.annotations.clone());
        if swap(&mut self.services, name, object, look) {
            meaning.facts.push(Fact::Service(name.clone()));
            meaning.labelled(key);
            if had_mcp || mcp(self) {
                meaning.facts.push(Fact::McpServices);
            }
        }
        // Its address may be a Gateway's; several Gateways cannot have the same Service.
        let owner = names::gateway_of_service(self, name);
        meaning.statuses.extend(owner.map(|name| ObjectKey { kind: ObjectKind::Gateway, name }));
    }

    /// A slice may move from one Service to another.
    fn put_slice(&mut self, name: &Name, object: Option<Object>, meaning: &mut Meaning) {
        let look =
            |s: &EndpointSlice| (s.address_type.clone(), s.endpoints.clone(), s.ports.clone(), index::service_of(s));
        let before = self.slices.get(name).and_then(|s| index::service_of(s));
        if swap(&mut self.slices, name, object, look) {
            let after = self.slices.get(name).and_then(|s| index::service_of(s));
            self.indexes.move_slice(name, before.as_ref(), after.as_ref());
            meaning.facts.extend(before.into_iter().chain(after).map(Fact::Slices));
        }
    }

    /// An unreadable policy has targets, too.
    fn put_backend_tls(&mut self, key: &ObjectKey, object: Option<Object>, meaning: &mut Meaning) {
        let name = &key.name;
        let look = |p: &BackendTlsPolicy| (p.spec.clone(), p.metadata.creation_timestamp.clone());
        let before = self.indexes.targets(name);
        let changed = swap(&mut self.backend_tls, name, object, look);
        let unreadable = self.unreadable.get(key).map(|u| index::targets_in(name, &u.raw));
        let after = unreadable.or_else(|| self.backend_tls.get(name).map(|p| index::targets_of(p))).unwrap_or_default();
        // One that does not fit comes here only when that is new.
        if changed || before != after || self.unreadable.contains_key(key) {
            meaning.units.push(Unit::BackendTls(name.clone()));
            meaning.facts.extend(before.iter().chain(&after).cloned().map(Fact::TlsPolicies));
        }
        self.indexes.set_targets(name, after);
    }
}

impl Meaning {
    fn labelled(&mut self, key: &ObjectKey) {
        self.facts.push(Fact::Labels(key.kind, key.name.namespace.clone()));
    }

    fn route(&mut self, key: &ObjectKey, changed: bool) {
        if changed {
            self.labelled(key);
            self.units.push(Unit::Route(key.clone()));
        }
    }
}

/// Puts an object into its table, or takes it out; says whether what is looked at changed.
fn swap<T: FromObject, L: PartialEq>(
    table: &mut Table<T>,
    name: &Name,
    new: Option<Object>,
    look: impl Fn(&T) -> L,
) -> bool {
    let new = new.and_then(T::from_object);
    let seen = new.as_deref().map(&look);
    let old = match new {
        Some(new) => table.insert(name.clone(), new),
        None => table.remove(name),
    };
    old.as_deref().map(look) != seen
}

/// As [`swap`], for what is read by name: that it does not exist is kept, too.
fn read<T>(table: &mut Read<T>, name: &Name, new: Option<Arc<T>>, same: impl Fn(&T, &T) -> bool) -> bool {
    match (table.insert(name.clone(), new.clone()), new) {
        (Some(Some(old)), Some(new)) => !same(&old, &new),
        (Some(None), None) => false,
        _ => true,
    }
}

fn labels_and_age<R: Resource>(route: &R) -> (Option<BTreeMap<String, String>>, Option<Time>) {
    (route.meta().labels.clone(), route.meta().creation_timestamp.clone())
}

fn has_status(kind: ObjectKind) -> bool {
    kind.is_route()
        || matches!(kind, ObjectKind::GatewayClass | ObjectKind::Gateway | ObjectKind::ListenerSet)
        || matches!(kind, ObjectKind::Backend | ObjectKind::TrafficPolicy | ObjectKind::BackendTlsPolicy)
        || matches!(kind, ObjectKind::GatewayExtension | ObjectKind::InferencePool)
}

/// Whether what was read of an object before counts no more when its newest state does not fit.
fn drops_what_it_was(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::TrafficPolicy | ObjectKind::BackendTlsPolicy | ObjectKind::ReferenceGrant)
        || matches!(kind, ObjectKind::Secret | ObjectKind::ConfigMap | ObjectKind::GatewayExtension)
}

fn unit(key: &ObjectKey) -> Option<Unit> {
    let name = key.name.clone();
    match key.kind {
        ObjectKind::Gateway => Some(Unit::Gateway(name)),
        ObjectKind::Backend => Some(Unit::Backend(BackendUnit::Object(name))),
        ObjectKind::InferencePool => Some(Unit::Backend(BackendUnit::Pool(name))),
        ObjectKind::TrafficPolicy => Some(Unit::Policy(name)),
        ObjectKind::BackendTlsPolicy => Some(Unit::BackendTls(name)),
        kind if kind.is_route() => Some(Unit::Route(key.clone())),
        _ => None,
    }
}
