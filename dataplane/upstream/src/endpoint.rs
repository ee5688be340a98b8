//! One address of a backend: what all threads share about it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use agentgateway_proto::resource::Version;
use agentgateway_tls::Client;
use dashmap::DashMap;

use crate::balancer::{Permit, Shared};

/// The version of HTTP that is spoken to an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 by prior knowledge, also where the endpoint would choose another.
    Http2,
    /// With TLS what the endpoint chooses of the two; without, HTTP/1.1.
    Negotiated,
}

/// How connections to a backend's endpoints are made.
#[derive(Clone, Debug, Default)]
pub struct Connecting {
    /// What is spoken.
    pub protocol: Protocol,
    /// None: in plaintext.
    pub tls: Option<Arc<Client>>,
    /// Limit of the TCP connect, and by itself of the TLS handshake; None for the usual ones.
    pub connect_timeout: Option<Duration>,
    /// How long connections are kept without a request; None for as long as usual.
    pub idle_timeout: Option<Duration>,
    /// Names of headers are written `Content-Type` over HTTP/1.1, instead of in lower case.
    pub title_case_headers: bool,
}

/// What tells connections apart that are made to one address.
type Settings = (Protocol, Option<Version>, Option<Duration>, Option<Duration>, bool);

impl Connecting {
    fn settings(&self) -> Settings {
        let tls = self.tls.as_ref().map(|tls| tls.identity());
        (self.protocol, tls, self.connect_timeout, self.idle_timeout, self.title_case_headers)
    }
}

impl From<Protocol> for Connecting {
    fn from(protocol: Protocol) -> Self {
        Connecting { protocol, ..Connecting::default() }
    }
}

/// One address of one or more backends. Shared by all threads.
#[derive(Debug)]
pub struct Endpoint {
    /// Names the endpoint in the pools; never used twice.
    pub(crate) id: u64,
    address: SocketAddr,
    connecting: Connecting,
    in_flight: AtomicU32,
    connections: AtomicU32,
    /// Milliseconds since [`epoch`] until which others are preferred.
    avoid_until: AtomicU64,
}

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// Time since the first question about it.
pub(crate) fn since_start() -> Duration {
    epoch().elapsed()
}

fn now_milliseconds() -> u64 {
    u64::try_from(epoch().elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Endpoint {
    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is spoken there.
    pub fn protocol(&self) -> Protocol {
        self.connecting.protocol
    }

    /// How connections to it are encrypted; None when they are not.
    pub(crate) fn tls(&self) -> Option<&Arc<Client>> {
        self.connecting.tls.as_ref()
    }

    pub(crate) fn title_case_headers(&self) -> bool {
        self.connecting.title_case_headers
    }

    pub(crate) fn connect_timeout(&self) -> Option<Duration> {
        self.connecting.connect_timeout
    }

    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        self.connecting.idle_timeout
    }

    /// Whether connections to it are made so.
    pub(crate) fn is_reached_by(&self, connecting: &Connecting) -> bool {
        self.connecting.settings() == connecting.settings()
    }

    /// Requests that wait for an answer or whose answer is still being read, all threads together.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Open connections, all threads together.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn avoid_for(&self, time: Duration) {
        let until = now_milliseconds().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.avoid_until.store(until, Ordering::Relaxed);
    }

    pub(crate) fn connected(&self) {
        // Almost always zero already; a plain load keeps the cache line shared.
        if self.avoid_until.load(Ordering::Relaxed) != 0 {
            self.avoid_until.store(0, Ordering::Relaxed);
        }
    }

    /// Whether it just refused a connection; others are preferred then.
    pub fn is_avoided(&self) -> bool {
        match self.avoid_until.load(Ordering::Relaxed) {
            0 => false,
            until => now_milliseconds() < until,
        }
    }
}

/// Counts a request against its endpoint, and its backend where that has policies about it, for as long as it lives.
#[derive(Debug)]
pub(crate) struct InFlight(pub(crate) Arc<Endpoint>, Option<Permit>);

impl InFlight {
    pub(crate) fn new(endpoint: Arc<Endpoint>, permit: Option<Permit>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(endpoint, permit)
    }

    /// What the backend counts; None where it counts nothing.
    pub(crate) fn shared(&self) -> Option<&Arc<Shared>> {
        self.1.as_ref().map(Permit::shared)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a connection against its endpoint for as long as it lives.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    endpoint: Arc<Endpoint>,
    /// Counts for as long as it is there.
    _permit: Option<Permit>,
}

impl ConnectionSlot {
    /// None when the endpoint has all the connections it may have.
    pub(crate) fn take(endpoint: &Arc<Endpoint>, limit: u32, permit: Option<Permit>) -> Option<Self> {
        endpoint
            .connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1))
            .ok()
            .map(|_| ConnectionSlot { endpoint: Arc::clone(endpoint), _permit: permit })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.endpoint.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What tells endpoints apart: the address, and what decides over a connection to it. A connection that was made under other
/// TLS settings belongs to another endpoint, so no pool gives it out.
type Key = (SocketAddr, Settings);

/// All endpoints of the process by address, so that a change of configuration, or a second backend with the same
/// address, keeps connections and counts.
#[derive(Debug, Default)]
pub struct EndpointRegistry {
    known: DashMap<Key, Weak<Endpoint>>,
    next: AtomicU64,
}

impl EndpointRegistry {
    /// The endpoint with this address, to which connections are made so.
    pub fn get(&self, address: SocketAddr, connecting: &Connecting) -> Arc<Endpoint> {
        let mut slot = self.known.entry((address, connecting.settings())).or_default();
        if let Some(endpoint) = slot.upgrade() {
            return endpoint;
        }
        let endpoint = Arc::new(Endpoint {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            address,
            connecting: connecting.clone(),
            in_flight: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            avoid_until: AtomicU64::new(0),
        });
        *slot = Arc::downgrade(&endpoint);
        endpoint
    }

    /// The endpoint at another port of the same address, to which connections are made as to this one.
    pub fn beside(&self, endpoint: &Endpoint, port: u16) -> Arc<Endpoint> {
        self.get(SocketAddr::new(endpoint.address.ip(), port), &endpoint.connecting)
    }

    /// Forgets addresses that nothing uses any more.
    pub fn sweep(&self) {
        self.known.retain(|_, endpoint| endpoint.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentgateway_proto::v1::BackendTls;

    #[test]
    fn endpoints_are_shared_by_equal_settings_alone() {
        let registry = EndpointRegistry::default();
        let tls = |name: &str| {
            let settings = BackendTls { hostname: name.into(), ..BackendTls::default() };
            let client = Client::compile(&settings, None).expect("a client");
            Connecting { tls: Some(Arc::new(client)), ..Connecting::default() }
        };
        let get = |connecting: &Connecting| registry.get(([10, 0, 0, 1], 443).into(), connecting);
        let all = [get(&Protocol::Http1.into()), get(&Protocol::Http2.into()), get(&tls("a")), get(&tls("b"))];
        for (i, endpoint) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| !Arc::ptr_eq(endpoint, other)));
        }
        assert!(Arc::ptr_eq(&all[2], &get(&tls("a"))));
    }
}
