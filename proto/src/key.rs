//! Identities of resources: how keys are built, and the form in which users know them.
//!
//! A key is the parts of the identity joined by '/'. No part of a Kubernetes identity can contain '/', so different
//! identities have different keys. The printed form leaves parts out and may collide; it is for people only.

use crate::v1::bind::Transport;
use crate::v1::{Backend, Bind, Listener, ObjectRef, Route};

/// Key of a [`Bind`]: transport, address, port and the gateway that owns it.
pub fn bind(gateway: &ObjectRef, transport: Transport, address: &str, port: u32) -> String {
    let transport = match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    format!("{transport}/{address}/{port}/{}/{}", gateway.namespace, gateway.name)
}

/// Key of a [`Listener`]: the object that declares it (a Gateway or a ListenerSet) and its name there.
pub fn listener(owner: &ObjectRef, name: &str) -> String {
    format!("{}/{}/{}/{name}", owner.kind, owner.namespace, owner.name)
}

/// Key of a [`Route`]: route object, rule, match and listener.
pub fn route(source: &ObjectRef, rule: u32, matched: u32, listener_key: &str) -> String {
    format!("{}/{}/{}/{rule}/{matched}/{listener_key}", source.kind, source.namespace, source.name)
}

/// Key of a [`TcpRoute`](crate::v1::TcpRoute) or [`UdpRoute`](crate::v1::UdpRoute): route object, rule and listener.
pub fn stream_route(source: &ObjectRef, rule: u32, listener_key: &str) -> String {
    format!("{}/{}/{}/{rule}/{listener_key}", source.kind, source.namespace, source.name)
}

/// Key of a [`Backend`]: the object it was made from.
pub fn backend(source: &ObjectRef) -> String {
    format!("{}/{}/{}", source.kind, source.namespace, source.name)
}

/// Key of a part of a backend object: a target of an MCP backend, a port of a Service.
pub fn backend_section(source: &ObjectRef, section: &str) -> String {
    format!("{}/{}/{}/{section}", source.kind, source.namespace, source.name)
}

/// Key of an endpoint behind a backend.
pub fn endpoint(backend_key: &str, address: &str, port: u32) -> String {
    format!("{backend_key}/{address}/{port}")
}

/// Key of one field of a policy object on one of its targets; `target` is itself a key.
pub fn policy(source: &ObjectRef, field: &str, target: &str) -> String {
    format!("{}/{}/{}/{field}/{target}", source.kind, source.namespace, source.name)
}

/// "<port>/<gateway namespace>/<gateway>".
pub fn print_bind(bind: &Bind) -> String {
    format!("{}/{}", bind.port, print_object(bind.gateway.as_ref()))
}

/// "<gateway namespace>/<gateway>.<listener>".
pub fn print_listener(listener: &Listener) -> String {
    format!("{}.{}", print_object(listener.gateway.as_ref()), listener.name)
}

/// "<route namespace>/<route>.<rule>.<match>.<listener>".
pub fn print_route(route: &Route, listener_name: &str) -> String {
    format!("{}.{}.{}.{listener_name}", print_object(route.source.as_ref()), route.rule_index, route.match_index)
}

/// "<route namespace>/<route>.<rule>.<listener>".
pub fn print_stream_route(source: Option<&ObjectRef>, rule: u32, listener_name: &str) -> String {
    format!("{}.{rule}.{listener_name}", print_object(source))
}

/// "<namespace>/<name>", and "/<section>" where the key has one.
pub fn print_backend(backend: &Backend) -> String {
    print_backend_key(&backend.key)
}

/// As [`print_backend`], from the key alone.
pub fn print_backend_key(key: &str) -> String {
    key.split_once('/').map_or_else(|| key.to_owned(), |(_, rest)| rest.to_owned())
}

/// "<namespace>/<name>".
pub fn print_object(object: Option<&ObjectRef>) -> String {
    object.map_or_else(String::new, |o| format!("{}/{}", o.namespace, o.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, namespace: &str, name: &str) -> ObjectRef {
        ObjectRef { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }

    #[test]
    fn printed_forms_may_collide_but_keys_do_not() {
        let (http, grpc) = (object("HTTPRoute", "a", "b"), object("GRPCRoute", "a", "b"));
        assert_ne!(route(&http, 0, 0, "l"), route(&grpc, 0, 0, "l"));
        let dotted = object("HTTPRoute", "a", "b.0");
        assert_ne!(route(&http, 0, 0, "0.l"), route(&dotted, 0, 0, "l"));
    }

    #[test]
    fn backend_prints_as_users_know_it() {
        let source = object("Backend", "mcp", "github-mcp-backend");
        assert_eq!(print_backend_key(&backend(&source)), "mcp/github-mcp-backend");
        assert_eq!(
            print_backend_key(&backend_section(&source, "github-mcp-target")),
            "mcp/github-mcp-backend/github-mcp-target"
        );
    }
}
