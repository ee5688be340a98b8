//! The resources by kind and key, and who refers to whom.
//!
//! Routes, backends and endpoints are many: they are kept encoded, in a third of the memory, and decoded when they are compiled
//! again. The others are few and looked at with each of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use agentgateway_collections::SmallSet;
use agentgateway_proto::key;
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1;
use bytes::Bytes;

type Keys = SmallSet<Arc<str>>;
type Sets = BTreeMap<Arc<str>, Keys>;

/// All resources with their relations.
#[derive(Default)]
pub(super) struct Index {
    all: BTreeMap<(Kind, Arc<str>), Held>,
    endpoints_of_backend: Sets,
    /// MCP backends and pools by the backend that they stand on.
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
    /// Backends to which connections are encrypted.
    tls_backends: Keys,
}

/// A resource.
enum Held {
    Decoded(Arc<Resource>),
    Encoded(Bytes),
}

impl Held {
    fn new(resource: &Arc<Resource>) -> Held {
        match resource.kind() {
            Kind::Endpoint | Kind::Backend | Kind::Route => Held::Encoded(resource.encode()),
            _ => Held::Decoded(Arc::clone(resource)),
        }
    }

    fn is(&self, resource: &Resource) -> bool {
        match self {
            Held::Decoded(held) => **held == *resource,
            Held::Encoded(held) => *held == resource.encode(),
        }
    }

    fn decode(&self, kind: Kind) -> Option<Arc<Resource>> {
        match self {
            Held::Decoded(held) => Some(Arc::clone(held)),
            // What was encoded here decodes.
            Held::Encoded(held) => Resource::decode(kind, held).ok().map(Arc::new),
        }
    }

    fn decoded(&self) -> Option<&Resource> {
        match self {
            Held::Decoded(held) => Some(held),
            Held::Encoded(_) => None,
        }
    }
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
    fn get(&self, kind: Kind, key: &str) -> Option<&Held> {
        self.all.get(&(kind, key.into()))
    }

    /// The key as the index holds it, so that what is compiled from a resource needs no copy.
    pub(super) fn shared_key(&self, kind: Kind, key: &str) -> Arc<str> {
        let key = (kind, Arc::from(key));
        self.all.get_key_value(&key).map_or_else(|| Arc::clone(&key.1), |((_, shared), _)| Arc::clone(shared))
    }

    /// Whether exactly this resource is there.
    pub(super) fn has(&self, resource: &Resource) -> bool {
        self.get(resource.kind(), resource.key()).is_some_and(|held| held.is(resource))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = (Kind, &Arc<str>)> {
        self.all.keys().map(|(kind, key)| (*kind, key))
    }

    pub(super) fn resources(&self) -> Vec<Arc<Resource>> {
        self.all.iter().filter_map(|((kind, _), held)| held.decode(*kind)).collect()
    }

    /// Gives the resource that was there before.
    pub(super) fn insert(&mut self, resource: Arc<Resource>) -> Option<Arc<Resource>> {
        let old = self.remove(resource.kind(), resource.key());
        let key = Arc::from(resource.key());
        self.relate(&key, &resource, true);
        self.all.insert((resource.kind(), key), Held::new(&resource));
        old
    }

    pub(super) fn remove(&mut self, kind: Kind, key: &str) -> Option<Arc<Resource>> {
        let ((_, key), old) = self.all.remove_entry(&(kind, key.into()))?;
        let old = old.decode(kind)?;
        self.relate(&key, &old, false);
        Some(old)
    }

    fn relate(&mut self, key: &Arc<str>, resource: &Resource, add: bool) {
        let set = |sets: &mut Sets, of: &str| {
            if add {
                sets.entry(of.into()).or_default().insert(Arc::clone(key));
            } else if let Some(keys) = sets.get_mut(of) {
                keys.remove(key);
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
                if b.tls.is_some() && add {
                    self.tls_backends.insert(Arc::clone(key));
                } else {
                    self.tls_backends.remove(key);
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

    pub(super) fn backend(&self, key: &str) -> Option<v1::Backend> {
        match Arc::unwrap_or_clone(self.get(Kind::Backend, key)?.decode(Kind::Backend)?) {
            Resource::Backend(b) => Some(b),
            _ => None,
        }
    }

    pub(super) fn route(&self, key: &str) -> Option<v1::Route> {
        match Arc::unwrap_or_clone(self.get(Kind::Route, key)?.decode(Kind::Route)?) {
            Resource::Route(r) => Some(r),
            _ => None,
        }
    }

    pub(super) fn listener(&self, key: &str) -> Option<&v1::Listener> {
        match self.get(Kind::Listener, key)?.decoded()? {
            Resource::Listener(l) => Some(l),
            _ => None,
        }
    }

    pub(super) fn bind(&self, key: &str) -> Option<&v1::Bind> {
        match self.get(Kind::Bind, key)?.decoded()? {
            Resource::Bind(b) => Some(b),
            _ => None,
        }
    }

    pub(super) fn endpoints<'a>(&'a self, backend: &str) -> impl Iterator<Item = v1::Endpoint> + use<'a> {
        keys(&self.endpoints_of_backend, backend).filter_map(|key| {
            match Arc::unwrap_or_clone(self.get(Kind::Endpoint, &key)?.decode(Kind::Endpoint)?) {
                Resource::Endpoint(e) => Some(e),
                _ => None,
            }
        })
    }

    fn policies<'a>(&'a self, target: &str) -> impl Iterator<Item = &'a v1::Policy> + use<'a> {
        keys(&self.policies_of_target, target).filter_map(|key| match self.get(Kind::Policy, &key)?.decoded()? {
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
        keys(&self.tcp_routes_of_listener, listener).filter_map(|key| {
            match self.get(Kind::TcpRoute, &key)?.decoded()? {
                Resource::TcpRoute(r) => Some(r),
                _ => None,
            }
        })
    }

    pub(super) fn udp_routes<'a>(&'a self, listener: &str) -> impl Iterator<Item = &'a v1::UdpRoute> + use<'a> {
        keys(&self.udp_routes_of_listener, listener).filter_map(|key| {
            match self.get(Kind::UdpRoute, &key)?.decoded()? {
                Resource::UdpRoute(r) => Some(r),
                _ => None,
            }
        })
    }

    /// Key of the listener that a TCP or UDP route names.
    pub(super) fn listener_of_stream_route(&self, kind: Kind, key: &str) -> Option<&str> {
        match self.get(kind, key)?.decoded()? {
            Resource::TcpRoute(route) => Some(&route.listener_key),
            Resource::UdpRoute(route) => Some(&route.listener_key),
            _ => None,
        }
    }

    /// TCP and UDP routes of a listener, by kind and key.
    pub(super) fn stream_routes_of_listener(&self, key: &str) -> impl Iterator<Item = (Kind, Arc<str>)> {
        let tcp = keys(&self.tcp_routes_of_listener, key).map(|key| (Kind::TcpRoute, key));
        tcp.chain(keys(&self.udp_routes_of_listener, key).map(|key| (Kind::UdpRoute, key)))
    }

    /// Backends to which connections are encrypted.
    pub(super) fn backends_with_tls(&self) -> impl Iterator<Item = Arc<str>> {
        self.tls_backends.iter().cloned()
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

/// Keys of the backends that an MCP backend's targets, or a pool, stand on.
pub(super) fn backends_below(backend: &v1::Backend) -> impl Iterator<Item = &str> {
    let targets = match &backend.kind {
        Some(v1::backend::Kind::Mcp(mcp)) => mcp.targets.as_slice(),
        _ => &[],
    };
    let pool = match &backend.kind {
        Some(v1::backend::Kind::Inference(pool)) => Some(pool.backend_key.as_str()),
        _ => None,
    };
    let targets = targets.iter().filter_map(|t| match &t.transport {
        Some(v1::mcp_target::Transport::Http(http)) => Some(http.backend_key.as_str()),
        _ => None,
    });
    targets.chain(pool)
}
