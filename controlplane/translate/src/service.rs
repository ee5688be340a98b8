//! Ports of Services as backends: their endpoints, and MCP servers behind them.

use std::collections::BTreeSet;

use agentgateway_convert::backend::{http_version, mcp_backend, target_behind};
use agentgateway_convert::reserved::{OWN_PORTS, refuse_address};
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1::mcp_http::Protocol;
use agentgateway_proto::{key, v1};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::Name;
use crate::backend::BackendState;
use crate::object::ObjectKind;
use crate::unit::{BackendUnit, items};
use crate::view::View;

const MCP: &str = "kgateway.dev/mcp";
const MCP_SSE: &str = "kgateway.dev/mcp-sse";
/// Annotation of a Service: the path of its MCP endpoint.
const MCP_PATH: &str = "kgateway.dev/mcp-path";
/// The protocols that would need TLS towards the backend.
const UNSUPPORTED: [&str; 3] = ["https", "kubernetes.io/wss", "tls"];

/// Why a Service cannot be a backend: a reason for a condition, and a message.
pub(crate) type Problem = (&'static str, String);

/// What speaks behind a port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http,
    Mcp(Protocol),
}

/// Whether one of the ports has an MCP server behind it.
pub(crate) fn has_mcp_port(service: &Service) -> bool {
    mcp_ports(service).next().is_some()
}

/// The ports with an MCP server behind them.
pub(crate) fn mcp_ports(service: &Service) -> impl Iterator<Item = (&ServicePort, Protocol)> {
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_ref()).into_iter().flatten();
    ports.filter_map(|port| mcp_protocol(port).map(|protocol| (port, protocol)))
}

/// The path of a Service's MCP endpoint, where its annotation says it.
pub(crate) fn mcp_path(service: &Service) -> Option<&str> {
    service.metadata.annotations.as_ref()?.get(MCP_PATH).map(String::as_str)
}

fn mcp_protocol(port: &ServicePort) -> Option<Protocol> {
    match port.app_protocol.as_deref() {
        Some(MCP) => Some(Protocol::StreamableHttp),
        Some(MCP_SSE) => Some(Protocol::Sse),
        _ => None,
    }
}

/// The unit for a port of a Service, or why it cannot be a backend.
pub(crate) fn unit(name: &Name, port: u16, view: &View<'_>) -> Result<BackendUnit, Problem> {
    let not_found = |message: String| ("BackendNotFound", message);
    let service = view.service(name).ok_or_else(|| not_found(format!("Service {name} does not exist")))?;
    match usable(name, service, port)? {
        Speaks::Http => Ok(BackendUnit::ServicePort(name.clone(), port)),
        Speaks::Mcp(protocol) => {
            let made = target_behind("", String::new(), mcp_path(service), protocol);
            made.map_err(|e| ("InvalidBackend", format!("Service {name}, annotation {MCP_PATH}: {}", e.reason())))?;
            Ok(BackendUnit::ServiceMcp(name.clone(), port))
        }
    }
}

fn usable(name: &Name, service: &Service, port: u16) -> Result<Speaks, Problem> {
    let spec = service.spec.as_ref();
    if spec.and_then(|s| s.type_.as_deref()) == Some("ExternalName") {
        let message =
            format!("Service {name} is an ExternalName, which may lead anywhere and is refused; use a Backend");
        return Err(("InvalidBackend", message));
    }
    let found = find_port(service, port);
    let found = found.ok_or_else(|| ("BackendNotFound", format!("Service {name} has no port {port}")))?;
    if found.protocol.as_deref().is_some_and(|p| p != "TCP") {
        let protocol = found.protocol.as_deref().unwrap_or_default();
        return Err(("UnsupportedProtocol", format!("port {port} of Service {name} is {protocol}, not TCP")));
    }
    if let Some(protocol) = found.app_protocol.as_deref().filter(|p| UNSUPPORTED.contains(p)) {
        let message = format!("port {port} of Service {name} has appProtocol {protocol}, which is not supported");
        return Err(("UnsupportedProtocol", message));
    }
    if let Some(target) = own_port(found) {
        let message = format!("port {port} of Service {name} leads to port {target}, which is the proxy's own");
        return Err(("InvalidBackend", message));
    }
    Ok(mcp_protocol(found).map_or(Speaks::Http, Speaks::Mcp))
}

fn own_port(port: &ServicePort) -> Option<u16> {
    let target = match &port.target_port {
        Some(IntOrString::Int(target)) if *target > 0 => *target,
        Some(IntOrString::String(_)) => return None,
        Some(IntOrString::Int(_)) | None => port.port,
    };
    u16::try_from(target).ok().filter(|t| OWN_PORTS.contains(t))
}

fn find_port(service: &Service, port: u16) -> Option<&ServicePort> {
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_ref()).into_iter().flatten();
    // Two ports of one number differ in their transport; only TCP can be meant.
    let same: Vec<_> = ports.filter(|p| p.port == i32::from(port)).collect();
    let tcp = same.iter().find(|p| p.protocol.as_deref().is_none_or(|p| p == "TCP"));
    tcp.or_else(|| same.first()).copied()
}

/// Key of a Service's port as a backend.
pub(crate) fn backend_key(name: &Name, port: u16) -> String {
    key::backend_section(&name.to_ref(ObjectKind::Service.kind()), &port.to_string())
}

/// Key of the MCP backend that a Service's port is by itself.
pub(crate) fn mcp_backend_key(name: &Name, port: u16) -> String {
    key::backend_section(&name.to_ref(ObjectKind::Service.kind()), &format!("{port}/mcp"))
}

/// Translates a Service's port: a backend and its endpoints.
pub(crate) fn translate_port(name: &Name, port: u16, view: &View<'_>) -> BackendState {
    let Some(service) = view.service(name).filter(|s| usable(name, s, port).is_ok()) else {
        return BackendState::default();
    };
    let Some(service_port) = find_port(service, port) else { return BackendState::default() };
    let backend_key = backend_key(name, port);
    let backend = v1::ServiceBackend {
        version: http_version(service_port.app_protocol.as_deref()).into(),
        authority: format!("{}.{}.svc.{}:{port}", name.name, name.namespace, view.settings.cluster_domain),
    };
    let backend = v1::Backend {
        key: backend_key.clone(),
        source: Some(name.to_ref(ObjectKind::Service.kind())),
        kind: Some(v1::backend::Kind::Service(backend)),
        ..v1::Backend::default()
    };
    let endpoints = endpoints(name, service, service_port, &backend_key, view).map(Resource::Endpoint);
    BackendState {
        items: items(std::iter::once(Resource::Backend(backend)).chain(endpoints)),
        ..BackendState::default()
    }
}

fn endpoints(
    name: &Name,
    service: &Service,
    service_port: &ServicePort,
    backend_key: &str,
    view: &View<'_>,
) -> impl Iterator<Item = v1::Endpoint> {
    let port_name = service_port.name.as_deref().unwrap_or_default();
    let slices: Vec<&EndpointSlice> = view.slices(name).collect();
    let of_family = |family: &str| -> Vec<v1::Endpoint> {
        let same = slices.iter().filter(|slice| slice.address_type == family);
        same.flat_map(|slice| of_slice(slice, port_name, backend_key, view)).collect()
    };
    // A pod of a dual-stack cluster is in the slices of both families; it is one endpoint, by its first address.
    let families = service.spec.as_ref().and_then(|s| s.ip_families.clone()).unwrap_or_default();
    let default = ["IPv4", "IPv6"].into_iter().filter(|f| !families.iter().any(|other| other == f)).map(str::to_owned);
    let families: Vec<String> = families.iter().cloned().chain(default).collect();
    let first = families.iter().map(|f| of_family(f)).find(|endpoints| !endpoints.is_empty());
    first.unwrap_or_default().into_iter()
}

fn of_slice(slice: &EndpointSlice, port_name: &str, backend_key: &str, view: &View<'_>) -> Vec<v1::Endpoint> {
    let ports: BTreeSet<u16> = slice
        .ports
        .iter()
        .flatten()
        .filter(|p| p.name.as_deref().unwrap_or_default() == port_name)
        .filter(|p| p.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
        .filter_map(|p| p.port.and_then(|port| u16::try_from(port).ok()))
        .filter(|port| !OWN_PORTS.contains(port))
        .collect();
    let ready =
        slice.endpoints.iter().flatten().filter(|e| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true));
    let allowed = view.settings.allowed;
    let mut made = Vec::new();
    for endpoint in ready {
        // Kubernetes: further addresses are of no defined meaning.
        let Some(address) = endpoint.addresses.first().and_then(|a| a.parse::<std::net::IpAddr>().ok()) else {
            continue;
        };
        if refuse_address(address, allowed).is_some() {
            continue;
        }
        made.extend(ports.iter().map(|port| v1::Endpoint {
            key: key::endpoint(backend_key, &address.to_string(), u32::from(*port)),
            backend_key: backend_key.to_owned(),
            address: address.to_string(),
            port: u32::from(*port),
            cluster: view.settings.cluster.clone(),
            network: String::new(),
            region: String::new(),
            zone: endpoint.zone.clone().unwrap_or_default(),
        }));
    }
    made
}

/// Translates a Service's port that is an MCP backend by itself: one target, behind the port as a plain backend.
pub(crate) fn translate_mcp(name: &Name, port: u16, view: &View<'_>) -> BackendState {
    let Some(service) = view.service(name) else { return BackendState::default() };
    let Ok(Speaks::Mcp(protocol)) = usable(name, service, port) else { return BackendState::default() };
    let Ok(target) = target_behind(&name.name, backend_key(name, port), mcp_path(service), protocol) else {
        return BackendState::default();
    };
    let source = name.to_ref(ObjectKind::Service.kind());
    let mut backend = mcp_backend(vec![target], &source);
    backend.key = mcp_backend_key(name, port);
    BackendState {
        items: items([Resource::Backend(backend)]),
        children: BTreeSet::from([BackendUnit::ServicePort(name.clone(), port)]),
        ..BackendState::default()
    }
}
