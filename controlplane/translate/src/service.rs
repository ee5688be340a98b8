//! Ports of Services as backends: their endpoints, and MCP servers behind them.

mod endpoints;
mod protocol;

use std::collections::BTreeSet;

use agentgateway_convert::backend::{mcp_backend, public_url, target_behind};
use agentgateway_convert::reserved::OWN_PORTS;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1::bind::Transport;
use agentgateway_proto::v1::mcp_http::Protocol;
use agentgateway_proto::v1::{self, HttpVersion};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::Name;
use crate::backend::BackendState;
use crate::backend_tls;
use crate::object::{ObjectKey, ObjectKind};
use crate::unit::{BackendUnit, Speech, items};
use crate::view::View;
use protocol::{Application, Spoken};

/// Annotation of a Service: the path of its MCP endpoint.
const MCP_PATH: &str = "kgateway.dev/mcp-path";

/// Annotation of a Service: under which scheme and authority clients reach the gateway before its agent.
const A2A_PUBLIC_URL: &str = "kgateway.dev/a2a-public-url";
/// Annotation of a Service: "true" where its agent takes several messages of one `messageId` for one.
const A2A_IDEMPOTENT: &str = "kgateway.dev/a2a-idempotent-messages";

/// Why a Service cannot be a backend: a reason for a condition, and a message.
pub(crate) type Problem = (&'static str, String);

/// What a route wants to speak with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Http,
    Grpc,
    /// Bytes; where TLS is passed on the proxy leaves it to the client, whatever a policy says.
    Tcp,
    Udp,
}

/// Whether one of the ports has an MCP server behind it.
pub(crate) fn has_mcp_port(service: &Service) -> bool {
    mcp_ports(service).next().is_some()
}

/// The ports with an MCP server behind them.
pub(crate) fn mcp_ports(service: &Service) -> impl Iterator<Item = (&ServicePort, Protocol)> {
    let protocol = |port: &ServicePort| match Spoken::of(port.app_protocol.as_deref()).application {
        Application::Mcp(protocol) => Some(protocol),
        _ => None,
    };
    ports(service).filter_map(move |port| protocol(port).map(|protocol| (port, protocol)))
}

/// The path of a Service's MCP endpoint, where its annotation says it.
pub(crate) fn mcp_path(service: &Service) -> Option<&str> {
    service.metadata.annotations.as_ref()?.get(MCP_PATH).map(String::as_str)
}

/// What the annotations of a Service say of the agent behind it.
fn a2a(service: &Service) -> Result<v1::A2a, String> {
    let annotation = |name: &str| service.metadata.annotations.as_ref().and_then(|all| all.get(name));
    let public_url = annotation(A2A_PUBLIC_URL).map(|url| public_url(url));
    let public_url = public_url.transpose().map_err(|e| format!("annotation {A2A_PUBLIC_URL}: {}", e.reason()))?;
    let idempotent_messages = match annotation(A2A_IDEMPOTENT).map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(format!("annotation {A2A_IDEMPOTENT}: {other:?} is neither true nor false")),
    };
    Ok(v1::A2a { public_url: public_url.unwrap_or_default(), idempotent_messages })
}

/// The name of a port, which policies may name as a section.
pub(crate) fn port_name(service: &Service, port: u16) -> Option<&str> {
    find_port(service, port, Transport::Tcp)?.name.as_deref().filter(|name| !name.is_empty())
}

/// Whether a port has this name.
pub(crate) fn has_port_named(service: &Service, name: &str) -> bool {
    ports(service).any(|port| port.name.as_deref() == Some(name))
}

fn ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.as_ref().and_then(|s| s.ports.as_ref()).into_iter().flatten()
}

/// The transport that a `protocol` names; `None` for another one.
fn transport(protocol: Option<&str>) -> Option<Transport> {
    match protocol {
        None | Some("" | "TCP") => Some(Transport::Tcp),
        Some("UDP") => Some(Transport::Udp),
        Some(_) => None,
    }
}

/// Two ports of one number differ in their transport.
fn find_port(service: &Service, port: u16, wanted: Transport) -> Option<&ServicePort> {
    ports(service).find(|p| p.port == i32::from(port) && transport(p.protocol.as_deref()) == Some(wanted))
}

/// The unit for a port of a Service, or why it cannot be a backend.
pub(crate) fn unit(name: &Name, port: u16, asked: Asked, view: &View<'_>) -> Result<BackendUnit, Problem> {
    let not_found = || ("BackendNotFound", format!("Service {name} does not exist"));
    let service = view.service(name).ok_or_else(not_found)?;
    let transport = if asked == Asked::Udp { Transport::Udp } else { Transport::Tcp };
    let found = usable(name, service, port, transport)?;
    let unit = |speech| Ok(BackendUnit::Port(name.clone(), port, speech));
    match asked {
        Asked::Udp => return unit(Speech::Udp),
        Asked::Tcp => return unit(Speech::Plain),
        Asked::Http | Asked::Grpc => {}
    }
    let written = found.app_protocol.as_deref();
    let spoken = Spoken::of(written);
    let unsupported = |what: &str| {
        let written = written.unwrap_or_default();
        ("UnsupportedProtocol", format!("port {port} of Service {name} has appProtocol {written}, {what}"))
    };
    if spoken.tls && !has_tls(name, found, view) {
        return Err(unsupported("but no BackendTLSPolicy says how to check its certificate"));
    }
    match (spoken.application, asked) {
        (Application::Other, _) => Err(unsupported("which is nothing that HTTP can be sent to")),
        (Application::WebSocket | Application::Mcp(_) | Application::A2a, Asked::Grpc) => {
            Err(unsupported("which is not gRPC"))
        }
        (Application::Mcp(protocol), _) => {
            let made = target_behind("", String::new(), mcp_path(service), protocol);
            made.map_err(|e| ("InvalidBackend", format!("Service {name}, annotation {MCP_PATH}: {}", e.reason())))?;
            unit(Speech::Mcp)
        }
        (Application::A2a, _) => {
            a2a(service).map_err(|reason| ("InvalidBackend", format!("Service {name}, {reason}")))?;
            unit(Speech::A2a)
        }
        (Application::Http, Asked::Grpc) => unit(Speech::Grpc),
        _ => unit(Speech::Plain),
    }
}

fn usable<'a>(name: &Name, service: &'a Service, port: u16, wanted: Transport) -> Result<&'a ServicePort, Problem> {
    if service.spec.as_ref().and_then(|s| s.type_.as_deref()) == Some("ExternalName") {
        let message =
            format!("Service {name} is an ExternalName, which may lead anywhere and is refused; use a Backend");
        return Err(("InvalidBackend", message));
    }
    let Some(found) = find_port(service, port, wanted) else {
        return Err(match ports(service).find(|p| p.port == i32::from(port)) {
            Some(other) => {
                let protocol = other.protocol.as_deref().unwrap_or("TCP");
                let message = format!("port {port} of Service {name} is {protocol}, not {}", wanted.as_str_name());
                ("UnsupportedProtocol", message)
            }
            None => ("BackendNotFound", format!("Service {name} has no port {port}")),
        });
    };
    if let Some(target) = own_port(found).filter(|_| wanted == Transport::Tcp) {
        let message = format!("port {port} of Service {name} leads to port {target}, which is the proxy's own");
        return Err(("InvalidBackend", message));
    }
    Ok(found)
}

/// Whether clients should stay in their zone (Kubernetes, `Service.spec.trafficDistribution`; `PreferClose` is the older name).
fn prefers_local(service: &Service) -> bool {
    let wanted = service.spec.as_ref().and_then(|spec| spec.traffic_distribution.as_deref());
    matches!(wanted, Some("PreferClose" | "PreferSameZone" | "PreferSameNode"))
}

fn own_port(port: &ServicePort) -> Option<u16> {
    let target = match &port.target_port {
        Some(IntOrString::Int(target)) if *target > 0 => *target,
        Some(IntOrString::String(_)) => return None,
        Some(IntOrString::Int(_)) | None => port.port,
    };
    u16::try_from(target).ok().filter(|t| OWN_PORTS.contains(t))
}

fn has_tls(name: &Name, port: &ServicePort, view: &View<'_>) -> bool {
    let target = ObjectKey { kind: ObjectKind::Service, name: name.clone() };
    backend_tls::applies(&target, port.name.as_deref(), view)
}

/// Translates a Service's port: a backend and its endpoints, or an MCP backend behind the plain one.
pub(crate) fn translate(name: &Name, port: u16, speech: Speech, view: &View<'_>) -> BackendState {
    let transport = if speech == Speech::Udp { Transport::Udp } else { Transport::Tcp };
    let service = view.service(name);
    let Some((service, found)) = service.and_then(|s| Some((s, usable(name, s, port, transport).ok()?))) else {
        return BackendState::default();
    };
    let unit = BackendUnit::Port(name.clone(), port, speech);
    let spoken = Spoken::of(found.app_protocol.as_deref());
    if speech == Speech::Mcp {
        return translate_mcp(name, service, port, spoken, &unit);
    }
    let version = match speech {
        Speech::Grpc => HttpVersion::H2c,
        Speech::Plain | Speech::A2a => spoken.version(),
        Speech::Udp | Speech::Mcp => HttpVersion::Unspecified,
    };
    let tls = matches!(speech, Speech::Plain | Speech::Grpc | Speech::A2a).then(|| {
        let target = ObjectKey { kind: ObjectKind::Service, name: name.clone() };
        backend_tls::of(&target, found.name.as_deref(), view)
    });
    let backend = v1::ServiceBackend {
        version: version.into(),
        authority: format!("{}.{}.svc.{}:{port}", name.name, name.namespace, view.settings.cluster_domain),
        prefer_local: prefers_local(service),
    };
    let backend = v1::Backend {
        key: unit.key(),
        source: Some(name.to_ref(ObjectKind::Service.kind())),
        kind: Some(v1::backend::Kind::Service(backend)),
        inline_policies: Vec::new(),
        tls: tls.flatten(),
        // Whoever uses the port was refused where an annotation is wrong.
        a2a: (speech == Speech::A2a).then(|| a2a(service).unwrap_or_default()),
    };
    let endpoints = endpoints::endpoints(name, service, found, &unit.key(), view);
    BackendState {
        items: items(endpoints.into_iter().map(Resource::Endpoint).chain([Resource::Backend(backend)])),
        ..BackendState::default()
    }
}

/// One target, behind the port as a plain backend.
fn translate_mcp(name: &Name, service: &Service, port: u16, spoken: Spoken, unit: &BackendUnit) -> BackendState {
    let Application::Mcp(protocol) = spoken.application else { return BackendState::default() };
    let plain = BackendUnit::Port(name.clone(), port, Speech::Plain);
    let Ok(target) = target_behind(&name.name, plain.key(), mcp_path(service), protocol) else {
        return BackendState::default();
    };
    let mut backend = mcp_backend(vec![target], None, None, &name.to_ref(ObjectKind::Service.kind()));
    backend.key = unit.key();
    BackendState {
        items: items([Resource::Backend(backend)]),
        children: BTreeSet::from([plain]),
        ..BackendState::default()
    }
}
