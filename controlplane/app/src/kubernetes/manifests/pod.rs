//! The proxy's pod. It passes the Pod Security level `restricted`; ports below 1024 are opened by a sysctl of its own network
//! namespace.

use agentgateway_controlplane_translate::Workload;
use agentgateway_crds::parameters::{ContainerParameters, KubernetesParameters, PodParameters};
use serde_json::{Value, json};

use super::{CA_CONFIG_MAP, ProxySettings, image, labels, set};
use crate::kubernetes::tokens::AUDIENCE;

const USER: u32 = 10_101;
const READINESS_PORT: u16 = 15_021;
const METRICS_PORT: u16 = 15_020;
/// Longest time that open streams have to end before the pod is killed; the proxy's own drain is shorter.
const TERMINATION_GRACE_SECONDS: i64 = 60;
/// Where parameters set that time, the proxy's own drain is shorter by this.
const DRAIN_MARGIN_SECONDS: i64 = 5;
const SNAPSHOT_DIR: &str = "/var/run/agentgateway";
const TOKEN_DIR: &str = "/var/run/secrets/xds-token";
const CA_DIR: &str = "/var/run/secrets/xds-ca";

/// The template of a Deployment or DaemonSet.
pub(super) fn template(workload: &Workload, kube: &KubernetesParameters, settings: &ProxySettings) -> Value {
    let pod = kube.pod_template.clone().unwrap_or_default();
    let mut annotations = workload.annotations.clone();
    annotations.extend(pod.extra_annotations.clone());
    annotations.extend([
        ("prometheus.io/scrape".to_owned(), "true".to_owned()),
        ("prometheus.io/port".to_owned(), METRICS_PORT.to_string()),
        ("prometheus.io/path".to_owned(), "/metrics".to_owned()),
    ]);
    json!({
        "metadata": { "labels": labels(workload, Some(&pod.extra_labels)), "annotations": annotations },
        "spec": spec(workload, kube, &pod, settings),
    })
}

fn spec(workload: &Workload, kube: &KubernetesParameters, pod: &PodParameters, settings: &ProxySettings) -> Value {
    let mut spec = json!({
        "serviceAccountName": workload.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": pod.termination_grace_period_seconds.unwrap_or(TERMINATION_GRACE_SECONDS),
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
            "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }],
        },
        "containers": [container(workload, &kube.agentgateway.clone().unwrap_or_default(), pod, settings)],
        "volumes": [
            // In memory: it may hold keys, and it outlives the container, not the pod.
            { "name": "snapshot", "emptyDir": { "medium": "Memory", "sizeLimit": "128Mi" } },
            { "name": "xds-token", "projected": { "sources": [
                { "serviceAccountToken": { "audience": AUDIENCE, "expirationSeconds": 3600, "path": "token" } },
            ] } },
            { "name": "xds-ca", "configMap": { "name": CA_CONFIG_MAP } },
        ],
    });
    if !pod.node_selector.is_empty() {
        set(&mut spec, "nodeSelector", &pod.node_selector);
    }
    if !pod.tolerations.is_empty() {
        set(&mut spec, "tolerations", &pod.tolerations);
    }
    if let Some(affinity) = &pod.affinity {
        set(&mut spec, "affinity", affinity);
    }
    if !pod.topology_spread_constraints.is_empty() {
        set(&mut spec, "topologySpreadConstraints", &pod.topology_spread_constraints);
    }
    if let Some(class) = &pod.priority_class_name {
        set(&mut spec, "priorityClassName", class);
    }
    spec
}

fn container(
    workload: &Workload,
    parameters: &ContainerParameters,
    pod: &PodParameters,
    settings: &ProxySettings,
) -> Value {
    let image = parameters.image.clone().unwrap_or_default();
    let pull_policy = image.pull_policy.map_or_else(|| json!(settings.image_pull_policy), |policy| json!(policy));
    let defaults = || {
        json!({
            "requests": { "cpu": "100m", "memory": "64Mi" },
            "limits": { "cpu": "2", "memory": "512Mi" },
        })
    };
    // Not those of listeners, which need no mention here: a listener that comes must not replace the pods.
    let ports = json!([
        { "name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP" },
        { "name": "readiness", "containerPort": READINESS_PORT, "protocol": "TCP" },
    ]);
    let ready = json!({ "path": "/healthz/ready", "port": READINESS_PORT });
    json!({
        "name": "agent-gateway",
        "image": image::image(&settings.image, &image),
        "imagePullPolicy": pull_policy,
        "env": environment(workload, parameters, pod, settings),
        "ports": ports,
        "startupProbe": { "httpGet": ready, "periodSeconds": 1, "failureThreshold": 120 },
        "readinessProbe": { "httpGet": ready, "periodSeconds": 5, "failureThreshold": 2 },
        "resources": parameters.resources.as_ref().map_or_else(defaults, |resources| json!(resources)),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": [
            { "name": "snapshot", "mountPath": SNAPSHOT_DIR },
            { "name": "xds-token", "mountPath": TOKEN_DIR, "readOnly": true },
            { "name": "xds-ca", "mountPath": CA_DIR, "readOnly": true },
        ],
    })
}

/// The proxy's settings, and after them what parameters add. A name of ours is left out there: the API server refuses such
/// parameters, but what it was told before its schema said so must not count either.
fn environment(
    workload: &Workload,
    parameters: &ContainerParameters,
    pod: &PodParameters,
    settings: &ProxySettings,
) -> Vec<Value> {
    let value = |name: &str, value: &str| json!({ "name": name, "value": value });
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let mut environment = vec![
        value("XDS_ADDRESS", &settings.xds_address),
        value("XDS_ROOT_CA", &format!("{CA_DIR}/ca.crt")),
        value("XDS_TOKEN", &format!("{TOKEN_DIR}/token")),
        value("NAMESPACE", &workload.gateway.namespace),
        value("GATEWAY", &workload.gateway.name),
        value("SNAPSHOT_FILE", &format!("{SNAPSHOT_DIR}/snapshot")),
        value("LOG_LEVEL", parameters.log_level.as_deref().unwrap_or(&settings.log_level)),
        field("NODE_NAME", "spec.nodeName"),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_IP", "status.podIP"),
    ];
    if let Some(grace) = pod.termination_grace_period_seconds {
        let drain = grace - DRAIN_MARGIN_SECONDS.min(grace / 2);
        environment.push(value("DRAIN_TIMEOUT", &drain.to_string()));
    }
    let ours = agentgateway_crds::parameters::RESERVED_ENVIRONMENT;
    let added = parameters.env.iter().filter(|variable| !ours.contains(&variable.name.as_str()));
    environment.extend(added.map(|variable| value(&variable.name, &variable.value)));
    environment
}
