//! Compiles listeners of streams with their routes.

use std::sync::Arc;

use agentgateway_proto::kind::Kind;
use agentgateway_proto::v1::listener::Protocol;
use agentgateway_proto::v1::policy::Target;
use agentgateway_proto::{key, v1};
use agentgateway_router::HostMap;

use super::backends::denied;
use super::{Compiled, Store};
use crate::snapshot::{StreamListener, StreamRoute, Tls};

/// A route of either kind, with what decides which comes first.
struct Candidate<'a> {
    /// Age, object, rule: the oldest wins, then the alphabet.
    precedence: (i64, String, u32),
    hostnames: &'a [String],
    route: Arc<StreamRoute>,
}

impl Store {
    pub(super) fn compile_streams(&mut self, key: &Arc<str>, tls: Option<Tls>) -> Result<(), String> {
        let Some(listener) = self.index.listener(key) else { return Ok(()) };
        let problem = tls.as_ref().and_then(|tls| tls.as_ref().err()).map(ToString::to_string);
        let mut candidates: Vec<Candidate<'_>> = match listener.protocol() {
            Protocol::Udp => self.index.udp_routes(key).map(|route| udp(route, listener)).collect(),
            _ => self.index.tcp_routes(key).map(|route| tcp(route, listener)).collect(),
        };
        candidates.sort_by(|a, b| a.precedence.cmp(&b.precedence));
        let by_name = listener.protocol() == Protocol::Tls;
        let mut routes: HostMap<Arc<StreamRoute>> = HostMap::default();
        for candidate in &candidates {
            let own = [listener.hostname.clone()];
            let hostnames = match candidate.hostnames {
                _ if !by_name => &[String::new()][..],
                [] => &own[..],
                named => named,
            };
            for hostname in hostnames {
                if routes.get(hostname).is_none() {
                    routes.insert(hostname, Arc::clone(&candidate.route));
                }
            }
        }
        let gateway = key::print_object(listener.gateway.as_ref());
        let compiled = StreamListener {
            key: Arc::clone(key),
            printed: key::print_listener(listener).into(),
            tls,
            denied: self.index.policies_of_listener(listener).find_map(refuses_streams),
            routes,
            metrics: self.environment.metrics.streams(key, &gateway, &listener.name),
        };
        self.listeners.insert(Arc::clone(key), Compiled::Stream(Arc::new(compiled)));
        problem.map_or(Ok(()), Err)
    }

    /// Whether the route's listener takes it.
    pub(super) fn check_stream_route(&self, kind: Kind, key: &str) -> Result<(), String> {
        let Some(listener_key) = self.index.listener_of_stream_route(kind, key) else { return Ok(()) };
        let Some(listener) = self.index.listener(listener_key) else {
            return Err(format!("the route names listener {listener_key}, which does not exist"));
        };
        match (kind, listener.protocol()) {
            (Kind::TcpRoute, Protocol::Tcp | Protocol::Tls) | (Kind::UdpRoute, Protocol::Udp) => Ok(()),
            (_, other) => Err(format!("listener {} speaks {}", listener.name, other.as_str_name())),
        }
    }
}

/// Policies are for requests. One that would protect the listener itself and cannot, refuses; one of the gateway is for the
/// listeners of it that have requests.
fn refuses_streams(policy: &v1::Policy) -> Option<Arc<str>> {
    let spec = policy.spec.as_ref()?;
    if let Some(why) = denied(spec) {
        return Some(why);
    }
    let of_listener = matches!(policy.target, Some(Target::ListenerKey(_)));
    let source = format!("{} {}/{}", policy.source_kind, policy.source_namespace, policy.source_name);
    (of_listener && spec.protects())
        .then(|| format!("{source}: {} cannot be applied to a listener without HTTP", spec.name()).into())
}

fn tcp<'a>(route: &'a v1::TcpRoute, listener: &v1::Listener) -> Candidate<'a> {
    candidate(
        route.source.as_ref(),
        (route.created, route.rule_index),
        &route.hostnames,
        &route.backends,
        &listener.name,
    )
}

fn udp<'a>(route: &'a v1::UdpRoute, listener: &v1::Listener) -> Candidate<'a> {
    candidate(route.source.as_ref(), (route.created, route.rule_index), &[], &route.backends, &listener.name)
}

fn candidate<'a>(
    source: Option<&v1::ObjectRef>,
    (created, rule): (i64, u32),
    hostnames: &'a [String],
    backends: &[v1::RouteBackend],
    listener: &str,
) -> Candidate<'a> {
    let backend = |b: &v1::RouteBackend| {
        // Filters are for requests; one that refuses still does.
        let refused = b.backend_key.is_empty() || b.inline_policies.iter().any(|spec| denied(spec).is_some());
        (b.weight, (!refused).then(|| b.backend_key.as_str().into()))
    };
    let route = StreamRoute {
        printed: key::print_stream_route(source, rule, listener).into(),
        backends: backends.iter().map(backend).collect(),
        total_weight: backends.iter().map(|b| u64::from(b.weight)).sum(),
    };
    Candidate { precedence: (created, key::print_object(source), rule), hostnames, route: Arc::new(route) }
}
