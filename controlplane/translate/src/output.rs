//! What comes out of the translator.

use std::collections::{BTreeMap, BTreeSet};

use agentgateway_crds::{
    BackendStatus, ExtensionStatus, GatewayParametersSpec, InferencePoolStatus, PolicyStatus, RouteStatus,
};
use agentgateway_proto::snapshot::Snapshot;
use agentgateway_proto::v1::bind::Transport;
use gateway_api::apis::experimental::gatewayclasses::GatewayClassStatus;
use gateway_api::apis::experimental::gateways::GatewayStatus;
use gateway_api::apis::experimental::listenersets::ListenerSetStatus;

use crate::{Name, ObjectKey};

/// What one call changed.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Gateways whose resources changed, with all their resources; `None` for one that is gone or no longer ours.
    pub snapshots: BTreeMap<Name, Option<Snapshot>>,
    /// Statuses to write, in the order of their objects.
    pub statuses: Vec<StatusUpdate>,
    /// Gateways whose deployment changed; `None` for one that is gone or no longer ours.
    pub workloads: BTreeMap<Name, Option<Workload>>,
    /// Secrets and ConfigMaps that came into use or went out of it.
    pub references: References,
}

/// Secrets and ConfigMaps that objects refer to, and may (a ReferenceGrant that is needed is there).
///
/// The caller reads each that was added, and follows it until it is removed: it gives the object by
/// [`Change::set`](crate::Change::set), or says by [`Change::gone`](crate::Change::gone) that there is none or that it cannot be
/// read. What uses it waits until then, and is as it was before meanwhile, so that nothing is closed or reported while a
/// Secret is under way. What was removed is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// To be read and followed from now on.
    pub added: BTreeSet<ObjectKey>,
    /// Of no use any more.
    pub removed: BTreeSet<ObjectKey>,
}

/// A status that differs from what its object holds.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusUpdate {
    /// The object.
    pub key: ObjectKey,
    /// Version of the object that the status was made from. A write that names it fails when another controller wrote its
    /// own entries meanwhile; the object then comes again, and with it a new status.
    pub resource_version: Option<String>,
    /// The whole status.
    pub status: Status,
}

/// A status.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "named as the kinds")]
pub enum Status {
    GatewayClass(GatewayClassStatus),
    Gateway(GatewayStatus),
    ListenerSet(ListenerSetStatus),
    /// Of a route of any kind.
    Route(RouteStatus),
    Backend(BackendStatus),
    Extension(ExtensionStatus),
    Pool(InferencePoolStatus),
    /// Of a policy of any kind.
    Policy(PolicyStatus),
}

impl Status {
    /// Whether it has no entry at all.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Status::Route(status) => status.parents.is_empty(),
            Status::Policy(status) => status.ancestors.is_empty(),
            Status::Pool(status) => status.parents.is_empty(),
            Status::GatewayClass(_) | Status::Gateway(_) | Status::ListenerSet(_) => false,
            Status::Backend(_) | Status::Extension(_) => false,
        }
    }

    /// As the `status` field of the object.
    pub fn to_value(&self) -> serde_json::Result<serde_json::Value> {
        match self {
            Status::GatewayClass(s) => serde_json::to_value(s),
            Status::Gateway(s) => serde_json::to_value(s),
            Status::ListenerSet(s) => serde_json::to_value(s),
            Status::Route(s) => serde_json::to_value(s),
            Status::Backend(s) => serde_json::to_value(s),
            Status::Extension(s) => serde_json::to_value(s),
            Status::Pool(s) => serde_json::to_value(s),
            Status::Policy(s) => serde_json::to_value(s),
        }
    }
}

/// What is to be deployed for a Gateway: a Deployment, a Service and a ServiceAccount, all of one name, in the Gateway's
/// namespace and owned by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// The Gateway.
    pub gateway: Name,
    /// Its UID, for owner references; `None` without Kubernetes.
    pub uid: Option<String>,
    /// Name of its class.
    pub class: String,
    /// Name of the objects: the Gateway's, cut and hashed where it is too long for a Service.
    pub name: String,
    /// Ports that the Service has and the proxy listens on, in order. Empty when no listener can be served: a Service
    /// cannot be without ports, so nothing is deployed then.
    pub ports: Vec<(u16, Transport)>,
    /// Addresses that the user wants the Service to have (`spec.addresses`), IP addresses and host names, in the user's
    /// order; empty when any will do.
    pub addresses: Vec<String>,
    /// Labels that all objects get (`spec.infrastructure`).
    pub labels: BTreeMap<String, String>,
    /// Annotations that all objects get (`spec.infrastructure`).
    pub annotations: BTreeMap<String, String>,
    /// What the Gateway's parameters say, over what its class's say.
    pub parameters: GatewayParametersSpec,
}
