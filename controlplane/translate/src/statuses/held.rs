//! The status that an object holds, in the form in which it is given out.

use agentgateway_crds::{BackendStatus, ExtensionStatus, InferencePoolStatus, PolicyStatus, RouteStatus};
use serde_json::Value;

use crate::backend_tls;
use crate::object::{ObjectKey, ObjectKind, Unreadable};
use crate::output::Status;
use crate::route::AsStatus;
use crate::world::World;

pub(super) fn status(key: &ObjectKey, world: &World) -> Option<Status> {
    let name = &key.name;
    // What is left of an object that does not fit its type and never did: its metadata and the status that others wrote.
    if world.meta(key).is_none() {
        return raw(key.kind, world.unreadable.get(key)?);
    }
    match key.kind {
        ObjectKind::GatewayClass => world.classes.get(name)?.status.clone().map(Status::GatewayClass),
        ObjectKind::Gateway => world.gateways.get(name)?.status.clone().map(Status::Gateway),
        ObjectKind::ListenerSet => world.listener_sets.get(name)?.status.clone().map(Status::ListenerSet),
        ObjectKind::HttpRoute => route(world.http_routes.get(name)?.status.as_ref()),
        ObjectKind::GrpcRoute => route(world.grpc_routes.get(name)?.status.as_ref()),
        ObjectKind::TlsRoute => route(world.tls_routes.get(name)?.status.as_ref()),
        ObjectKind::TcpRoute => route(world.tcp_routes.get(name)?.status.as_ref()),
        ObjectKind::UdpRoute => route(world.udp_routes.get(name)?.status.as_ref()),
        ObjectKind::Backend => world.backends.get(name)?.status.clone().map(Status::Backend),
        ObjectKind::InferencePool => world.pools.get(name)?.status.clone().map(Status::Pool),
        ObjectKind::GatewayExtension => world.extensions.get(name)?.status.clone().map(Status::Extension),
        ObjectKind::TrafficPolicy => world.policies.get(name)?.status.clone().map(Status::Policy),
        ObjectKind::BackendTlsPolicy => {
            world.backend_tls.get(name)?.status.as_ref().map(backend_tls::held_status).map(Status::Policy)
        }
        _ => None,
    }
}

fn route(status: Option<&impl AsStatus>) -> Option<Status> {
    status.map(AsStatus::as_status).map(Status::Route)
}

fn raw(kind: ObjectKind, object: &Unreadable) -> Option<Status> {
    let status: &Value = object.raw.get("status")?;
    match kind {
        ObjectKind::Backend => serde_json::from_value::<BackendStatus>(status.clone()).ok().map(Status::Backend),
        ObjectKind::GatewayExtension => {
            serde_json::from_value::<ExtensionStatus>(status.clone()).ok().map(Status::Extension)
        }
        ObjectKind::InferencePool => {
            serde_json::from_value::<InferencePoolStatus>(status.clone()).ok().map(Status::Pool)
        }
        ObjectKind::TrafficPolicy | ObjectKind::BackendTlsPolicy => {
            serde_json::from_value::<PolicyStatus>(status.clone()).ok().map(Status::Policy)
        }
        kind if kind.is_route() => serde_json::from_value::<RouteStatus>(status.clone()).ok().map(Status::Route),
        _ => None,
    }
}
