//! The immutable configuration that a request sees: binds, listeners, routes and backends, compiled.

use std::net::SocketAddr;
use std::sync::Arc;

use agentgateway_policy::Chain;
use agentgateway_router::{HostMap, Router};
use agentgateway_telemetry::metrics::{ListenerMetrics, RouteMetrics};
use agentgateway_upstream::Cluster;
use imbl::shared_ptr::DefaultSharedPtr;

use crate::protocol::ProtocolBackend;

/// A persistent map by key.
pub type Map<V> = imbl::GenericHashMap<Arc<str>, V, ahash::RandomState, DefaultSharedPtr>;

/// Everything compiled. A clone shares all.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Hash of the generation this was compiled from; empty before the first.
    pub generation: String,
    /// By key.
    pub binds: Map<Arc<Bind>>,
    /// By key.
    pub backends: Map<Arc<Backend>>,
}

/// A socket and the listeners behind it.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Where to listen.
    pub address: SocketAddr,
    /// By host name.
    pub listeners: HostMap<Arc<Listener>>,
}

/// A compiled listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// "<namespace>/<gateway>.<listener>".
    pub printed: Arc<str>,
    /// Policies of the gateway and of the listener, before routing.
    pub policies: Arc<Chain>,
    /// Its routes.
    pub router: Router<Arc<Route>>,
    /// What it counts.
    pub metrics: Arc<ListenerMetrics>,
}

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    /// "<namespace>/<route>.<rule>.<match>.<listener>".
    pub printed: Arc<str>,
    /// The prefix by which it matches.
    pub matched_prefix: Option<Arc<str>>,
    /// Policies and filters of the route and its rule.
    pub policies: Arc<Chain>,
    /// Where requests go, by weight.
    pub backends: Vec<WeightedBackend>,
    /// Sum of the weights.
    pub total_weight: u64,
    /// What it counts.
    pub metrics: Arc<RouteMetrics>,
}

/// A share of a route's requests.
#[derive(Debug)]
pub struct WeightedBackend {
    /// Its part of the route's total.
    pub weight: u32,
    /// None: the reference is invalid, this share is answered with 500.
    pub backend: Option<Arc<str>>,
    /// Filters at the reference.
    pub policies: Arc<Chain>,
}

/// A compiled backend.
#[derive(Debug)]
pub struct Backend {
    /// Policies attached to it.
    pub policies: Arc<Chain>,
    /// What it is.
    pub kind: BackendKind,
}

/// What a backend is.
#[derive(Debug)]
pub enum BackendKind {
    /// Plain HTTP.
    Cluster(Arc<Cluster>),
    /// A protocol of its own.
    Protocol(Arc<dyn ProtocolBackend>),
    /// It does not compile; requests are answered with 500.
    Broken(Arc<str>),
}
