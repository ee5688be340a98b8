//! Routes of TCP and UDP.

use agentgateway_proto::key;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1;
use agentgateway_types::Path;
use agentgateway_types::backend::HostBackend;
use agentgateway_types::file;

use super::{Maker, object};

impl Maker<'_, '_> {
    /// `passed_through`: the listener's connections have the TLS of their clients, and are not touched.
    pub(super) fn tcp_route(
        &mut self,
        route: &file::TcpRoute,
        (listener_key, listener_host): (&str, &str),
        passed_through: bool,
        at: &Path,
    ) {
        let (name, rule) = self.names.route(route.name.as_deref(), None, at, self.report);
        let source = object("TCPRoute", &name);
        self.check_weights(&name, route.backends.iter().map(|b| b.weight), "connections are refused", at);
        let mut backends = Vec::with_capacity(route.backends.len());
        for (i, config) in route.backends.iter().enumerate() {
            let at = at.clone().key("backends").index(i);
            let tls = config.policies.as_ref().and_then(|p| p.backend_tls.as_ref());
            if passed_through && tls.is_some() {
                let at = at.clone().join(Path::of("policies.backendTLS"));
                let message =
                    "connections are passed through with their own TLS; set the listener's tls to end it here";
                self.report.error(&at, message);
            }
            let source = object("Backend", &format!("{name}.tcp.{i}"));
            backends.extend(self.stream_backend(&source, (config.weight, &config.host), tls, &at));
        }
        let Some(hostnames) = self.route_hostnames(&route.hostnames, listener_host, at) else { return };
        self.resources.push(Resource::TcpRoute(v1::TcpRoute {
            key: key::stream_route(&source, rule, listener_key),
            listener_key: listener_key.to_owned(),
            source: Some(source),
            rule_index: rule,
            rule_name: String::new(),
            hostnames,
            backends,
            created: self.names.position(),
        }));
    }

    pub(super) fn udp_route(&mut self, route: &file::UdpRoute, listener_key: &str, at: &Path) {
        let (name, rule) = self.names.route(route.name.as_deref(), None, at, self.report);
        let source = object("UDPRoute", &name);
        self.check_weights(&name, route.backends.iter().map(|b| b.weight), "datagrams are dropped", at);
        let mut backends = Vec::with_capacity(route.backends.len());
        for (i, config) in route.backends.iter().enumerate() {
            let at = at.clone().key("backends").index(i);
            let source = object("Backend", &format!("{name}.udp.{i}"));
            backends.extend(self.stream_backend(&source, (config.weight, &config.host), None, &at));
        }
        self.resources.push(Resource::UdpRoute(v1::UdpRoute {
            key: key::stream_route(&source, rule, listener_key),
            listener_key: listener_key.to_owned(),
            source: Some(source),
            rule_index: rule,
            rule_name: String::new(),
            backends,
            created: self.names.position(),
        }));
    }

    fn stream_backend(
        &mut self,
        source: &v1::ObjectRef,
        (weight, host): (u32, &str),
        tls: Option<&file::BackendTls>,
        at: &Path,
    ) -> Option<v1::RouteBackend> {
        let host = HostBackend { host: host.to_owned(), app_protocol: None };
        let backend = self.host(&host, source, tls, at)?;
        let backend_key = backend.key.clone();
        self.resources.push(Resource::Backend(backend));
        Some(v1::RouteBackend { weight, backend_key, inline_policies: Vec::new() })
    }

    fn check_weights(&mut self, name: &str, weights: impl Iterator<Item = u32>, what: &str, at: &Path) {
        let weights: Vec<u32> = weights.collect();
        if weights.is_empty() {
            self.report.warning(at, format!("{name} has no backends: {what}"));
        } else if weights.iter().all(|w| *w == 0) {
            self.report.warning(at, format!("all backends of {name} have the weight 0: {what}"));
        }
    }
}
