//! What proxies refused, by the object that a condition belongs to.

use std::collections::BTreeMap;

use agentgateway_proto::kind::Kind;

use crate::Name;
use crate::made::RejectedPart;
use crate::object::{ObjectKey, ObjectKind, Rejection};

/// Sorts rejections by object. Keys of resources begin with kind, namespace and name of what they were made from; binds
/// belong to the gateway itself. Services have no conditions of ours: what is refused of them is told at the gateway.
pub(crate) fn by_object(gateway: &Name, rejections: Vec<Rejection>) -> BTreeMap<ObjectKey, Vec<RejectedPart>> {
    let mut sorted: BTreeMap<ObjectKey, Vec<RejectedPart>> = BTreeMap::new();
    for Rejection { kind, key, reason } in rejections {
        let (object, section) = owner(gateway, kind, &key);
        let reason = format!("{} {key}: {reason}", kind.message());
        sorted.entry(object).or_default().push(RejectedPart { section, reason });
    }
    // In an order of its own, so that a report in another order is no change.
    sorted.values_mut().for_each(|parts| parts.sort());
    sorted
}

fn owner(gateway: &Name, kind: Kind, key: &str) -> (ObjectKey, String) {
    let own = || ObjectKey { kind: ObjectKind::Gateway, name: gateway.clone() };
    let mut parts = key.splitn(4, '/');
    let (Some(first), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return (own(), String::new());
    };
    let known = ObjectKind::ALL.iter().copied().find(|known| known.kind() == first);
    let mut section = || parts.next().unwrap_or_default().to_owned();
    let (object, section) = match (kind, known) {
        (Kind::Listener, Some(object @ ObjectKind::ListenerSet)) => (object, section()),
        (Kind::Listener, _) => return (own(), section()),
        (Kind::Route | Kind::TcpRoute | Kind::UdpRoute, Some(object)) if object.is_route() => (object, String::new()),
        (Kind::Backend, Some(object @ ObjectKind::Backend)) => (object, String::new()),
        (Kind::Policy, Some(object @ ObjectKind::TrafficPolicy)) => (object, String::new()),
        _ => return (own(), String::new()),
    };
    (ObjectKey { kind: object, name: Name::new(namespace, name) }, section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_belongs_to_the_object_it_was_made_from() {
        let gateway = Name::new("g", "gw");
        for (kind, key, object, section) in [
            (Kind::Route, "HTTPRoute/n/r/0/1/Gateway/g/gw/http", "HTTPRoute n/r", ""),
            (Kind::TcpRoute, "TLSRoute/n/r/0/Gateway/g/gw/tls", "TLSRoute n/r", ""),
            (Kind::Listener, "ListenerSet/n/s/tls", "ListenerSet n/s", "tls"),
            (Kind::Backend, "Backend/n/b/target", "Backend n/b", ""),
            (Kind::Backend, "Service/n/s/80", "Gateway g/gw", ""),
            (Kind::Policy, "TrafficPolicy/n/p/rbac/Gateway/g/gw", "TrafficPolicy n/p", ""),
            (Kind::Listener, "Gateway/g/gw/http", "Gateway g/gw", "http"),
            (Kind::Bind, "tcp/0.0.0.0/80/g/gw", "Gateway g/gw", ""),
        ] {
            let (found, at) = owner(&gateway, kind, key);
            assert_eq!((found.to_string().as_str(), at.as_str()), (object, section), "{key}");
        }
    }
}
