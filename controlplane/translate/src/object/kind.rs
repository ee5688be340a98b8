//! The kinds of object that are translated, each in one line: what it is called, where it lives, and its type.

use std::fmt;
use std::sync::Arc;

use agentgateway_crds::{
    Backend, DirectResponse, GATEWAY_GROUP, GROUP, GatewayExtension, GatewayParameters, INFERENCE_GROUP, InferencePool,
    TcpRoute, TrafficPolicy, UdpRoute,
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
use serde_json::Value;

use super::secret::Secret;
use super::{Unreadable, read_as};
use crate::Name;

macro_rules! kinds {
    ($($variant:ident: $type:ty, $kind:literal, $group:expr, $version:literal, $plural:literal;)*) => {
        /// The kinds of object that are translated.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "named as in Kubernetes")]
        pub enum ObjectKind { $($variant,)* }

        impl ObjectKind {
            /// All kinds.
            pub const ALL: &[ObjectKind] = &[$(ObjectKind::$variant,)*];

            /// The `kind` of its manifests.
            pub const fn kind(self) -> &'static str {
                match self { $(ObjectKind::$variant => $kind,)* }
            }

            /// The API group of its manifests.
            pub const fn group(self) -> &'static str {
                match self { $(ObjectKind::$variant => $group,)* }
            }

            /// The version in which it is read.
            pub const fn version(self) -> &'static str {
                match self { $(ObjectKind::$variant => $version,)* }
            }

            /// The name of its resource in URLs.
            pub const fn plural(self) -> &'static str {
                match self { $(ObjectKind::$variant => $plural,)* }
            }
        }

        /// An object of one of the kinds that are translated.
        #[derive(Clone, Debug)]
        #[allow(missing_docs, reason = "one variant per kind")]
        pub enum Object {
            $($variant(Arc<$type>),)*
            /// An object that does not fit our types.
            Unreadable(Arc<Unreadable>),
        }

        impl Object {
            pub(super) fn read_kind(kind: ObjectKind, manifest: Value) -> Object {
                match kind { $(ObjectKind::$variant => read_as(manifest, kind, Object::$variant),)* }
            }

            /// Kind.
            pub fn kind(&self) -> ObjectKind {
                match self {
                    $(Object::$variant(_) => ObjectKind::$variant,)*
                    Object::Unreadable(object) => object.kind,
                }
            }

            /// Metadata.
            pub fn meta(&self) -> &ObjectMeta {
                match self {
                    $(Object::$variant(object) => object.meta(),)*
                    Object::Unreadable(object) => &object.meta,
                }
            }
        }

        $(impl FromObject for $type {
            fn from_object(object: Object) -> Option<Arc<$type>> {
                if let Object::$variant(object) = object { Some(object) } else { None }
            }
        })*
    };
}

kinds! {
    GatewayClass: GatewayClass, "GatewayClass", GATEWAY_GROUP, "v1", "gatewayclasses";
    Gateway: Gateway, "Gateway", GATEWAY_GROUP, "v1", "gateways";
    ListenerSet: ListenerSet, "ListenerSet", GATEWAY_GROUP, "v1", "listenersets";
    HttpRoute: HttpRoute, "HTTPRoute", GATEWAY_GROUP, "v1", "httproutes";
    GrpcRoute: GrpcRoute, "GRPCRoute", GATEWAY_GROUP, "v1", "grpcroutes";
    TlsRoute: TlsRoute, "TLSRoute", GATEWAY_GROUP, "v1", "tlsroutes";
    TcpRoute: TcpRoute, "TCPRoute", GATEWAY_GROUP, "v1", "tcproutes";
    UdpRoute: UdpRoute, "UDPRoute", GATEWAY_GROUP, "v1", "udproutes";
    BackendTlsPolicy: BackendTlsPolicy, "BackendTLSPolicy", GATEWAY_GROUP, "v1", "backendtlspolicies";
    // In the version that every release of Gateway API serves.
    ReferenceGrant: ReferenceGrant, "ReferenceGrant", GATEWAY_GROUP, "v1beta1", "referencegrants";
    Service: Service, "Service", "", "v1", "services";
    EndpointSlice: EndpointSlice, "EndpointSlice", "discovery.k8s.io", "v1", "endpointslices";
    Namespace: Namespace, "Namespace", "", "v1", "namespaces";
    Secret: Secret, "Secret", "", "v1", "secrets";
    ConfigMap: ConfigMap, "ConfigMap", "", "v1", "configmaps";
    Backend: Backend, "Backend", GROUP, "v1alpha1", "backends";
    TrafficPolicy: TrafficPolicy, "TrafficPolicy", GROUP, "v1alpha1", "trafficpolicies";
    GatewayExtension: GatewayExtension, "GatewayExtension", GROUP, "v1alpha1", "gatewayextensions";
    DirectResponse: DirectResponse, "DirectResponse", GROUP, "v1alpha1", "directresponses";
    InferencePool: InferencePool, "InferencePool", INFERENCE_GROUP, "v1", "inferencepools";
    Pod: Pod, "Pod", "", "v1", "pods";
    GatewayParameters: GatewayParameters, "GatewayParameters", GROUP, "v1alpha1", "gatewayparameters";
}

/// A type of one of the kinds.
pub(crate) trait FromObject: Sized {
    fn from_object(object: Object) -> Option<Arc<Self>>;
}

impl ObjectKind {
    /// The kinds of route.
    pub const ROUTES: [ObjectKind; 5] = [
        ObjectKind::HttpRoute,
        ObjectKind::GrpcRoute,
        ObjectKind::TlsRoute,
        ObjectKind::TcpRoute,
        ObjectKind::UdpRoute,
    ];

    /// Whether its objects have no namespace.
    pub const fn cluster_scoped(self) -> bool {
        matches!(self, ObjectKind::GatewayClass | ObjectKind::Namespace)
    }

    /// Whether all its objects must be known before anything is translated. Secrets and ConfigMaps are not: those that are
    /// referred to are asked for by name ([`Output::references`](crate::Output::references)).
    pub const fn watched(self) -> bool {
        !matches!(self, ObjectKind::Secret | ObjectKind::ConfigMap)
    }

    pub(crate) const fn is_route(self) -> bool {
        matches!(
            self,
            ObjectKind::HttpRoute
                | ObjectKind::GrpcRoute
                | ObjectKind::TlsRoute
                | ObjectKind::TcpRoute
                | ObjectKind::UdpRoute
        )
    }
}

/// Kind, namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Kind.
    pub kind: ObjectKind,
    /// Namespace and name.
    pub name: Name,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.kind(), self.name)
    }
}
