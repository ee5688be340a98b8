//! The immutable configuration that a request sees: binds, listeners, routes and backends, compiled.

use std::net::SocketAddr;
use std::sync::Arc;

use agentgateway_policy::{Chain, HashPolicies};
use agentgateway_proto::v1::bind::{ProxyProtocol, Transport};
use agentgateway_router::{HostMap, Router};
use agentgateway_telemetry::metrics::{ListenerMetrics, RouteMetrics, StreamMetrics};
use agentgateway_tls::Server;
use agentgateway_upstream::Cluster;
use imbl::shared_ptr::DefaultSharedPtr;

use crate::bind_limits::BindLimits;
use crate::protocol::{Inspector, ProtocolBackend};

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

impl Snapshot {
    /// The backend of plain HTTP or gRPC with this key.
    pub fn cluster(&self, key: &str) -> Option<Arc<Cluster>> {
        match &self.backends.get(key)?.kind {
            BackendKind::Cluster(cluster) => Some(Arc::clone(cluster)),
            BackendKind::Inspected(..) | BackendKind::Protocol(_) | BackendKind::Broken(_) => None,
        }
    }
}

/// A socket and the listeners behind it.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Where to listen.
    pub address: SocketAddr,
    /// TCP or UDP.
    pub transport: Transport,
    /// Whether connections begin with the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// None: none but the proxy's own.
    pub limits: Option<Arc<BindLimits>>,
    /// What is spoken.
    pub listeners: Listeners,
}

/// What is spoken on a bind, and by what its listeners are told apart.
#[derive(Clone, Debug)]
pub enum Listeners {
    /// HTTP in plaintext: by the host of each request.
    Http(HostMap<Arc<Listener>>),
    /// TLS: by the server name that a client asks for.
    Tls(HostMap<TlsListener>),
    /// TCP or UDP: there is at most one.
    Stream(Option<Arc<StreamListener>>),
}

/// A listener of a bind with TLS.
#[derive(Clone, Debug)]
pub enum TlsListener {
    /// HTTP over TLS.
    Https(Arc<Listener>),
    /// Anything over TLS.
    Stream(Arc<StreamListener>),
}

impl TlsListener {
    /// Its identity.
    pub fn key(&self) -> &Arc<str> {
        match self {
            TlsListener::Https(listener) => &listener.key,
            TlsListener::Stream(listener) => &listener.key,
        }
    }

    /// Its TLS; None where connections are passed through.
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            TlsListener::Https(listener) => listener.tls.as_ref(),
            TlsListener::Stream(listener) => listener.tls.as_ref(),
        }
    }
}

/// TLS of a listener, or why it can serve no connection.
pub type Tls = Result<Arc<Server>, Arc<str>>;

/// A compiled listener of HTTP.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its identity.
    pub key: Arc<str>,
    /// "<namespace>/<gateway>.<listener>".
    pub printed: Arc<str>,
    /// None: it is HTTP in plaintext.
    pub tls: Option<Tls>,
    /// Policies of the gateway and of the listener, before routing.
    pub policies: Arc<Chain>,
    /// Its routes.
    pub router: Router<Arc<Route>>,
    /// What it counts.
    pub metrics: Arc<ListenerMetrics>,
}

/// A compiled listener of streams: TCP, UDP, or TLS without HTTP.
#[derive(Debug)]
pub struct StreamListener {
    /// Its identity.
    pub key: Arc<str>,
    /// "<namespace>/<gateway>.<listener>".
    pub printed: Arc<str>,
    /// None: TLS is passed through, and everything else is in plaintext anyway.
    pub tls: Option<Tls>,
    /// A policy refuses everything; why.
    pub denied: Option<Arc<str>>,
    /// By server name; without TLS the one for any.
    pub routes: HostMap<Arc<StreamRoute>>,
    /// What it counts.
    pub metrics: Arc<StreamMetrics>,
}

/// A compiled route of streams.
#[derive(Debug)]
pub struct StreamRoute {
    /// "<namespace>/<route>.<rule>.<listener>".
    pub printed: Arc<str>,
    /// Where streams go, by weight. None: the reference is invalid, this share is refused.
    pub backends: Vec<(u32, Option<Arc<str>>)>,
    /// Sum of the weights.
    pub total_weight: u64,
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
    /// A policy refuses everything, streams included; why.
    pub denied: Option<Arc<str>>,
    /// What of a request decides over its endpoint; None where nothing does.
    pub hash: Option<Box<HashPolicies>>,
    /// What it is.
    pub kind: BackendKind,
}

/// What a backend is.
#[derive(Debug)]
pub enum BackendKind {
    /// Endpoints, for HTTP or any other bytes.
    Cluster(Arc<Cluster>),
    /// Endpoints whose requests and answers are looked at.
    Inspected(Arc<Cluster>, Arc<dyn Inspector>),
    /// A protocol of its own.
    Protocol(Arc<dyn ProtocolBackend>),
    /// It does not compile; requests are answered with 500.
    Broken(Arc<str>),
}

impl BackendKind {
    /// The endpoints to which requests of HTTP go.
    pub(crate) fn http_cluster(&self) -> Option<&Arc<Cluster>> {
        match self {
            BackendKind::Cluster(cluster) | BackendKind::Inspected(cluster, _) => Some(cluster),
            BackendKind::Protocol(_) | BackendKind::Broken(_) => None,
        }
    }
}
