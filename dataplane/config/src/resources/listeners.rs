//! Binds and listeners.

use std::collections::HashMap;

use agentgateway_convert::bind_limits;
use agentgateway_proto::key;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1;
use agentgateway_proto::v1::bind::Transport;
use agentgateway_types::Path;
use agentgateway_types::file::{self, Protocol};

use super::Maker;
use crate::process;

/// What listeners must have in common to share a port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// Told apart by the host of each request.
    Http,
    /// Told apart by the server name that clients ask for.
    Tls,
    /// Not told apart: there is one.
    Tcp,
    Udp,
}

impl Family {
    fn of(protocol: Protocol) -> Family {
        match protocol {
            Protocol::Http => Family::Http,
            Protocol::Https | Protocol::Tls => Family::Tls,
            Protocol::Tcp => Family::Tcp,
            Protocol::Udp => Family::Udp,
        }
    }
}

impl Maker<'_, '_> {
    pub(super) fn bind(&mut self, bind: &file::Bind, at: &Path) {
        let port = at.clone().key("port");
        if bind.port == 0 {
            self.report.error(&port, "a port is a number from 1 to 65535");
        }
        if self.own_ports.contains(&bind.port) {
            self.report.error(&port, format!("port {} is the proxy's own (admin, metrics or readiness)", bind.port));
        }
        let address = process::bind_address(bind.address.as_deref()).unwrap_or_else(|message| {
            self.report.error(&at.clone().key("address"), message);
            "0.0.0.0".into()
        });
        let family = bind.listeners.first().map_or(Family::Http, |l| Family::of(l.protocol.unwrap_or_default()));
        let transport = if family == Family::Udp { Transport::Udp } else { Transport::Tcp };
        // All addresses of one family include each of them; IPv6 includes IPv4 on Linux.
        let all = |address: &str| matches!(address, "0.0.0.0" | "::");
        let used = self.sockets.entry((transport, bind.port)).or_default();
        if let Some((_, first)) = used.iter().find(|(a, _)| *a == address || all(a) || all(&address)) {
            let line = self.report.line(first);
            self.report.error(&port, format!("port {} is already bound in line {line}", bind.port));
        }
        used.push((address.clone(), port));

        let proxy_protocol = match bind.proxy_protocol.unwrap_or_default() {
            file::ProxyProtocol::Off => v1::bind::ProxyProtocol::Off,
            file::ProxyProtocol::Required => v1::bind::ProxyProtocol::Required,
            file::ProxyProtocol::Optional => v1::bind::ProxyProtocol::Optional,
        };
        if transport == Transport::Udp && proxy_protocol != v1::bind::ProxyProtocol::Off {
            self.report.error(&at.clone().key("proxyProtocol"), "the PROXY protocol is for TCP connections");
        }
        let limits = match bind.limits.as_ref().map(bind_limits) {
            None => None,
            Some(_) if transport == Transport::Udp => {
                self.report.error(&at.clone().key("limits"), "are for ports of connections; UDP has none");
                None
            }
            Some(Ok(limits)) => Some(limits),
            Some(Err(error)) => self.convert_error(&at.clone().key("limits"), &error),
        };
        let key = key::bind(&self.gateway, transport, &address, bind.port.into());
        self.resources.push(Resource::Bind(v1::Bind {
            key: key.clone(),
            gateway: Some(self.gateway.clone()),
            address,
            port: bind.port.into(),
            transport: transport.into(),
            proxy_protocol: proxy_protocol.into(),
            limits,
        }));
        if bind.listeners.is_empty() {
            self.report.warning(at, "a bind without listeners: requests get 404");
        }
        let mut hosts: HashMap<String, Path> = HashMap::new();
        for (i, listener) in bind.listeners.iter().enumerate() {
            let at = at.clone().key("listeners").index(i);
            if Family::of(listener.protocol.unwrap_or_default()) != family {
                let line = self.report.line(at_first(&at).as_ref().unwrap_or(&at));
                let message = format!("the protocol cannot share the port with that of the listener in line {line}");
                self.report.error(&at.clone().key("protocol"), message);
                continue;
            }
            let hostname = self.hostname(listener.hostname.as_deref(), &at.clone().key("hostname"));
            if let Some(first) = hosts.insert(hostname.clone(), at.clone()) {
                let host = if hostname.is_empty() { "every host".to_owned() } else { format!("{hostname:?}") };
                let line = self.report.line(&first);
                self.report.error(&at, format!("{host} on this port already has the listener in line {line}"));
            }
            self.listener(listener, hostname, &key, &at);
        }
    }

    fn listener(&mut self, listener: &file::Listener, hostname: String, bind_key: &str, at: &Path) {
        let name = self.names.listener(listener.name.as_deref(), at, self.report);
        let key = key::listener(&self.gateway, &name);
        let protocol = listener.protocol.unwrap_or_default();
        self.check_fields(listener, protocol, at);
        if let Some(policies) = &listener.policies {
            self.listener_policies(policies, &key, &at.clone().key("policies"));
        }
        for (i, route) in listener.routes.iter().enumerate() {
            self.route(route, &key, &hostname, &at.clone().key("routes").index(i));
        }
        for (i, route) in listener.tcp_routes.iter().enumerate() {
            let passed_through = protocol == Protocol::Tls && listener.tls.is_none();
            self.tcp_route(route, (&key, &hostname), passed_through, &at.clone().key("tcpRoutes").index(i));
        }
        for (i, route) in listener.udp_routes.iter().enumerate() {
            self.udp_route(route, &key, &at.clone().key("udpRoutes").index(i));
        }
        let tls = listener.tls.as_ref().and_then(|tls| self.listener_tls(tls, &at.clone().key("tls")));
        self.resources.push(Resource::Listener(v1::Listener {
            key,
            bind_key: bind_key.to_owned(),
            gateway: Some(self.gateway.clone()),
            name,
            hostname,
            protocol: match protocol {
                Protocol::Http => v1::listener::Protocol::Http,
                Protocol::Https => v1::listener::Protocol::Https,
                Protocol::Tls => v1::listener::Protocol::Tls,
                Protocol::Tcp => v1::listener::Protocol::Tcp,
                Protocol::Udp => v1::listener::Protocol::Udp,
            }
            .into(),
            owner: Some(self.gateway.clone()),
            tls,
        }));
    }

    /// What is set belongs to the protocol, and what it needs is there.
    fn check_fields(&mut self, listener: &file::Listener, protocol: Protocol, at: &Path) {
        let http = matches!(protocol, Protocol::Http | Protocol::Https);
        let tcp = matches!(protocol, Protocol::Tls | Protocol::Tcp);
        let (udp, tls) = (protocol == Protocol::Udp, matches!(protocol, Protocol::Https | Protocol::Tls));
        for (field, is_set, allowed, where_allowed) in [
            ("routes", !listener.routes.is_empty(), http, "HTTP and HTTPS"),
            ("policies", listener.policies.is_some(), http, "HTTP and HTTPS"),
            ("tcpRoutes", !listener.tcp_routes.is_empty(), tcp, "TLS and TCP"),
            ("udpRoutes", !listener.udp_routes.is_empty(), udp, "UDP"),
            ("tls", listener.tls.is_some(), tls, "HTTPS and TLS"),
            ("hostname", listener.hostname.is_some(), http || tls, "HTTP, HTTPS and TLS"),
        ] {
            if is_set && !allowed {
                self.report.error(&at.clone().key(field), format!("is for listeners of {where_allowed} alone"));
            }
        }
        if protocol == Protocol::Https && listener.tls.is_none() {
            self.report.error(at, "tls must be set: a listener of HTTPS needs a certificate");
        }
        let (routes, what) = match protocol {
            Protocol::Http | Protocol::Https => (listener.routes.len(), "requests get 404"),
            Protocol::Tls | Protocol::Tcp => (listener.tcp_routes.len(), "connections are refused"),
            Protocol::Udp => (listener.udp_routes.len(), "datagrams are dropped"),
        };
        if routes == 0 {
            self.report.warning(at, format!("a listener without routes: {what}"));
        }
    }
}

/// The place of the first listener of a bind, from that of another.
fn at_first(at: &Path) -> Option<Path> {
    let (_, bind) = at.segments().split_last()?;
    let bind = bind.iter().fold(Path::root(), |path, segment| match segment {
        agentgateway_types::Segment::Key(key) => path.key(key.clone()),
        agentgateway_types::Segment::Index(index) => path.index(*index),
    });
    Some(bind.index(0))
}
