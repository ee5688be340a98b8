//! The Service of the proxies.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Service through which clients reach the proxies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.type) || self.type != 'ClusterIP' || (!has(self.externalTrafficPolicy) && !has(self.ports))",
        "message": "externalTrafficPolicy and ports are for the types NodePort and LoadBalancer"
    }
]))]
pub struct ServiceParameters {
    /// Type; LoadBalancer when it is not set. With the others the Gateway's address is the Service's own in the cluster.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub service_type: Option<ServiceType>,

    /// Labels beside our own, which they cannot replace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub extra_labels: BTreeMap<String, String>,

    /// Annotations beside our own, which they cannot replace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub extra_annotations: BTreeMap<String, String>,

    /// Whether a node passes connections on to proxies of other nodes. With Local it does not, and clients' addresses stay
    /// what they are. Kubernetes' default, Cluster, when it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<TrafficScope>,

    /// Ports on the nodes, for ports of listeners. Others are given one by Kubernetes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub ports: Vec<ServicePortParameters>,
}

/// Types of Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Reached within the cluster.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// Reached on a port of each node.
    NodePort,
    /// Reached on an address of its own.
    #[default]
    LoadBalancer,
}

/// Whether a node passes connections on to proxies of other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrafficScope {
    /// It does.
    Cluster,
    /// It does not.
    Local,
}

/// A port of the nodes for a port of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServicePortParameters {
    /// Port of a listener.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// Port of the nodes. A TCP and a UDP listener of one port share it.
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: u16,
}
