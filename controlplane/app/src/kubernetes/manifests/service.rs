//! The Service of the proxies: one for all ports of all transports, so that the Gateway has one address.

use agentgateway_controlplane_translate::Workload;
use agentgateway_crds::parameters::{MetadataParameters, ServiceParameters, ServiceType};
use agentgateway_proto::v1::bind::Transport;
use serde_json::{Value, json};

use super::{metadata, selector, set};

/// The Service.
pub(super) fn service(workload: &Workload, parameters: &ServiceParameters) -> Value {
    let service_type = parameters.service_type.unwrap_or_default();
    let reached_on_nodes = service_type != ServiceType::ClusterIp;
    let ports: Vec<_> = workload
        .ports
        .iter()
        .map(|(port, transport)| {
            let protocol = transport.as_str_name();
            let mut entry =
                json!({ "name": port_name(*port, *transport), "port": port, "targetPort": port, "protocol": protocol });
            let asked = parameters.ports.iter().find(|asked| asked.port == *port);
            if let Some(asked) = asked.filter(|_| reached_on_nodes) {
                set(&mut entry, "nodePort", asked.node_port);
            }
            entry
        })
        .collect();
    let mut spec = json!({ "type": service_type, "selector": selector(workload), "ports": ports });
    // A Service can ask for one address.
    if let Some(address) = workload.addresses.first()
        && service_type == ServiceType::LoadBalancer
    {
        set(&mut spec, "loadBalancerIP", address);
    }
    if let Some(scope) = parameters.external_traffic_policy.filter(|_| reached_on_nodes) {
        set(&mut spec, "externalTrafficPolicy", scope);
    }
    let extra = MetadataParameters {
        extra_labels: parameters.extra_labels.clone(),
        extra_annotations: parameters.extra_annotations.clone(),
    };
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata(workload, Some(&extra)), "spec": spec })
}

/// One port may be open for both transports, and names must differ.
fn port_name(port: u16, transport: Transport) -> String {
    match transport {
        Transport::Tcp => format!("port-{port}"),
        Transport::Udp => format!("udp-{port}"),
    }
}
