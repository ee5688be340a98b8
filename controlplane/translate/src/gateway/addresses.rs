//! The addresses that a Gateway asks for, and those that its Service has.

use gateway_api::apis::experimental::gateways::{Gateway, GatewayAddresses, GatewayStatusAddresses};
use k8s_openapi::api::core::v1::Service;

use super::tls::Why;
use crate::hostname;

const MOST_ADDRESSES: usize = 16;
const IP: &str = "IPAddress";
const HOSTNAME: &str = "Hostname";

fn kind(address: &GatewayAddresses) -> &str {
    address.r#type.as_deref().unwrap_or(IP)
}

/// Why an address cannot be asked for at all.
pub(super) fn refuse(gateway: &Gateway) -> Option<Why> {
    let problem = |address: &GatewayAddresses| {
        let value = address.value.as_deref().unwrap_or_default();
        match kind(address) {
            IP if value.is_empty() || value.parse::<std::net::IpAddr>().is_ok() => None,
            IP => Some(format!("{value:?} is not an IP address")),
            HOSTNAME if value.is_empty() || hostname::valid(&value.to_ascii_lowercase()) => None,
            HOSTNAME => Some(format!("{value:?} is not a host name")),
            other => Some(format!("type {other} is not supported, {IP} and {HOSTNAME} are")),
        }
    };
    let mut wrong = gateway.spec.addresses.iter().flatten().enumerate();
    wrong.find_map(|(i, a)| problem(a).map(|p| ("UnsupportedAddress", format!("spec.addresses[{i}]: {p}"))))
}

/// The addresses that the user names.
pub(super) fn wanted(gateway: &Gateway) -> Vec<String> {
    let values = gateway.spec.addresses.iter().flatten().filter_map(|a| a.value.clone());
    values.filter(|value| !value.is_empty()).collect()
}

/// The addresses that the Service of a Gateway has: those that a load balancer gave it, or where parameters ask for none,
/// those that it has in the cluster.
pub(super) fn assigned(service: Option<&Service>) -> Vec<GatewayStatusAddresses> {
    let spec = service.and_then(|s| s.spec.as_ref());
    if let Some(spec) = spec.filter(|spec| matches!(spec.type_.as_deref(), Some("ClusterIP" | "NodePort"))) {
        let own = spec.cluster_ips.iter().flatten().filter(|ip| ip.parse::<std::net::IpAddr>().is_ok());
        return own.map(|ip| GatewayStatusAddresses { r#type: Some(IP.into()), value: ip.clone() }).collect();
    }
    let balancer = service.and_then(|s| s.status.as_ref()).and_then(|s| s.load_balancer.as_ref());
    let address = |kind: &str, value: &str| GatewayStatusAddresses { r#type: Some(kind.into()), value: value.into() };
    let ingress = balancer.and_then(|b| b.ingress.as_ref()).into_iter().flatten();
    let each = ingress.filter_map(|i| match (&i.ip, &i.hostname) {
        (Some(ip), _) if !ip.is_empty() => Some(address(IP, ip)),
        (_, Some(hostname)) if !hostname.is_empty() => Some(address(HOSTNAME, hostname)),
        _ => None,
    });
    each.take(MOST_ADDRESSES).collect()
}

/// Why the addresses that a Service has are not those that the Gateway asks for.
pub(super) fn lacks(gateway: &Gateway, assigned: &[GatewayStatusAddresses], service: &str) -> Option<Why> {
    for address in gateway.spec.addresses.iter().flatten() {
        let value = address.value.as_deref().unwrap_or_default();
        let same_kind = |a: &&GatewayStatusAddresses| a.r#type.as_deref() == Some(kind(address));
        if value.is_empty() {
            if !assigned.iter().any(|a| same_kind(&a)) {
                let message = format!("Service {service} has no address of type {} yet", kind(address));
                return Some(("AddressNotAssigned", message));
            }
        } else if !assigned.iter().filter(same_kind).any(|a| same(&a.value, value)) {
            let message = format!(
                "Service {service} was not given the address {value}; take one that the load balancer of this cluster can \
                 give, or leave spec.addresses out"
            );
            return Some(("AddressNotUsable", message));
        }
    }
    let message = format!("Service {service} has no address yet");
    assigned.is_empty().then_some(("AddressNotAssigned", message))
}

/// IPv6 addresses have many spellings.
fn same(a: &str, b: &str) -> bool {
    match (a.parse::<std::net::IpAddr>(), b.parse::<std::net::IpAddr>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a.eq_ignore_ascii_case(b),
    }
}
