//! The resources by kind and key, and who refers to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agentgateway_proto::key;
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1;

type Keys = BTreeSet<Arc<str>>;
type Sets = BTreeMap<Arc<str>, Keys>;

/// All resources with their relations.
#[derive(Default)]
pub(super) struct Index {
    all: BTreeMap<(Kind, Arc<str>), Arc<Resource>>,
    endpoints_of_backend: Sets,
    /// MCP backends by the backend that one of their targets stands on.
    over_backend: Sets,
    /// By "<kind>/<namespace>/<name>".
    routes_of_object: Sets,
    routes_of_listener: Sets,
    tcp_routes_of_listener: Sets,
    udp_routes_of_listener: Sets,
    /// By "<namespace>/<name>".
    listeners_of_gateway: Sets,
    listeners_of_bind: Sets,
    /// By the printed form of the target, see [`target`].
    policies_of_target: Sets,
}

/// The target of a policy as a word.
fn target(policy: &v1::Policy) -> Option<String> {
    use v1::policy::Target;
    Some(match policy.target.as_ref()? {
        Target::Gateway(g) => format!("gateway {g}"),
        Target::ListenerKey(l) => format!("listener {l}"),
        Target::Route(r) => format!("route {}/{}/{}", r.kind, r.namespace, r.name),
        Target::BackendKey(b) => format!("backend {b}"),
    })
}

fn object_key(object: Option<&v1::ObjectRef>) -> String {
    object.map(key::backend).unwrap_or_default()
}

impl Index {
    pub(super) fn get(&self, kind: Kind, key: &str) -> Option<&Arc<Resource>> {
        self.all.get(&(kind, key.into()))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = (Kind, &Arc<str>)> {
        self.all.keys().map(|(kind, key)| (*kind, key))
    }

    pub(super) fn resources(&self) -> Vec<Arc<Resource>> {
        self.all.values().cloned().collect()
    }

    /// Gives the resource that was there before.
    pub(super) fn insert(&mut self, resource: Arc<Resource>) -> Option<Arc<Resource>> {
        let old = self.remove(resource.kind(), resource.key());
        self.relate(&resource, true);
        self.all.insert((resource.kind(), resource.key().into()), resource);
        old
    }

    pub(super) fn remove(&mut self, kind: Kind, key: &str) -> Option<Arc<Resource>> {
        let old = self.all.remove(&(kind, key.into()))?;
        self.relate(&old, false);
        Some(old)
    }

    fn relate(&mut self, resource: &Resource, add: bool) {
        let key: Arc<str> = resource.key().into();
        let set = |sets: &mut Sets, of: &str| {
            if add {
                sets.entry(of.into()).or_default().insert(Arc::clone(&key));
            } else if let Some(keys) = sets.get_mut(of) {
                keys.remove(&key);
                if keys.is_empty() {
                    sets.remove(of);
                }
            }
        };
        match resource {
            Resource::Endpoint(e) => set(&mut self.endpoints_of_backend, &e.backend_key),
            Resource::Backend(b) => {
                for below in backends_below(b) {
                    set(&mut self.over_backend, below);
                }
            }
            Resource::Policy(p) => {
                if let Some(target) = target(p) {
                    set(&mut self.policies_of_target, &target);
                }
            }
            Resource::Route(r) => {
                set(&mut self.routes_of_object, &object_key(r.source.as_ref()));
                set(&mut self.routes_of_listener, &r.listener_key);
            }
            Resource::Listener(l) => {
                set(&mut self.listeners_of_gateway, &key::print_object(l.gateway.as_ref()));
                set(&mut self.listeners_of_bind, &l.bind_key);
            }
            Resource::TcpRoute(r) => set(&mut self.tcp_routes_of_listener, &r.listener_key),
            Resource::UdpRoute(r) => set(&mut self.udp_routes_of_listener, &r.listener_key),
            Resource::Bind(_) | Resource::Generation(_) => {}
        }
    }

    pub(super) fn backend(&self, key: &str) -> Option<&v1::Backend> {
        match self.get(Kind::Backend, key)?.as_ref() {
            Resource::Backend(b) => Some(b),
            _ => None,
        }
    }

    pub(super) fn route(&self, key: &str) -> Option<&v1::Route> {
        match self.get(Kind::Route, key)?.as_ref() {
            Resource::Route(r) => Some(r),
            _ => None,
        }
    }

    pub(super) fn listener(&self, key: &str) -> Option<&v1::Listener> {
        match self.get(Kind::Listener, key)?.as_ref() {
            Resource::Listener(l) => Some(l),
            _ => None,
        }
    }

    pub(super) fn bind(&self, key: &str) -> Option<&v1::Bind> {
        match self.get(Kind::Bind, key)?.as_ref() {
            Resource::Bind(b) => Some(b),
            _ => None,
        }
    }

    pub(super) fn endpoints<'a>(&'a self, backend: &str) -> impl Iterator<Item = &'a v1::Endpoint> + use<'a> {
        keys(&self.endpoints_of_backend, backend).filter_map(|key| match self.get(Kind::Endpoint, &key)?.as_ref() {
            Resource::Endpoint(e) => Some(e),
            _ => None,
        })
    }

    fn policies<'a>(&'a self, target: &str) -> impl Iterator<Item = &'a v1::Policy> + use<'a> {
        keys(&self.policies_of_target, target).filter_map(|key| match self.get(Kind::Policy, &key)?.as_ref() {
            Resource::Policy(p) => Some(p),
            _ => None,
        })
    }

    /// Policies of a listener: its own, and its gateway's, which are less specific.
    pub(super) fn policies_of_listener<'a>(
        &'a self,
        listener: &v1::Listener,
    ) -> impl Iterator<Item = &'a v1::Policy> + use<'a> {
        let gateway = format!("gateway {}", key::print_object(listener.gateway.as_ref()));
        self.policies(&format!("listener {}", listener.key)).chain(self.policies(&gateway))
    }

    /// Policies of a route's object that apply to its rule: those of the rule, and those of the whole, which are less
    /// specific.
    pub(super) fn policies_of_route<'a>(&'a self, route: &'a v1::Route) -> impl Iterator<Item = &'a v1::Policy> {
        let of_object = format!("route {}", object_key(route.source.as_ref()));
        let of_rule = |p: &&v1::Policy, rule: &str| match &p.target {
            Some(v1::policy::Target::Route(t)) => t.rule_name == rule,
            _ => false,
        };
        let named =
            self.policies(&of_object).filter(move |p| !route.rule_name.is_empty() && of_rule(p, &route.rule_name));
        named.chain(self.policies(&of_object).filter(move |p| of_rule(p, "")))
    }

    pub(super) fn policies_of_backend<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a v1::Policy> + use<'a> {
        self.policies(&format!("backend {key}"))
    }

    pub(super) fn backends_over(&self, key: &str) -> impl Iterator<Item = Arc<str>> {
        keys(&self.over_backend, key)
    }

    pub(super) fn routes_of_object(&self, t: &v1::RouteTarget) -> impl Iterator<Item = Arc<str>> {
        keys(&self.routes_of_object, &format!("{}/{}/{}", t.kind, t.namespace, t.name))
    }

    pub(super) fn routes_of_listener(&self, key: &str) -> impl Iterator<Item = Arc<str>> {
        keys(&self.routes_of_listener, key)
    }

    pub(super) fn tcp_routes<'a>(&'a self, listener: &str) -> impl Iterator<Item = &'a v1::TcpRoute> + use<'a> {
        keys(&self.tcp_routes_of_listener, listener).filter_map(|key| match self.get(Kind::TcpRoute, &key)?.as_ref() {
            Resource::TcpRoute(r) => Some(r),
            _ => None,
        })
    }

    pub(super) fn udp_routes<'a>(&'a self, listener: &str) -> impl Iterator<Item = &'a v1::UdpRoute> + use<'a> {
        keys(&self.udp_routes_of_listener, listener).filter_map(|key| match self.get(Kind::UdpRoute, &key)?.as_ref() {
            Resource::UdpRoute(r) => Some(r),
            _ => None,
        })
    }

    /// TCP and UDP routes of a listener, by kind and key.
    pub(super) fn stream_routes_of_listener(&self, key: &str) -> impl Iterator<Item = (Kind, Arc<str>)> {
        let tcp = keys(&self.tcp_routes_of_listener, key).map(|key| (Kind::TcpRoute, key));
        tcp.chain(keys(&self.udp_routes_of_listener, key).map(|key| (Kind::UdpRoute, key)))
    }

    /// Backends to which connections are encrypted.
    pub(super) fn backends_with_tls(&self) -> impl Iterator<Item = Arc<str>> {
        let first = (Kind::Backend, Arc::from(""));
        let backends = self.all.range(first..).take_while(|((kind, _), _)| *kind == Kind::Backend);
        backends
            .filter(|(_, r)| matches!(r.as_ref(), Resource::Backend(b) if b.tls.is_some()))
            .map(|((_, key), _)| key.clone())
    }

    /// The certificate that the gateway shows to backends; of several the one whose policy comes first.
    pub(super) fn gateway_certificate(&self) -> Option<&v1::Certificate> {
        let first = Arc::<str>::from("gateway ");
        let gateways = self.policies_of_target.range(first..).take_while(|(target, _)| target.starts_with("gateway "));
        gateways.flat_map(|(target, _)| self.policies(target)).find_map(|p| match p.spec.as_ref()?.kind.as_ref()? {
            v1::policy_spec::Kind::BackendClientCertificate(certificate) => Some(certificate),
            _ => None,
        })
    }

    pub(super) fn listeners_of_gateway(&self, gateway: &str) -> impl Iterator<Item = Arc<str>> {
        keys(&self.listeners_of_gateway, gateway)
    }

    pub(super) fn listeners_of_bind(&self, key: &str) -> impl Iterator<Item = Arc<str>> {
        keys(&self.listeners_of_bind, key)
    }
}

fn keys(sets: &Sets, of: &str) -> impl Iterator<Item = Arc<str>> + use<> {
    sets.get(of).cloned().unwrap_or_default().into_iter()
}

/// Keys of the backends that an MCP backend's targets stand on.
pub(super) fn backends_below(backend: &v1::Backend) -> impl Iterator<Item = &str> {
    let targets = match &backend.kind {
        Some(v1::backend::Kind::Mcp(mcp)) => mcp.targets.as_slice(),
        _ => &[],
    };
    targets.iter().filter_map(|t| match &t.transport {
        Some(v1::mcp_target::Transport::Http(http)) => Some(http.backend_key.as_str()),
        _ => None,
    })
}
