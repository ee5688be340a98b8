//! The objects as they are now, and what a change to one of them means.

mod index;
mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agentgateway_crds::{
    Backend, DirectResponse, GatewayExtension, GatewayParameters, InferencePool, TcpRoute, TrafficPolicy, UdpRoute,
};
use gateway_api::apis::experimental::gatewayclasses::GatewayClass;
use gateway_api::apis::experimental::gateways::Gateway;
use gateway_api::apis::experimental::grpcroutes::GrpcRoute;
use gateway_api::apis::experimental::httproutes::HttpRoute;
use gateway_api::apis::experimental::listenersets::ListenerSet;
use gateway_api::apis::experimental::referencegrants::ReferenceGrant;
use gateway_api::apis::experimental::tlsroutes::TlsRoute;
use gateway_api::apis::standard::backendtlspolicies::BackendTlsPolicy;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::core::ObjectMeta;

use crate::fact::Fact;
use crate::object::{ObjectKey, ObjectKind, Secret, Unreadable};
use crate::unit::Unit;
use crate::{Installed, Name};
use index::Indexes;

pub(crate) type Table<T> = BTreeMap<Name, Arc<T>>;
/// Objects that are read by name: `None` for one that is known not to exist.
type Read<T> = BTreeMap<Name, Option<Arc<T>>>;

/// All objects.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) classes: Table<GatewayClass>,
    pub(crate) gateways: Table<Gateway>,
    pub(crate) listener_sets: Table<ListenerSet>,
    pub(crate) http_routes: Table<HttpRoute>,
    pub(crate) grpc_routes: Table<GrpcRoute>,
    pub(crate) tls_routes: Table<TlsRoute>,
    pub(crate) tcp_routes: Table<TcpRoute>,
    pub(crate) udp_routes: Table<UdpRoute>,
    pub(crate) backend_tls: Table<BackendTlsPolicy>,
    pub(crate) grants: Table<ReferenceGrant>,
    pub(crate) services: Table<Service>,
    pub(crate) namespaces: Table<Namespace>,
    pub(crate) slices: Table<EndpointSlice>,
    pub(crate) backends: Table<Backend>,
    pub(crate) policies: Table<TrafficPolicy>,
    pub(crate) extensions: Table<GatewayExtension>,
    pub(crate) responses: Table<DirectResponse>,
    pub(crate) parameters: Table<GatewayParameters>,
    pub(crate) pools: Table<InferencePool>,
    pub(crate) pods: Table<Pod>,
    secrets: Read<Secret>,
    config_maps: Read<ConfigMap>,
    /// The definitions of Gateway API; `None` where there are none, as in a folder.
    pub(crate) installed: Option<Installed>,
    indexes: Indexes,
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

/// What is known of an object that is read by name.
#[derive(Debug)]
pub(crate) enum Known<'a, T> {
    /// Nobody has said yet.
    Unread,
    /// It does not exist, or does not fit its type.
    Absent,
    Present(&'a T),
}

impl World {
    /// The EndpointSlices of a Service.
    pub(crate) fn slices_of(&self, service: &Name) -> impl Iterator<Item = &EndpointSlice> {
        self.indexes.slices(service).filter_map(|name| self.slices.get(name)).map(Arc::as_ref)
    }

    /// The ListenerSets that name a Gateway as their parent.
    pub(crate) fn sets_of(&self, gateway: &Name) -> impl Iterator<Item = (&Name, &ListenerSet)> {
        self.indexes.sets(gateway).filter_map(|name| self.listener_sets.get(name).map(|set| (name, set.as_ref())))
    }

    /// The Gateway that a ListenerSet names as its parent.
    pub(crate) fn gateway_of_set(&self, set: &Name) -> Option<Name> {
        self.listener_sets.get(set).map(|set| index::gateway_of(set))
    }

    /// What a BackendTLSPolicy names as its targets, of the kinds that it can apply to.
    pub(crate) fn tls_targets(&self, policy: &Name) -> BTreeSet<ObjectKey> {
        self.indexes.targets(policy)
    }

    /// The BackendTLSPolicies that name a Service or a Backend as their target.
    pub(crate) fn tls_policies_of(&self, target: &ObjectKey) -> impl Iterator<Item = &Name> {
        self.indexes.policies(target)
    }

    pub(crate) fn secret(&self, name: &Name) -> Known<'_, Secret> {
        known_in(&self.secrets, name)
    }

    pub(crate) fn config_map(&self, name: &Name) -> Known<'_, ConfigMap> {
        known_in(&self.config_maps, name)
    }

    /// Whether anybody has said what is in an object that is read by name.
    pub(crate) fn is_read(&self, key: &ObjectKey) -> bool {
        match key.kind {
            ObjectKind::Secret => self.secrets.contains_key(&key.name),
            ObjectKind::ConfigMap => self.config_maps.contains_key(&key.name),
            _ => true,
        }
    }

    /// Forgets an object that was read by name.
    pub(crate) fn forget(&mut self, key: &ObjectKey) {
        self.secrets.retain(|name, _| key.kind != ObjectKind::Secret || *name != key.name);
        self.config_maps.retain(|name, _| key.kind != ObjectKind::ConfigMap || *name != key.name);
        self.unreadable.remove(key);
    }

    /// Metadata of an object, in its last readable state.
    pub(crate) fn meta(&self, key: &ObjectKey) -> Option<&ObjectMeta> {
        fn of<'a, T: Resource>(table: &'a Table<T>, key: &ObjectKey) -> Option<&'a ObjectMeta> {
            table.get(&key.name).map(|object| object.meta())
        }
        match key.kind {
            ObjectKind::GatewayClass => of(&self.classes, key),
            ObjectKind::Gateway => of(&self.gateways, key),
            ObjectKind::ListenerSet => of(&self.listener_sets, key),
            ObjectKind::HttpRoute => of(&self.http_routes, key),
            ObjectKind::GrpcRoute => of(&self.grpc_routes, key),
            ObjectKind::TlsRoute => of(&self.tls_routes, key),
            ObjectKind::TcpRoute => of(&self.tcp_routes, key),
            ObjectKind::UdpRoute => of(&self.udp_routes, key),
            ObjectKind::BackendTlsPolicy => of(&self.backend_tls, key),
            ObjectKind::ReferenceGrant => of(&self.grants, key),
            ObjectKind::Service => of(&self.services, key),
            ObjectKind::EndpointSlice => of(&self.slices, key),
            ObjectKind::Namespace => of(&self.namespaces, key),
            ObjectKind::Secret => self.secrets.get(&key.name).and_then(|o| o.as_deref()).map(Secret::meta),
            ObjectKind::ConfigMap => self.config_maps.get(&key.name).and_then(|o| o.as_deref()).map(Resource::meta),
            ObjectKind::Backend => of(&self.backends, key),
            ObjectKind::TrafficPolicy => of(&self.policies, key),
            ObjectKind::GatewayExtension => of(&self.extensions, key),
            ObjectKind::DirectResponse => of(&self.responses, key),
            ObjectKind::GatewayParameters => of(&self.parameters, key),
            ObjectKind::InferencePool => of(&self.pools, key),
            ObjectKind::Pod => of(&self.pods, key),
        }
    }

    /// Whether there is such an object, readable or not.
    pub(crate) fn known(&self, key: &ObjectKey) -> bool {
        self.unreadable.contains_key(key) || self.meta(key).is_some()
    }
}

fn known_in<'a, T>(table: &'a Read<T>, name: &Name) -> Known<'a, T> {
    match table.get(name) {
        None => Known::Unread,
        Some(None) => Known::Absent,
        Some(Some(object)) => Known::Present(object),
    }
}
