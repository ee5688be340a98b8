//! The objects that are deployed for a Gateway, as manifests. Pure.
//!
//! What parameters of the Gateway say is added to what is ours, and never in its place: labels by which objects are found,
//! the security of the pod and the proxy's own settings stay as they are.

mod image;
mod pod;
mod scaling;
mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use agentgateway_controlplane_translate::Workload;
use agentgateway_crds::parameters::{KubernetesParameters, MetadataParameters};
use serde_json::{Value, json};

/// Value of the label by which our objects are found.
pub(crate) const MANAGED_BY: &str = "agentgateway";
/// Label that holds it.
pub(crate) const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Label that names the Gateway.
pub(crate) const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// Annotation that holds the hash of the manifest that was applied.
pub(crate) const APPLIED: &str = "agentgateway.kgateway.dev/applied";
/// Name of the ConfigMap with the CA bundle, one in each namespace with a Gateway of ours.
pub(crate) const CA_CONFIG_MAP: &str = "agentgateway-xds-ca";

/// What is the same for all proxies.
#[derive(Clone, Debug)]
pub(crate) struct ProxySettings {
    /// Image.
    pub(crate) image: String,
    /// When a node pulls it.
    pub(crate) image_pull_policy: String,
    /// Where the discovery server is, as "https://host:port".
    pub(crate) xds_address: String,
    /// Log filter.
    pub(crate) log_level: String,
}

/// One manifest, ready to be applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    /// The object, with [`APPLIED`] set.
    pub(crate) object: Value,
    /// Hash of the object.
    pub(crate) hash: String,
}

impl Manifest {
    fn new(mut object: Value) -> Manifest {
        let hash =
            blake3::hash(object.to_string().as_bytes()).to_hex().as_str().get(..16).unwrap_or_default().to_owned();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.insert(APPLIED.to_owned(), json!(hash));
            }
        }
        Manifest { object, hash }
    }

    /// Its kind.
    pub(crate) fn kind(&self) -> &str {
        self.object.get("kind").and_then(Value::as_str).unwrap_or_default()
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Its namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default()
    }
}

/// All objects of a Gateway: a ServiceAccount, a Deployment or DaemonSet, a Service unless no port is open, and what its
/// parameters ask for besides.
pub(crate) fn of_workload(workload: &Workload, settings: &ProxySettings) -> Vec<Manifest> {
    let kube = workload.parameters.kube.clone().unwrap_or_default();
    let mut manifests = vec![service_account(workload, &kube)];
    manifests.push(match &kube.daemon_set {
        Some(set) => daemon_set(workload, &kube, set, settings),
        None => deployment(workload, &kube, settings),
    });
    if !workload.ports.is_empty() {
        manifests.push(service::service(workload, &kube.service.clone().unwrap_or_default()));
    }
    if let Some(autoscaler) = kube.horizontal_pod_autoscaler.as_ref().filter(|_| kube.daemon_set.is_none()) {
        manifests.push(scaling::autoscaler(workload, autoscaler));
    }
    manifests.extend(kube.pod_disruption_budget.as_ref().map(|budget| scaling::disruption_budget(workload, budget)));
    manifests.into_iter().map(Manifest::new).collect()
}

/// The ConfigMap with the CA bundle for the Gateways of a namespace, owned by all of them.
pub(crate) fn ca_config_map<'a>(
    namespace: &str,
    workloads: impl Iterator<Item = &'a Workload>,
    bundle: &str,
) -> Manifest {
    let owners: Vec<_> = workloads.filter_map(|workload| owner(workload, false)).collect();
    Manifest::new(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": CA_CONFIG_MAP,
            "namespace": namespace,
            "labels": { MANAGED_BY_LABEL: MANAGED_BY },
            "ownerReferences": owners,
        },
        "data": { "ca.crt": bundle },
    }))
}

fn service_account(workload: &Workload, kube: &KubernetesParameters) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(workload, kube.service_account.as_ref()),
        // The proxy asks the API server nothing.
        "automountServiceAccountToken": false,
    })
}

fn deployment(workload: &Workload, kube: &KubernetesParameters, settings: &ProxySettings) -> Value {
    let parameters = kube.deployment.clone().unwrap_or_default();
    let one_by_one = || json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } });
    let mut spec = json!({
        "selector": { "matchLabels": selector(workload) },
        "strategy": parameters.strategy.map_or_else(one_by_one, |strategy| json!(strategy)),
        "template": pod::template(workload, kube, settings),
    });
    // Otherwise the number of replicas is left to others, a HorizontalPodAutoscaler or the user.
    if let Some(replicas) = parameters.replicas
        && kube.horizontal_pod_autoscaler.is_none()
    {
        set(&mut spec, "replicas", replicas);
    }
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(workload, None), "spec": spec })
}

fn daemon_set(
    workload: &Workload,
    kube: &KubernetesParameters,
    parameters: &agentgateway_crds::parameters::DaemonSetParameters,
    settings: &ProxySettings,
) -> Value {
    let mut spec = json!({
        "selector": { "matchLabels": selector(workload) },
        "template": pod::template(workload, kube, settings),
    });
    if let Some(strategy) = &parameters.update_strategy {
        set(&mut spec, "updateStrategy", strategy);
    }
    json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata(workload, None), "spec": spec })
}

fn owner(workload: &Workload, controller: bool) -> Option<Value> {
    let mut owner = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "name": workload.gateway.name,
        "uid": workload.uid.as_ref()?,
    });
    if controller {
        set(&mut owner, "controller", true);
    }
    Some(owner)
}

fn selector(workload: &Workload) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), workload.name.clone()),
        ("app.kubernetes.io/instance".to_owned(), workload.name.clone()),
        // Not the Gateway's own name: that may be longer than a label may be.
        (GATEWAY_LABEL.to_owned(), workload.name.clone()),
    ])
}

/// What the Gateway's infrastructure says, then `extra`, then ours: a later one counts.
fn labels(workload: &Workload, extra: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut labels = workload.labels.clone();
    labels.extend(extra.cloned().unwrap_or_default());
    labels.extend(selector(workload));
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
    labels.insert("kgateway".to_owned(), "kube-gateway".to_owned());
    labels.insert("gateway.networking.k8s.io/gateway-class-name".to_owned(), workload.class.clone());
    labels
}

fn metadata(workload: &Workload, extra: Option<&MetadataParameters>) -> Value {
    let owners: Vec<_> = owner(workload, true).into_iter().collect();
    let mut annotations = workload.annotations.clone();
    annotations.extend(extra.map(|extra| extra.extra_annotations.clone()).unwrap_or_default());
    json!({
        "name": workload.name,
        "namespace": workload.gateway.namespace,
        "labels": labels(workload, extra.map(|extra| &extra.extra_labels)),
        "annotations": annotations,
        "ownerReferences": owners,
    })
}

/// Sets a field of an object.
fn set(object: &mut Value, field: &str, value: impl serde::Serialize) {
    if let Some(object) = object.as_object_mut() {
        object.insert(field.to_owned(), json!(value));
    }
}
