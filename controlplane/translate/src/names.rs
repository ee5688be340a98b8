//! Names of the objects that are deployed for a Gateway.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;

use crate::Name;
use crate::world::World;

/// RFC 1035 labels have at most 63 characters, and so have names of Services and values of labels.
const MOST_LABEL_BYTES: usize = 63;
const HASH_DIGITS: usize = 8;

/// Name of the objects deployed for a Gateway: its own, or where that is no name for a Service, one made from it with a hash.
pub(crate) fn deployed(gateway: &str) -> String {
    if is_label(gateway) {
        return gateway.to_owned();
    }
    let plain: String = gateway.chars().map(|c| if c == '.' { '-' } else { c }).collect();
    let lettered = if plain.starts_with(|c: char| c.is_ascii_lowercase()) { plain } else { format!("gw-{plain}") };
    let kept: String = lettered.chars().take(MOST_LABEL_BYTES - 1 - HASH_DIGITS).collect();
    let hash = blake3::hash(gateway.as_bytes()).to_hex();
    format!("{}-{}", kept.trim_end_matches('-'), hash.as_str().get(..HASH_DIGITS).unwrap_or_default())
}

/// The Service that is deployed for a Gateway.
pub(crate) fn service_of_gateway<'a>(world: &'a World, gateway: &Name) -> Option<&'a Service> {
    world.services.get(&Name::new(gateway.namespace.clone(), deployed(&gateway.name))).map(Arc::as_ref)
}

/// The Gateway for which this Service is deployed.
pub(crate) fn gateway_of_service(world: &World, service: &Name) -> Option<Name> {
    if world.gateways.contains_key(service) && is_label(&service.name) {
        return Some(service.clone());
    }
    // Only names that were changed are left, and those end with a hash.
    let of_namespace = world.gateways.range(Name::new(service.namespace.clone(), "")..);
    let mut same = of_namespace.map(|(name, _)| name).take_while(|name| name.namespace == service.namespace);
    same.find(|name| !is_label(&name.name) && deployed(&name.name) == service.name).cloned()
}

fn is_label(name: &str) -> bool {
    name.len() <= MOST_LABEL_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_a_service_and_differ() {
        assert_eq!(deployed("agentgateway"), "agentgateway");
        let long = "a".repeat(200);
        for odd in [long.as_str(), "a.b", "1st", "-", "a-"] {
            assert!(is_label(&deployed(odd)), "{odd} gives {}", deployed(odd));
        }
        assert_ne!(deployed("a.b"), deployed("a-b"));
        assert_ne!(deployed(&"a".repeat(200)), deployed(&"a".repeat(201)));
    }
}
