//! Keeps the resources and compiles what changed of them into the next snapshot.
//!
//! A change costs what it touches: an endpoint its backend, a route its place in its listener's tables, a policy its
//! targets. Everything else is shared with the snapshot before.

mod compile;
mod index;

use std::collections::BTreeSet;
use std::sync::Arc;

use agentgateway_policy::{Chain, State};
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1;
use agentgateway_router::{Precedence, RouteMatch};
use agentgateway_telemetry::metrics::HttpMetrics;
use agentgateway_upstream::EndpointRegistry;
use agentgateway_upstream::balancer::{Balancers, Location};

use crate::protocol::ProtocolFactory;
use crate::snapshot::{Listener, Route, Snapshot, StreamListener};
use compile::backends;
use index::Index;

/// A resource that could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its kind.
    pub kind: Kind,
    /// Its key.
    pub key: String,
    /// What is wrong, for the operator.
    pub reason: String,
}

/// What compilation needs besides the resources.
#[derive(Clone)]
pub struct Environment {
    /// Endpoints of the process.
    pub endpoints: Arc<EndpointRegistry>,
    /// What is known of the endpoints of backends that have policies about them.
    pub balancers: Arc<Balancers>,
    /// Where this proxy is.
    pub location: Location,
    /// What policies keep over configurations.
    pub policy_state: Arc<State>,
    /// Counters.
    pub metrics: Arc<HttpMetrics>,
    /// Protocol backends.
    pub protocols: Arc<dyn ProtocolFactory>,
}

/// All resources, and the snapshot compiled from them. Has one owner, which alone changes it.
pub struct Store {
    environment: Environment,
    index: Index,
    /// Compiled listeners with their routers, by key; a bind's tables hold copies.
    listeners: ahash::AHashMap<Arc<str>, Compiled>,
    /// Where compiled routes stand in their routers.
    placed: ahash::AHashMap<Arc<str>, Placed>,
    /// The chain of all that have no policy.
    no_policies: Arc<Chain>,
    snapshot: Snapshot,
}

/// A compiled listener.
enum Compiled {
    Http(Listener),
    Stream(Arc<StreamListener>),
}

/// Where a compiled route stands.
struct Placed {
    listener: Arc<str>,
    hostnames: Box<[Box<str>]>,
    matched: Arc<RouteMatch>,
    precedence: Precedence,
    route: Arc<Route>,
}

/// Compiled routes by key, each with the chain of its listener.
pub type Routes = ahash::AHashMap<Arc<str>, (Arc<Chain>, Arc<Route>)>;

/// Keys to compile again.
#[derive(Default)]
struct Dirty {
    backends: BTreeSet<Arc<str>>,
    routes: BTreeSet<Arc<str>>,
    stream_routes: BTreeSet<(Kind, Arc<str>)>,
    listeners: BTreeSet<Arc<str>>,
    binds: BTreeSet<Arc<str>>,
}

impl Store {
    /// An empty store.
    pub fn new(environment: Environment) -> Self {
        Store {
            environment,
            index: Index::default(),
            listeners: ahash::AHashMap::new(),
            placed: ahash::AHashMap::new(),
            no_policies: Arc::default(),
            snapshot: Snapshot::default(),
        }
    }

    /// The snapshot as it is.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// All resources, for dumps: kinds in push order, keys in order.
    pub fn resources(&self) -> Vec<Arc<Resource>> {
        self.index.resources()
    }

    /// All routes as they are compiled, for dumps.
    pub fn routes(&self) -> Routes {
        let compiled = |(key, placed): (&Arc<str>, &Placed)| match self.listeners.get(&placed.listener)? {
            Compiled::Http(listener) => {
                Some((Arc::clone(key), (Arc::clone(&listener.policies), Arc::clone(&placed.route))))
            }
            Compiled::Stream(_) => None,
        };
        self.placed.iter().filter_map(compiled).collect()
    }

    /// Replaces everything by `resources`, as a file that was read anew does.
    pub fn replace(&mut self, resources: Vec<Resource>) -> Vec<Rejected> {
        let keep: ahash::AHashSet<(Kind, String)> = resources.iter().map(|r| (r.kind(), r.key().to_owned())).collect();
        let removed =
            self.index.keys().filter(|(kind, key)| !keep.contains(&(*kind, key.to_string()))).collect::<Vec<_>>();
        let removed = removed.into_iter().map(|(kind, key)| (kind, key.to_string())).collect();
        self.apply(resources, removed)
    }

    /// Applies one generation's changes and compiles them. What does not compile is given back; the rest is in force.
    pub fn apply(&mut self, changed: Vec<Resource>, removed: Vec<(Kind, String)>) -> Vec<Rejected> {
        let mut dirty = Dirty::default();
        for (kind, key) in removed {
            if let Some(old) = self.index.remove(kind, &key) {
                self.mark(&old, &mut dirty);
            }
        }
        for resource in changed {
            if let Resource::Generation(generation) = resource {
                self.snapshot.generation = generation.hash;
                continue;
            }
            if self.index.has(&resource) {
                continue;
            }
            let resource = Arc::new(resource);
            if let Some(old) = self.index.insert(Arc::clone(&resource)) {
                self.mark(&old, &mut dirty);
            }
            self.mark(&resource, &mut dirty);
        }
        self.compile(&dirty)
    }

    /// Marks what a resource, old or new, has a part in.
    fn mark(&self, resource: &Resource, dirty: &mut Dirty) {
        match resource {
            Resource::Endpoint(e) => self.mark_backend(&e.backend_key, dirty),
            Resource::Backend(b) => self.mark_backend(&b.key, dirty),
            Resource::Policy(p) => self.mark_target(p, dirty),
            Resource::Route(r) => {
                dirty.routes.insert(self.index.shared_key(Kind::Route, &r.key));
            }
            Resource::Listener(l) => {
                dirty.listeners.insert(l.key.as_str().into());
                dirty.binds.insert(l.bind_key.as_str().into());
                dirty.routes.extend(self.index.routes_of_listener(&l.key));
                dirty.stream_routes.extend(self.index.stream_routes_of_listener(&l.key));
            }
            // A listener of streams has few routes, and is compiled as a whole.
            Resource::TcpRoute(v1::TcpRoute { key, listener_key, .. }) => {
                dirty.stream_routes.insert((Kind::TcpRoute, key.as_str().into()));
                dirty.listeners.insert(listener_key.as_str().into());
            }
            Resource::UdpRoute(v1::UdpRoute { key, listener_key, .. }) => {
                dirty.stream_routes.insert((Kind::UdpRoute, key.as_str().into()));
                dirty.listeners.insert(listener_key.as_str().into());
            }
            Resource::Bind(b) => {
                dirty.binds.insert(b.key.as_str().into());
            }
            Resource::Generation(_) => {}
        }
    }

    fn mark_backend(&self, key: &str, dirty: &mut Dirty) {
        dirty.backends.insert(self.index.shared_key(Kind::Backend, key));
        dirty.backends.extend(self.index.backends_over(key));
    }

    fn mark_target(&self, policy: &v1::Policy, dirty: &mut Dirty) {
        use v1::policy::Target;
        if backends::is_gateway_certificate(policy) {
            dirty.backends.extend(self.index.backends_with_tls());
            for key in self.index.backends_with_tls() {
                dirty.backends.extend(self.index.backends_over(&key));
            }
            return;
        }
        match &policy.target {
            Some(Target::Gateway(gateway)) => dirty.listeners.extend(self.index.listeners_of_gateway(gateway)),
            Some(Target::ListenerKey(key)) => {
                dirty.listeners.insert(key.as_str().into());
            }
            Some(Target::Route(route)) => dirty.routes.extend(self.index.routes_of_object(route)),
            Some(Target::BackendKey(key)) => self.mark_backend(key, dirty),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
