//! `GatewayParameters`: how the proxies of a Gateway are deployed, beyond what Gateway API says itself.
//!
//! Its author may be less trusted than the control plane that acts on it. So it is a list of what is allowed, not a patch
//! on the objects: nothing here adds volumes, accounts, credentials or privileges to a pod.

mod container;
mod pod;
mod scaling;
mod service;

use std::collections::BTreeMap;

use agentgateway_types::policy::BindLimits;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use container::{
    ContainerParameters, EnvVar, ImageParameters, PullPolicy, Quantity, RESERVED_ENVIRONMENT, ResourceParameters,
};
pub use pod::PodParameters;
pub use scaling::{AutoscalerParameters, DisruptionParameters};
pub use service::{ServiceParameters, ServicePortParameters, ServiceType, TrafficScope};

/// How the proxies of a Gateway are deployed. A Gateway names it in spec.infrastructure.parametersRef, a GatewayClass in
/// spec.parametersRef; where both do, each field that the Gateway's sets counts, and for the others the class's.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "gateway.kgateway.dev",
    version = "v1alpha1",
    kind = "GatewayParameters",
    plural = "gatewayparameters",
    shortname = "gwp",
    category = "kgateway",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Replicas", "type": "integer", "jsonPath": ".spec.kube.deployment.replicas", "description": "Number of proxies, where it is fixed"}"#,
    printcolumn = r#"{"name": "Service", "type": "string", "jsonPath": ".spec.kube.service.type", "description": "Type of the Service"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayParametersSpec {
    /// What is deployed, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube: Option<KubernetesParameters>,

    /// Whether connections begin with a PROXY protocol header, which tells the client's address when a load balancer hides
    /// it. Off when it is not set. With Optional, whoever can reach the ports can claim any address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,

    /// What each proxy takes on each of its ports before it refuses connections and requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BindLimits>,
}

/// Whether connections begin with a PROXY protocol header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProxyProtocol {
    /// The first bytes are the client's.
    #[default]
    Off,
    /// A connection without the header is closed.
    Required,
    /// A connection without the header is served as it is.
    Optional,
}

/// The objects that are deployed for a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.daemonSet) || !has(self.deployment) && !has(self.horizontalPodAutoscaler)",
        "message": "a daemonSet has one proxy a node; deployment and horizontalPodAutoscaler must not be set beside it"
    },
    {
        "rule": "!has(self.horizontalPodAutoscaler) || !has(self.deployment) || !has(self.deployment.replicas)",
        "message": "deployment.replicas must not be set beside horizontalPodAutoscaler, which sets it"
    }
]))]
pub struct KubernetesParameters {
    /// The proxies as a Deployment, as they are without any parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentParameters>,

    /// The proxies as a DaemonSet, one on each node that the pod template allows, instead of a Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon_set: Option<DaemonSetParameters>,

    /// The container of the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agentgateway: Option<ContainerParameters>,

    /// The pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodParameters>,

    /// The Service through which clients reach the proxies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceParameters>,

    /// The ServiceAccount of the proxies, which may do nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<MetadataParameters>,

    /// Sets the number of proxies by their load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizontal_pod_autoscaler: Option<AutoscalerParameters>,

    /// How many proxies may be away on purpose at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<DisruptionParameters>,
}

/// A Deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentParameters {
    /// Number of proxies. Unset it is left to whoever scales the Deployment, and is 1 at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,

    /// How pods are replaced by new ones; one new one at a time before an old one goes, when it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<k8s_openapi::api::apps::v1::DeploymentStrategy>,
}

/// A DaemonSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DaemonSetParameters {
    /// How pods are replaced by new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<k8s_openapi::api::apps::v1::DaemonSetUpdateStrategy>,
}

/// Labels and annotations beside our own, which they cannot replace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetadataParameters {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub extra_labels: BTreeMap<String, String>,

    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub extra_annotations: BTreeMap<String, String>,
}
