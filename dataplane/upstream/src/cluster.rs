//! A compiled backend: where its endpoints come from, and which one a request gets.

mod other;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use http::uri::Authority;

use crate::balancer::{Balancer, Permit};
use crate::dns::{Resolved, Resolver};
use crate::endpoint::{Connecting, Endpoint, EndpointRegistry};
use crate::error::{Error, Kind};
use crate::random::random_below;
use crate::upstream::Picked;

/// A host name or address with its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name or IP address.
    pub name: String,
    /// Port.
    pub port: u16,
}

/// A retry that a backend's policies forbid.
#[derive(Clone, Copy, Debug)]
pub struct Refused;

/// A compiled backend. Shared by all threads.
#[derive(Debug)]
pub struct Cluster {
    authority: Authority,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// Known addresses: a Service's ready endpoints, or an IP address.
    Fixed(Arc<[Arc<Endpoint>]>),
    /// Names that are resolved when used.
    Names { hosts: Vec<Name>, connecting: Connecting, registry: Arc<EndpointRegistry> },
    /// The backend has policies about its endpoints.
    Balanced(Arc<Balancer>),
}

#[derive(Debug)]
struct Name {
    host: Host,
    resolved: ArcSwapOption<Addresses>,
    refreshing: AtomicBool,
}

#[derive(Debug)]
struct Addresses {
    endpoints: Arc<[Arc<Endpoint>]>,
    valid_until: std::time::Instant,
}

impl Cluster {
    /// Endpoints that the configuration lists.
    pub fn fixed(authority: Authority, endpoints: Vec<Arc<Endpoint>>) -> Self {
        Cluster { authority, source: Source::Fixed(endpoints.into()) }
    }

    /// Hosts by name; names that are IP addresses are never looked up.
    pub fn hosts(
        authority: Authority,
        hosts: Vec<Host>,
        connecting: Connecting,
        registry: Arc<EndpointRegistry>,
    ) -> Self {
        let addresses: Option<Vec<_>> = hosts
            .iter()
            .map(|h| h.name.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|ip| (ip, h.port).into()))
            .collect();
        let source = match addresses {
            Some(all) => Source::Fixed(all.into_iter().map(|a| registry.get(a, &connecting)).collect()),
            None => Source::Names {
                hosts: hosts
                    .into_iter()
                    .map(|host| Name { host, resolved: ArcSwapOption::empty(), refreshing: AtomicBool::new(false) })
                    .collect(),
                connecting,
                registry,
            },
        };
        Cluster { authority, source }
    }

    /// Endpoints that policies decide about.
    pub fn balanced(authority: Authority, balancer: Arc<Balancer>) -> Self {
        Cluster { authority, source: Source::Balanced(balancer) }
    }

    /// Host and port by which the backend calls itself, for requests that the gateway makes of its own.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// An endpoint for the next request; `hash` of the request, where the backend's policy hashes.
    pub(crate) async fn pick(self: &Arc<Self>, resolver: &Resolver, hash: Option<u64>) -> Result<Picked, Error> {
        match &self.source {
            Source::Balanced(balancer) => balancer.pick(hash, &[]).await,
            Source::Fixed(endpoints) => balance(endpoints).cloned().map(Picked::new).ok_or_else(|| {
                Error::new(Kind::NoEndpoints, format!("backend {} has no ready endpoint", self.authority))
            }),
            Source::Names { hosts, .. } => {
                let at = if hosts.len() == 1 { 0 } else { random_below(hosts.len()) };
                let Some(name) = hosts.get(at) else {
                    return Err(Error::new(Kind::NoEndpoints, format!("backend {} names no host", self.authority)));
                };
                let endpoints = Box::pin(self.addresses(at, name, resolver)).await?;
                balance(&endpoints)
                    .cloned()
                    .map(Picked::new)
                    .ok_or_else(|| Error::new(Kind::Resolve, format!("host {} has no address", name.host.name)))
            }
        }
    }

    /// The endpoint with this address, if the backend has it: one that is listed, or was found when a name was looked up.
    pub fn known_endpoint(&self, address: SocketAddr) -> Option<Picked> {
        let among = |all: &[Arc<Endpoint>]| all.iter().find(|e| e.address() == address).cloned().map(Picked::new);
        match &self.source {
            Source::Balanced(balancer) => balancer.known(address),
            Source::Fixed(endpoints) => among(endpoints),
            Source::Names { hosts, .. } => hosts.iter().find_map(|h| among(&h.resolved.load().as_ref()?.endpoints)),
        }
    }

    /// Shows all endpoints that are known at this moment, also those that get no requests.
    pub fn each_endpoint(&self, see: &mut dyn FnMut(Picked)) {
        let mut all = |endpoints: &[Arc<Endpoint>]| endpoints.iter().for_each(|e| see(Picked::new(Arc::clone(e))));
        match &self.source {
            Source::Balanced(balancer) => balancer.each(see),
            Source::Fixed(endpoints) => all(endpoints),
            Source::Names { hosts, .. } => {
                for host in hosts {
                    if let Some(resolved) = &*host.resolved.load() {
                        all(&resolved.endpoints);
                    }
                }
            }
        }
    }

    /// Looks all names up that were not, or whose answer is old. What fails leaves the last answer.
    pub async fn resolve(self: &Arc<Self>, resolver: &Resolver) {
        let Source::Names { hosts, .. } = &self.source else { return };
        for (at, name) in hosts.iter().enumerate() {
            if let Err(error) = self.addresses(at, name, resolver).await {
                tracing::debug!(host = name.host.name, %error, "lookup failed");
            }
        }
    }

    /// Whether the endpoint is the backend's no more: it is not among those that the configuration lists, or connections are made
    /// otherwise now, such as with TLS. An address of a name may be one that its last answer did not hold.
    pub fn has_lost(&self, endpoint: &Endpoint) -> bool {
        match &self.source {
            Source::Balanced(balancer) => !balancer.has(endpoint),
            Source::Fixed(endpoints) => !endpoints.iter().any(|e| e.id == endpoint.id),
            Source::Names { connecting, .. } => !endpoint.is_reached_by(connecting),
        }
    }

    /// Whether a request may be sent again; the permit is kept until that has an answer.
    ///
    /// # Errors
    /// The backend's policies forbid it at this moment.
    pub fn retry(&self) -> Result<Option<Permit>, Refused> {
        match &self.source {
            Source::Balanced(balancer) => balancer.retry().map(Some).ok_or(Refused),
            Source::Fixed(_) | Source::Names { .. } => Ok(None),
        }
    }

    /// The endpoint with this address gave no answer in the time that a request had for it.
    pub fn was_late(&self, address: SocketAddr) {
        if let Source::Balanced(balancer) = &self.source
            && let Some(picked) = balancer.known(address)
        {
            picked.was_late();
        }
    }

    /// The addresses of a name: the last answer, looked up anew beside the request when it is old.
    async fn addresses(
        self: &Arc<Self>,
        at: usize,
        name: &Name,
        resolver: &Resolver,
    ) -> Result<Arc<[Arc<Endpoint>]>, Error> {
        if let Some(known) = name.resolved.load_full() {
            if known.valid_until <= std::time::Instant::now() && !name.refreshing.swap(true, Ordering::Relaxed) {
                let (cluster, lookup) = (Arc::clone(self), resolver.lookup(&name.host.name));
                resolver.background().spawn(async move {
                    let answer = lookup.await;
                    cluster.store(at, answer);
                });
            }
            return Ok(Arc::clone(&known.endpoints));
        }
        let resolved = resolver.lookup(&name.host.name).await?;
        self.store(at, Ok(resolved))
            .ok_or_else(|| Error::new(Kind::Resolve, format!("host {} has no address", name.host.name)))
    }

    /// Keeps an answer. A failed lookup leaves the last answer, which is better than none.
    fn store(&self, at: usize, answer: Result<Resolved, Error>) -> Option<Arc<[Arc<Endpoint>]>> {
        let Source::Names { hosts, connecting, registry } = &self.source else { return None };
        let name = hosts.get(at)?;
        name.refreshing.store(false, Ordering::Relaxed);
        let resolved = match answer {
            Ok(resolved) => resolved,
            Err(error) => {
                tracing::warn!(host = name.host.name, %error, "lookup failed; the last known addresses stay in use");
                return None;
            }
        };
        let endpoints: Arc<[_]> =
            resolved.addresses.iter().map(|ip| registry.get((*ip, name.host.port).into(), connecting)).collect();
        let addresses = Addresses { endpoints: Arc::clone(&endpoints), valid_until: resolved.valid_until };
        name.resolved.store(Some(Arc::new(addresses)));
        Some(endpoints)
    }
}

/// Power of two choices: of two endpoints drawn at random the one with fewer requests in flight. Endpoints that just
/// refused a connection are passed over while there are others.
fn balance(endpoints: &[Arc<Endpoint>]) -> Option<&Arc<Endpoint>> {
    match endpoints {
        [] => None,
        [only] => Some(only),
        _ => {
            let (a, b) = two_below(endpoints.len());
            let (a, b) = (endpoints.get(a)?, endpoints.get(b)?);
            match (a.is_avoided(), b.is_avoided()) {
                (true, false) => Some(b),
                (false, true) => Some(a),
                (true, true) => endpoints.iter().find(|e| !e.is_avoided()).or(Some(a)),
                (false, false) => Some(if b.in_flight() < a.in_flight() { b } else { a }),
            }
        }
    }
}

/// Two different indexes below `n`, which is at least 2.
fn two_below(n: usize) -> (usize, usize) {
    let a = random_below(n);
    let b = random_below(n - 1);
    (a, if b >= a { b + 1 } else { b })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Protocol;

    #[test]
    fn draws_are_different_and_cover_all() {
        let mut seen = [0; 5];
        for _ in 0..1000 {
            let (a, b) = two_below(5);
            assert_ne!(a, b);
            seen[a] += 1;
            seen[b] += 1;
        }
        assert!(seen.iter().all(|n| *n > 200), "{seen:?}");
    }

    #[test]
    fn an_endpoint_is_lost_with_its_address_or_its_settings() {
        let registry = Arc::new(EndpointRegistry::default());
        let authority: Authority = "s.example:80".parse().expect("an authority");
        let address = ([10, 0, 0, 1], 80).into();
        let (plain, other) = (Connecting::default(), Connecting::from(Protocol::Http2));
        let endpoint = registry.get(address, &plain);
        let fixed =
            |connecting: &Connecting| Cluster::fixed(authority.clone(), vec![registry.get(address, connecting)]);
        assert!(!fixed(&plain).has_lost(&endpoint) && fixed(&other).has_lost(&endpoint));
        assert!(Cluster::fixed(authority.clone(), vec![]).has_lost(&endpoint));
        let named = |connecting: Connecting| {
            let hosts = vec![Host { name: "s.example".into(), port: 80 }];
            Cluster::hosts(authority.clone(), hosts, connecting, Arc::clone(&registry))
        };
        assert!(!named(plain).has_lost(&endpoint) && named(other).has_lost(&endpoint));
    }

    #[test]
    fn an_endpoint_that_refused_is_passed_over() {
        let registry = EndpointRegistry::default();
        let all: Vec<_> = (1..4).map(|p| registry.get(([10, 0, 0, 1], p).into(), &Connecting::default())).collect();
        all[0].avoid_for(std::time::Duration::from_secs(60));
        all[1].avoid_for(std::time::Duration::from_secs(60));
        for _ in 0..100 {
            assert_eq!(balance(&all).expect("one").address().port(), 3);
        }
    }
}
