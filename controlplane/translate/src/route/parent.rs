//! Parents of routes: the types of Gateway API are of the same shape for each kind of route, and become one here.

use agentgateway_crds::{ParentReference, RouteParentStatus, RouteStatus};
use gateway_api::apis::experimental::{grpcroutes, httproutes, tlsroutes};

/// A parent as some kind of route writes it.
pub(crate) trait AsParent {
    fn as_parent(&self) -> ParentReference;
}

/// A status as some kind of route has it.
pub(crate) trait AsStatus {
    fn as_status(&self) -> RouteStatus;
}

impl AsParent for ParentReference {
    fn as_parent(&self) -> ParentReference {
        self.clone()
    }
}

impl AsStatus for RouteStatus {
    fn as_status(&self) -> RouteStatus {
        self.clone()
    }
}

macro_rules! as_parent {
    ($($type:ty),*) => {$(
        impl AsParent for $type {
            fn as_parent(&self) -> ParentReference {
                ParentReference {
                    group: self.group.clone(),
                    kind: self.kind.clone(),
                    name: self.name.clone(),
                    namespace: self.namespace.clone(),
                    port: self.port,
                    section_name: self.section_name.clone(),
                }
            }
        }
    )*};
}

macro_rules! as_status {
    ($($type:ty),*) => {$(
        impl AsStatus for $type {
            fn as_status(&self) -> RouteStatus {
                let parents = self.parents.iter().map(|entry| RouteParentStatus {
                    parent_ref: entry.parent_ref.as_parent(),
                    controller_name: entry.controller_name.clone(),
                    conditions: entry.conditions.clone(),
                });
                RouteStatus { parents: parents.collect() }
            }
        }
    )*};
}

as_parent!(httproutes::HttpRouteParentRefs, httproutes::HttpRouteStatusParentsParentRef);
as_parent!(grpcroutes::GrpcRouteParentRefs, grpcroutes::GrpcRouteStatusParentsParentRef);
as_parent!(tlsroutes::TlsRouteParentRefs, tlsroutes::TlsRouteStatusParentsParentRef);
as_status!(httproutes::HttpRouteStatus, grpcroutes::GrpcRouteStatus, tlsroutes::TlsRouteStatus);
