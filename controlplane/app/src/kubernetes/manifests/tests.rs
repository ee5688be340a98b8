//! Golden files: `golden/NAME/input.yaml` holds parameters, `expected.yaml` what is deployed with them.
//! `UPDATE_GOLDEN=1 cargo test -p agentgateway-controlplane` writes the expectations; review them by eye.

use std::path::Path;

use agentgateway_controlplane_translate::Name;
use agentgateway_crds::GatewayParametersSpec;
use agentgateway_proto::v1::bind::Transport;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;

use super::*;

fn workload() -> Workload {
    Workload {
        gateway: Name::new("infra", "gw"),
        uid: Some("u-1".to_owned()),
        class: "agentgateway".to_owned(),
        name: "gw".to_owned(),
        ports: vec![(53, Transport::Tcp), (53, Transport::Udp), (80, Transport::Tcp)],
        addresses: Vec::new(),
        labels: BTreeMap::from([("team".to_owned(), "a".to_owned()), (MANAGED_BY_LABEL.to_owned(), "x".to_owned())]),
        annotations: BTreeMap::from([("cost".to_owned(), "low".to_owned())]),
        parameters: GatewayParametersSpec::default(),
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

fn read<T: DeserializeOwned>(manifest: &Manifest) -> T {
    serde_json::from_value(manifest.object.clone()).unwrap_or_else(|e| panic!("{}: {e}", manifest.kind()))
}

/// As the API server would read it, which drops what it does not know: nothing must be lost.
fn check(manifest: &Manifest) {
    let read_back = match manifest.kind() {
        "ServiceAccount" => serde_json::to_value(read::<ServiceAccount>(manifest)),
        "Deployment" => serde_json::to_value(read::<Deployment>(manifest)),
        "DaemonSet" => serde_json::to_value(read::<DaemonSet>(manifest)),
        "Service" => serde_json::to_value(read::<Service>(manifest)),
        "HorizontalPodAutoscaler" => serde_json::to_value(read::<HorizontalPodAutoscaler>(manifest)),
        "PodDisruptionBudget" => serde_json::to_value(read::<PodDisruptionBudget>(manifest)),
        other => panic!("{other} is not deployed"),
    };
    assert_eq!(read_back.expect("JSON"), manifest.object, "{} has fields that its type lacks", manifest.kind());
}

#[test]
fn what_is_deployed_is_what_the_golden_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kubernetes/manifests/golden");
    let mut cases: Vec<_> = std::fs::read_dir(&folder).expect("golden").map(|e| e.expect("entry").path()).collect();
    cases.sort();
    assert!(cases.len() >= 4);
    for case in cases {
        let input = std::fs::read_to_string(case.join("input.yaml")).expect("input");
        let parameters = serde_norway::from_str(&input).unwrap_or_else(|e| panic!("{}: {e}", case.display()));
        let manifests = of_workload(&Workload { parameters, ..workload() }, &settings());
        manifests.iter().for_each(check);
        let texts = manifests.iter().map(|m| serde_norway::to_string(&m.object).expect("YAML"));
        let made = texts.collect::<Vec<_>>().join("---\n");
        let file = case.join("expected.yaml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &made).expect("write");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), made, "{}", file.display());
    }
}

#[test]
fn the_bundle_is_owned_by_the_gateways_of_its_namespace() {
    let bundle: ConfigMap = read(&ca_config_map("infra", [&workload()].into_iter(), "PEM"));
    assert_eq!(bundle.data.expect("data")["ca.crt"], "PEM");
    assert_eq!(bundle.metadata.owner_references.expect("owners")[0].uid, "u-1");
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
fn an_address_is_asked_for_where_there_is_a_load_balancer() {
    let asking = Workload { addresses: vec!["192.0.2.7".to_owned(), "192.0.2.8".to_owned()], ..workload() };
    let address = |workload: &Workload| {
        let service: Service = read(&of_workload(workload, &settings())[2]);
        service.spec.expect("spec").load_balancer_ip
    };
    assert_eq!(address(&asking).as_deref(), Some("192.0.2.7"));
    let parameters = serde_norway::from_str("kube: {service: {type: NodePort}}").expect("parameters");
    assert_eq!(address(&Workload { parameters, ..asking }), None);
    assert_eq!(address(&workload()), None);
}

#[test]
fn without_listeners_there_is_no_service() {
    let empty = Workload { ports: Vec::new(), ..workload() };
    assert!(of_workload(&empty, &settings()).iter().all(|m| m.kind() != "Service"));
}

#[test]
fn a_listener_that_comes_replaces_no_pod() {
    let more = Workload { ports: vec![(80, Transport::Tcp), (443, Transport::Tcp)], ..workload() };
    let pods = |workload: &Workload| of_workload(workload, &settings())[1].object.clone();
    assert_eq!(pods(&more)["kind"], "Deployment");
    assert_eq!(pods(&more), pods(&workload()));
}
