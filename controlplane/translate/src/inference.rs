//! InferencePools: the pods that their selectors find as endpoints, behind the proxy's own picker or the one that they name.

use std::collections::BTreeSet;

use agentgateway_convert::inference::{ENDPOINTS, inference_pool};
use agentgateway_convert::reserved::{OWN_PORTS, refuse_address};
use agentgateway_crds::{
    EndpointPickerRef, GATEWAY_GROUP, InferencePool, InferencePoolStatus, PoolParentRef, PoolParentStatus,
};
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1::inference_metrics::Engine;
use agentgateway_proto::{key, v1};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::Name;
use crate::backend::BackendState;
use crate::conditions::{Moment, Verdict, merge};
use crate::object::ObjectKind;
use crate::service::{self, Asked};
use crate::unit::{BackendUnit, items};
use crate::view::View;

/// Most ports of a pod.
const MOST_PORTS: usize = 8;
/// Most entries in a pool's status.
const MOST_PARENTS: usize = 32;
const OURS: [&str; 2] = ["Accepted", "ResolvedRefs"];
/// Labels of pods that name their engine, the newer first.
const ENGINE_LABELS: [&str; 2] = ["llm-d.ai/engine-type", "inference.networking.k8s.io/engine-type"];

/// Translates an InferencePool.
pub(crate) fn translate(name: &Name, pool: &InferencePool, view: &View<'_>) -> BackendState {
    translate_valid(name, pool, view)
        .unwrap_or_else(|refused| BackendState { refused: Some(refused), ..BackendState::default() })
}

fn translate_valid(name: &Name, pool: &InferencePool, view: &View<'_>) -> Result<BackendState, String> {
    let spec = &pool.spec;
    let version = match spec.app_protocol.as_deref() {
        None | Some("http") => v1::HttpVersion::Unspecified,
        Some("kubernetes.io/h2c") => v1::HttpVersion::H2c,
        Some(other) => return Err(format!("spec.appProtocol: {other:?} is neither http nor kubernetes.io/h2c")),
    };
    if spec.selector.match_labels.is_empty() {
        return Err("spec.selector.matchLabels: must be set".to_owned());
    }
    let ports = ports(pool)?;
    let source = name.to_ref(ObjectKind::InferencePool.kind());
    let backend_key = key::backend_section(&source, ENDPOINTS);
    let pods: Vec<&Pod> = view.pods(&name.namespace, &spec.selector.match_labels).filter(|pod| is_ready(pod)).collect();
    let endpoints = pods.iter().flat_map(|pod| endpoints(pod, &ports, &backend_key, view));
    let first = ports.iter().next().copied().unwrap_or_default();
    let hosts = v1::Backend {
        key: backend_key.clone(),
        source: Some(source.clone()),
        kind: Some(v1::backend::Kind::Service(v1::ServiceBackend {
            version: version.into(),
            authority: format!("{}.{}:{first}", name.name, name.namespace),
            prefer_local: false,
        })),
        ..v1::Backend::default()
    };
    let metrics = v1::InferenceMetrics { engine: engine(&pods)?.into(), ..v1::InferenceMetrics::default() };
    let mut state = BackendState { http2: version == v1::HttpVersion::H2c, ..BackendState::default() };
    let external_picker = match &spec.endpoint_picker_ref {
        None => None,
        Some(reference) => {
            let unit = picker(&name.namespace, reference, view);
            let backend_key = unit.as_ref().map(BackendUnit::key).unwrap_or_default();
            match unit {
                Ok(unit) => drop(state.children.insert(unit)),
                Err(reason) => state.unresolved = Some(format!("spec.endpointPickerRef: {reason}")),
            }
            let fail_open = match reference.failure_mode.as_deref() {
                None | Some("FailClose") => false,
                Some("FailOpen") => true,
                Some(other) => {
                    return Err(format!(
                        "spec.endpointPickerRef.failureMode: {other:?} is neither FailClose nor FailOpen"
                    ));
                }
            };
            Some(v1::inference_backend::ExternalPicker { backend_key, fail_open })
        }
    };
    let made = v1::InferenceBackend {
        backend_key: backend_key.clone(),
        metrics: Some(metrics),
        external_picker,
        ..v1::InferenceBackend::default()
    };
    let resources = endpoints.map(Resource::Endpoint);
    let backends = [Resource::Backend(hosts), Resource::Backend(inference_pool(made, &source))];
    state.items = items(resources.chain(backends));
    Ok(state)
}

/// The service that chooses, or why it cannot be asked.
fn picker(namespace: &str, reference: &EndpointPickerRef, view: &View<'_>) -> Result<BackendUnit, String> {
    let (group, kind) = (reference.group.as_deref().unwrap_or_default(), reference.kind.as_deref());
    match kind.unwrap_or("Service") {
        "Service" if group.is_empty() => {}
        kind => {
            let group = if group.is_empty() { "core" } else { group };
            return Err(format!("{kind} of group {group} cannot be asked, only a Service can"));
        }
    }
    let port = reference.port.as_ref().ok_or("port: must be set for a Service")?.number;
    let port = u16::try_from(port).ok().filter(|port| *port > 0).ok_or_else(|| format!("port {port} is none"))?;
    service::unit(&Name::new(namespace, &reference.name), port, Asked::Grpc, view).map_err(|(_, message)| message)
}

fn ports(pool: &InferencePool) -> Result<BTreeSet<u16>, String> {
    let written = &pool.spec.target_ports;
    let mut ports = BTreeSet::new();
    for (i, port) in written.iter().enumerate() {
        let number = u16::try_from(port.number).ok().filter(|port| *port > 0);
        let number = number.ok_or_else(|| format!("spec.targetPorts[{i}].number: {} is no port", port.number))?;
        if OWN_PORTS.contains(&number) {
            return Err(format!("spec.targetPorts[{i}].number: {number} is a port of the proxy itself"));
        }
        ports.insert(number);
    }
    match written.len() {
        1..=MOST_PORTS => Ok(ports),
        _ => Err(format!("spec.targetPorts: there must be 1 to {MOST_PORTS}")),
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let is_ready = conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True");
    is_ready && pod.metadata.deletion_timestamp.is_none()
}

fn endpoints(
    pod: &Pod,
    ports: &BTreeSet<u16>,
    backend_key: &str,
    view: &View<'_>,
) -> impl Iterator<Item = v1::Endpoint> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()).and_then(|ip| ip.parse().ok());
    let address =
        address.filter(|address: &std::net::IpAddr| refuse_address(*address, view.settings.allowed).is_none());
    let endpoint = move |address: std::net::IpAddr, port: u16| v1::Endpoint {
        key: key::endpoint(backend_key, &address.to_string(), port.into()),
        backend_key: backend_key.to_owned(),
        address: address.to_string(),
        port: port.into(),
        cluster: view.settings.cluster.clone(),
        ..v1::Endpoint::default()
    };
    address.into_iter().flat_map(move |address| ports.iter().map(move |port| endpoint(address, *port)))
}

/// The engine that the labels of the pods name; vLLM where they name none.
fn engine(pods: &[&Pod]) -> Result<Engine, String> {
    let named = |pod: &&Pod| {
        let labels = pod.metadata.labels.as_ref()?;
        ENGINE_LABELS.iter().find_map(|label| labels.get(*label)).cloned()
    };
    let names: BTreeSet<String> = pods.iter().filter_map(named).collect();
    let mut names = names.into_iter();
    match (names.next().as_deref(), names.next()) {
        (None | Some("vllm"), None) => Ok(Engine::Vllm),
        (Some("sglang"), None) => Ok(Engine::Sglang),
        (Some("triton-tensorrt-llm"), None) => Ok(Engine::TritonTensorrtLlm),
        (Some("trtllm-serve"), None) => Ok(Engine::TrtllmServe),
        (Some(other), None) => Err(format!("its pods are labelled as of engine {other:?}, which is not known here")),
        (first, Some(second)) => {
            Err(format!("its pods are of several engines, {} and {second}", first.unwrap_or_default()))
        }
    }
}

/// The status of an InferencePool that holds `held`: an entry for each of `gateways`, which use it; those of others as they are.
pub(crate) fn status(
    held: &InferencePoolStatus,
    state: Option<&BackendState>,
    unreadable: Option<&str>,
    gateways: impl Iterator<Item = Name>,
    controller: &str,
    given: Option<&InferencePoolStatus>,
    at: Moment<'_>,
) -> InferencePoolStatus {
    let refused = unreadable.or(state.and_then(|state| state.refused.as_deref()));
    let verdicts = match refused {
        Some(reason) => [
            Verdict::no("Accepted", "NotSupportedByParent", reason),
            Verdict::no("ResolvedRefs", "InvalidExtensionRef", reason),
        ],
        None => [
            Verdict::yes("Accepted", "Accepted", "the pool is in use"),
            match state.and_then(|state| state.unresolved.as_deref()) {
                Some(reason) => Verdict::no("ResolvedRefs", "InvalidExtensionRef", reason),
                None => Verdict::yes("ResolvedRefs", "ResolvedRefs", "all references are resolved"),
            },
        ],
    };
    let is_ours = |entry: &&PoolParentStatus| entry.controller_name.as_deref() == Some(controller);
    let conditions = |status: &InferencePoolStatus, parent: &PoolParentRef| -> Vec<Condition> {
        let entry = status.parents.iter().filter(is_ours).find(|entry| same_parent(&entry.parent_ref, parent));
        entry.map(|entry| entry.conditions.clone()).unwrap_or_default()
    };
    let entry = |gateway: Name| {
        let parent_ref = PoolParentRef {
            group: Some(GATEWAY_GROUP.to_owned()),
            kind: Some("Gateway".to_owned()),
            namespace: Some(gateway.namespace),
            name: gateway.name,
        };
        let given = given.map(|given| conditions(given, &parent_ref)).unwrap_or_default();
        PoolParentStatus {
            conditions: merge(&conditions(held, &parent_ref), &given, &verdicts, &OURS, at),
            controller_name: Some(controller.to_owned()),
            parent_ref,
        }
    };
    let others = held.parents.iter().filter(|entry| !is_ours(entry)).cloned();
    InferencePoolStatus { parents: others.chain(gateways.map(entry)).take(MOST_PARENTS).collect() }
}

fn same_parent(a: &PoolParentRef, b: &PoolParentRef) -> bool {
    (&a.namespace, &a.name) == (&b.namespace, &b.name)
}
