//! The objects that are deployed for a Gateway, as manifests. Pure.
//!
//! The pod passes the Pod Security level `restricted`; ports below 1024 are opened by a sysctl of its own network namespace.

use std::collections::BTreeMap;

use agentgateway_controlplane_translate::Workload;
use agentgateway_proto::v1::bind::Transport;
use serde_json::{Value, json};

use super::tokens::AUDIENCE;

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

const USER: u32 = 10_101;
const READINESS_PORT: u16 = 15_021;
const METRICS_PORT: u16 = 15_020;
/// Longest time that open streams have to end before the pod is killed; the proxy's own drain is shorter.
const TERMINATION_GRACE_SECONDS: u32 = 60;
const SNAPSHOT_DIR: &str = "/var/run/agentgateway";
const TOKEN_DIR: &str = "/var/run/secrets/xds-token";
const CA_DIR: &str = "/var/run/secrets/xds-ca";

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

/// ServiceAccount, Deployment and Service of a Gateway. Without a port there is no Service.
pub(crate) fn of_workload(workload: &Workload, settings: &ProxySettings) -> Vec<Manifest> {
    let mut manifests = vec![Manifest::new(service_account(workload)), Manifest::new(deployment(workload, settings))];
    if !workload.ports.is_empty() {
        manifests.push(Manifest::new(service(workload)));
    }
    manifests
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

fn owner(workload: &Workload, controller: bool) -> Option<Value> {
    let mut owner = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "name": workload.gateway.name,
        "uid": workload.uid.as_ref()?,
    });
    if controller && let Some(owner) = owner.as_object_mut() {
        owner.insert("controller".to_owned(), json!(true));
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

fn labels(workload: &Workload) -> BTreeMap<String, String> {
    let mut labels = workload.labels.clone();
    labels.extend(selector(workload));
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
    labels.insert("kgateway".to_owned(), "kube-gateway".to_owned());
    labels.insert("gateway.networking.k8s.io/gateway-class-name".to_owned(), workload.class.clone());
    labels
}

fn metadata(workload: &Workload) -> Value {
    let owners: Vec<_> = owner(workload, true).into_iter().collect();
    json!({
        "name": workload.name,
        "namespace": workload.gateway.namespace,
        "labels": labels(workload),
        "annotations": workload.annotations,
        "ownerReferences": owners,
    })
}

fn service_account(workload: &Workload) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(workload),
        // The proxy asks the API server nothing.
        "automountServiceAccountToken": false,
    })
}

fn service(workload: &Workload) -> Value {
    let ports: Vec<_> = workload
        .ports
        .iter()
        .map(|(port, transport)| {
            let protocol = transport.as_str_name();
            json!({ "name": port_name(*port, *transport), "port": port, "targetPort": port, "protocol": protocol })
        })
        .collect();
    let mut spec = json!({ "type": "LoadBalancer", "selector": selector(workload), "ports": ports });
    // A Service can ask for one address.
    if let (Some(address), Some(spec)) = (workload.addresses.first(), spec.as_object_mut()) {
        spec.insert("loadBalancerIP".to_owned(), json!(address));
    }
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata(workload), "spec": spec })
}

/// A port may be open for both transports, and names must differ.
fn port_name(port: u16, transport: Transport) -> String {
    match transport {
        Transport::Tcp => format!("port-{port}"),
        Transport::Udp => format!("udp-{port}"),
    }
}

fn deployment(workload: &Workload, settings: &ProxySettings) -> Value {
    let mut annotations = workload.annotations.clone();
    annotations.extend([
        ("prometheus.io/scrape".to_owned(), "true".to_owned()),
        ("prometheus.io/port".to_owned(), METRICS_PORT.to_string()),
        ("prometheus.io/path".to_owned(), "/metrics".to_owned()),
    ]);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(workload),
        // The number of replicas is left to others, a HorizontalPodAutoscaler or the user.
        "spec": {
            "selector": { "matchLabels": selector(workload) },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
            "template": {
                "metadata": { "labels": labels(workload), "annotations": annotations },
                "spec": pod(workload, settings),
            },
        },
    })
}

fn pod(workload: &Workload, settings: &ProxySettings) -> Value {
    json!({
        "serviceAccountName": workload.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
            "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }],
        },
        "containers": [container(workload, settings)],
        "volumes": [
            // In memory: it may hold keys, and it outlives the container, not the pod.
            { "name": "snapshot", "emptyDir": { "medium": "Memory", "sizeLimit": "128Mi" } },
            { "name": "xds-token", "projected": { "sources": [
                { "serviceAccountToken": { "audience": AUDIENCE, "expirationSeconds": 3600, "path": "token" } },
            ] } },
            { "name": "xds-ca", "configMap": { "name": CA_CONFIG_MAP } },
        ],
    })
}

fn container(workload: &Workload, settings: &ProxySettings) -> Value {
    let value = |name: &str, value: &str| json!({ "name": name, "value": value });
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let mut ports: Vec<_> = workload
        .ports
        .iter()
        .map(|(port, transport)| {
            let protocol = transport.as_str_name();
            json!({ "name": port_name(*port, *transport), "containerPort": port, "protocol": protocol })
        })
        .collect();
    ports.push(json!({ "name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP" }));
    ports.push(json!({ "name": "readiness", "containerPort": READINESS_PORT, "protocol": "TCP" }));
    let ready = json!({ "path": "/healthz/ready", "port": READINESS_PORT });
    json!({
        "name": "agent-gateway",
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": [
            value("XDS_ADDRESS", &settings.xds_address),
            value("XDS_ROOT_CA", &format!("{CA_DIR}/ca.crt")),
            value("XDS_TOKEN", &format!("{TOKEN_DIR}/token")),
            value("NAMESPACE", &workload.gateway.namespace),
            value("GATEWAY", &workload.gateway.name),
            value("SNAPSHOT_FILE", &format!("{SNAPSHOT_DIR}/snapshot")),
            value("LOG_LEVEL", &settings.log_level),
            field("NODE_NAME", "spec.nodeName"),
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("POD_IP", "status.podIP"),
        ],
        "ports": ports,
        "startupProbe": { "httpGet": ready, "periodSeconds": 1, "failureThreshold": 120 },
        "readinessProbe": { "httpGet": ready, "periodSeconds": 5, "failureThreshold": 2 },
        "resources": {
            "requests": { "cpu": "100m", "memory": "64Mi" },
            "limits": { "cpu": "2", "memory": "512Mi" },
        },
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

#[cfg(test)]
mod tests {
    use super::*;
    use agentgateway_controlplane_translate::Name;

    fn workload() -> Workload {
        Workload {
            gateway: Name::new("infra", "gw"),
            uid: Some("u-1".to_owned()),
            class: "agentgateway".to_owned(),
            name: "gw".to_owned(),
            ports: vec![(80, Transport::Tcp), (8080, Transport::Tcp)],
            addresses: Vec::new(),
            labels: BTreeMap::from([
                ("team".to_owned(), "a".to_owned()),
                (MANAGED_BY_LABEL.to_owned(), "x".to_owned()),
            ]),
            annotations: BTreeMap::new(),
        }
    }

    fn settings() -> ProxySettings {
        ProxySettings {
            image: "agentgateway:1".to_owned(),
            image_pull_policy: "IfNotPresent".to_owned(),
            xds_address: "https://cp.system.svc.cluster.local:9978".to_owned(),
            log_level: "info".to_owned(),
        }
    }

    #[test]
    fn manifests_fit_the_types_of_kubernetes_and_name_their_owner() {
        use k8s_openapi::api::{
            apps::v1::Deployment, core::v1::ConfigMap, core::v1::Service, core::v1::ServiceAccount,
        };
        let manifests = of_workload(&workload(), &settings());
        let [account, deployment, service] = manifests.as_slice() else { panic!("three manifests") };
        let account: ServiceAccount = serde_json::from_value(account.object.clone()).expect("ServiceAccount");
        let deployment: Deployment = serde_json::from_value(deployment.object.clone()).expect("Deployment");
        let service: Service = serde_json::from_value(service.object.clone()).expect("Service");
        for metadata in [&account.metadata, &deployment.metadata, &service.metadata] {
            assert_eq!(metadata.owner_references.as_ref().expect("owned")[0].uid, "u-1");
            let labels = metadata.labels.as_ref().expect("labels");
            assert_eq!(labels["team"], "a");
            assert_eq!(labels[MANAGED_BY_LABEL], MANAGED_BY, "the user's labels do not hide our objects from us");
        }
        let ports: Vec<_> = service.spec.expect("spec").ports.expect("ports").iter().map(|p| p.port).collect();
        assert_eq!(ports, [80, 8080]);
        let template = deployment.spec.expect("spec").template;
        let pod = template.spec.expect("pod");
        assert_eq!(pod.service_account_name.as_deref(), Some("gw"));
        assert_eq!(pod.containers[0].ports.as_ref().expect("ports").len(), 4);

        let bundle = ca_config_map("infra", [&workload()].into_iter(), "PEM");
        let bundle: ConfigMap = serde_json::from_value(bundle.object).expect("ConfigMap");
        assert_eq!(bundle.data.expect("data")["ca.crt"], "PEM");
    }

    #[test]
    fn the_hash_tells_changes() {
        let one = of_workload(&workload(), &settings());
        assert_eq!(one, of_workload(&workload(), &settings()));
        let mut other = settings();
        other.image = "agentgateway:2".to_owned();
        let two = of_workload(&workload(), &other);
        assert_eq!(one[0].hash, two[0].hash);
        assert_ne!(one[1].hash, two[1].hash);
    }

    #[test]
    fn without_listeners_there_is_no_service() {
        let empty = Workload { ports: Vec::new(), ..workload() };
        assert!(of_workload(&empty, &settings()).iter().all(|m| m.kind() != "Service"));
    }
}
