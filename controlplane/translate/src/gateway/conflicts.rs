//! Listeners that are in each other's way (Gateway API, "Distinct Listeners" and "Listener precedence").
//!
//! On one port only protocols of one layer can be told apart: HTTP, or HTTPS and TLS by the server name, or TCP alone; UDP
//! has ports of its own. Within a layer each host may be there once. Of two objects the one that counts first keeps what it
//! has; within one object all that are in each other's way lose, and none is the winner.

use std::collections::HashMap;

use super::declared::{Declared, Listener};

/// A reason for a condition, and a message.
pub(crate) type Conflict = (&'static str, String);

/// Protocols that can share a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Layer {
    Http,
    Tls,
    Tcp,
    Udp,
}

/// A listener's object, and its place there.
type Place = (usize, usize);

type OnPort<'a> = (Place, Layer, &'a Listener);

/// The conflict of each listener of each object, if it has one.
pub(super) fn conflicts(declared: &[Declared]) -> Vec<Vec<Option<Conflict>>> {
    let mut found: Vec<Vec<Option<Conflict>>> = declared.iter().map(|d| vec![None; d.listeners.len()]).collect();
    let mut ports: HashMap<(i32, bool), Vec<OnPort<'_>>> = HashMap::new();
    for (i, object) in declared.iter().enumerate() {
        for (j, listener) in object.listeners.iter().enumerate() {
            // One whose protocol does not exist is refused for that.
            if let Some(layer) = layer(&listener.protocol) {
                let port = ports.entry((listener.port, layer == Layer::Udp)).or_default();
                port.push(((i, j), layer, listener));
            }
        }
    }
    for port in ports.values() {
        let mut lose = |(i, j): Place, conflict: Conflict| {
            if let Some(slot) = found.get_mut(i).and_then(|object| object.get_mut(j)) {
                *slot = Some(conflict);
            }
        };
        let rest = protocol_conflicts(port, &mut lose);
        host_conflicts(&rest, &mut lose);
    }
    found
}

fn layer(protocol: &str) -> Option<Layer> {
    match protocol {
        "HTTP" => Some(Layer::Http),
        "HTTPS" | "TLS" => Some(Layer::Tls),
        "TCP" => Some(Layer::Tcp),
        "UDP" => Some(Layer::Udp),
        _ => None,
    }
}

/// Gives those that have no such conflict.
fn protocol_conflicts<'a>(port: &[OnPort<'a>], lose: &mut impl FnMut(Place, Conflict)) -> Vec<OnPort<'a>> {
    let Some(((first, _), layer, _)) = port.first() else { return Vec::new() };
    let of_first = port.iter().filter(|((object, _), ..)| object == first);
    let agreed = of_first.clone().all(|(_, other, _)| other == layer).then_some(*layer);
    let mut rest = Vec::with_capacity(port.len());
    for on_port in port {
        let ((object, _), layer, listener) = on_port;
        if agreed == Some(*layer) {
            rest.push(*on_port);
            continue;
        }
        let others: Vec<_> = of_first.clone().filter(|(_, other, _)| object == first && other != layer).collect();
        lose(on_port.0, ("ProtocolConflict", told(listener, "of other protocols", &others)));
    }
    rest
}

fn host_conflicts(port: &[OnPort<'_>], lose: &mut impl FnMut(Place, Conflict)) {
    let mut hosts: HashMap<Option<&str>, Vec<&OnPort<'_>>> = HashMap::new();
    for on_port in port {
        hosts.entry(on_port.2.hostname.as_deref()).or_default().push(on_port);
    }
    for same in hosts.values() {
        let Some(((first, _), layer, _)) = same.first() else { continue };
        let of_first: Vec<_> = same.iter().filter(|((object, _), ..)| object == first).copied().collect();
        let (reason, what) = match layer {
            Layer::Http | Layer::Tls => ("HostnameConflict", "of the same host"),
            Layer::Tcp | Layer::Udp => ("ListenerConflict", "of the same protocol"),
        };
        for on_port in same {
            let ((object, _), _, listener) = on_port;
            if object == first && of_first.len() == 1 {
                continue;
            }
            let others: Vec<_> =
                of_first.iter().filter(|other| object == first && other.0 != on_port.0).copied().collect();
            lose(on_port.0, (reason, told(listener, what, &others)));
        }
    }
}

/// Names of another object's listeners may be none of the reader's business.
fn told(listener: &Listener, what: &str, others: &[&OnPort<'_>]) -> String {
    let port = listener.port;
    if others.is_empty() {
        return format!("port {port} has a listener {what}, which the Gateway or an older ListenerSet declares");
    }
    let names: Vec<&str> = others.iter().map(|(.., other)| other.name.as_str()).collect();
    format!("port {port} has other listeners {what}: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::declared::Namespaces;
    use super::*;
    use crate::Name;
    use crate::object::{ObjectKey, ObjectKind};

    fn object(listeners: &[(&str, i32, &str, &str)]) -> Declared {
        let listener = |(name, port, protocol, hostname): &(&str, i32, &str, &str)| Listener {
            name: (*name).to_owned(),
            hostname: (!hostname.is_empty()).then(|| (*hostname).to_owned()),
            port: *port,
            protocol: (*protocol).to_owned(),
            kinds: Vec::new(),
            namespaces: Namespaces::Same,
            tls: None,
        };
        let owner = ObjectKey { kind: ObjectKind::Gateway, name: Name::new("n", "g") };
        Declared { owner, listeners: listeners.iter().map(listener).collect() }
    }

    fn reasons(declared: &[Declared]) -> Vec<Vec<&'static str>> {
        let reason = |c: &Option<Conflict>| c.as_ref().map_or("", |(reason, _)| reason);
        conflicts(declared).iter().map(|object| object.iter().map(reason).collect()).collect()
    }

    #[test]
    fn protocols_of_one_layer_share_a_port() {
        let gateway = object(&[
            ("a", 443, "HTTPS", "a.example"),
            ("b", 443, "TLS", "b.example"),
            ("c", 53, "TCP", ""),
            ("d", 53, "UDP", ""),
        ]);
        assert_eq!(reasons(&[gateway]), [["", "", "", ""]]);
    }

    #[test]
    fn within_one_object_nobody_wins() {
        let gateway = object(&[
            ("a", 80, "HTTP", "x.example"),
            ("b", 80, "HTTP", "x.example"),
            ("c", 80, "HTTP", "y.example"),
            ("d", 90, "HTTP", ""),
            ("e", 90, "TCP", ""),
            ("f", 443, "HTTPS", "x.example"),
            ("g", 443, "TLS", "x.example"),
        ]);
        let (host, protocol) = ("HostnameConflict", "ProtocolConflict");
        assert_eq!(reasons(&[gateway]), [[host, host, "", protocol, protocol, host, host]]);
    }

    #[test]
    fn of_two_objects_the_first_keeps_what_it_has() {
        let gateway = object(&[("a", 80, "HTTP", "x.example")]);
        let first = object(&[("a", 80, "HTTP", "x.example"), ("b", 80, "HTTP", "y.example"), ("c", 9, "TCP", "")]);
        let second = object(&[("b", 80, "HTTP", "y.example"), ("t", 80, "TCP", ""), ("c", 9, "TCP", "")]);
        let found = reasons(&[gateway, first, second]);
        assert_eq!(found[0], [""]);
        assert_eq!(found[1], ["HostnameConflict", "", ""]);
        assert_eq!(found[2], ["HostnameConflict", "ProtocolConflict", "ListenerConflict"]);
    }

    #[test]
    fn other_objects_are_not_named() {
        let (gateway, set) = (object(&[("secret", 80, "HTTP", "")]), object(&[("b", 80, "HTTP", "")]));
        let found = conflicts(&[gateway, set]);
        let (_, message) = found[1][0].clone().expect("a conflict");
        assert!(!message.contains("secret"), "{message}");
    }
}
