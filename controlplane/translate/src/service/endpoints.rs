//! The endpoints behind a port of a Service.

use std::collections::BTreeSet;

use agentgateway_convert::reserved::{OWN_PORTS, refuse_address};
use agentgateway_proto::v1::bind::Transport;
use agentgateway_proto::{key, v1};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::transport;
use crate::Name;
use crate::view::View;

/// The endpoints of a port, as endpoints of the backend `backend_key`.
pub(super) fn endpoints(
    name: &Name,
    service: &Service,
    service_port: &ServicePort,
    backend_key: &str,
    view: &View<'_>,
) -> Vec<v1::Endpoint> {
    let port_name = service_port.name.as_deref().unwrap_or_default();
    let transport = transport(service_port.protocol.as_deref());
    let slices: Vec<&EndpointSlice> = view.slices(name).collect();
    let of_family = |family: &str| -> Vec<v1::Endpoint> {
        let same = slices.iter().filter(|slice| slice.address_type == family);
        same.flat_map(|slice| of_slice(slice, (port_name, transport), backend_key, view)).collect()
    };
    // A pod of a dual-stack cluster is in the slices of both families; it is one endpoint, by its first address.
    let families = service.spec.as_ref().and_then(|s| s.ip_families.clone()).unwrap_or_default();
    let default = ["IPv4", "IPv6"].into_iter().filter(|f| !families.iter().any(|other| other == f)).map(str::to_owned);
    let families: Vec<String> = families.iter().cloned().chain(default).collect();
    let first = families.iter().map(|f| of_family(f)).find(|endpoints| !endpoints.is_empty());
    first.unwrap_or_default()
}

/// The zone that an endpoint is meant for: that of its hint, which Kubernetes gives so that each zone has its share, else its own.
/// Of several hints its own counts where it is one of them.
fn zone(endpoint: &Endpoint) -> String {
    let hinted = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_deref()).unwrap_or_default();
    let own = endpoint.zone.as_deref().unwrap_or_default();
    match hinted {
        [] => own.to_owned(),
        hinted if hinted.iter().any(|hint| hint.name == own) => own.to_owned(),
        [first, ..] => first.name.clone(),
    }
}

fn of_slice(
    slice: &EndpointSlice,
    (port_name, wanted): (&str, Option<Transport>),
    backend_key: &str,
    view: &View<'_>,
) -> Vec<v1::Endpoint> {
    let ports: BTreeSet<u16> = slice
        .ports
        .iter()
        .flatten()
        .filter(|p| p.name.as_deref().unwrap_or_default() == port_name)
        .filter(|p| transport(p.protocol.as_deref()) == wanted)
        .filter_map(|p| p.port.and_then(|port| u16::try_from(port).ok()))
        .filter(|port| wanted == Some(Transport::Udp) || !OWN_PORTS.contains(port))
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
            zone: zone(endpoint),
        }));
    }
    made
}
