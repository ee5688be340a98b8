//! Compiles backends: their endpoints, and how connections to them are made.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use agentgateway_policy::HashPolicies;
use agentgateway_proto::{key, v1};
use agentgateway_tls::Client;
use agentgateway_upstream::balancer::{Location, Placed, Settings, Source};
use agentgateway_upstream::{Cluster, Connecting, Host, Protocol};
use http::uri::Authority;

use super::{Store, port};
use crate::snapshot::{Backend, BackendKind};

/// Whether the policy is the certificate that a gateway shows to backends: a setting of connections, not a step of requests.
pub(in crate::store) fn is_gateway_certificate(policy: &v1::Policy) -> bool {
    let spec = policy.spec.as_ref().and_then(|spec| spec.kind.as_ref());
    matches!(spec, Some(v1::policy_spec::Kind::BackendClientCertificate(_)))
        && matches!(policy.target, Some(v1::policy::Target::Gateway(_)))
}

impl Store {
    pub(super) fn compile_backend(&mut self, key: &Arc<str>, backend: Option<&v1::Backend>) -> Result<(), String> {
        let Some(backend) = backend else {
            self.snapshot.backends.remove(key);
            return Ok(());
        };
        let source = format!("backend {}", key::print_backend(backend));
        let steps = backend.inline_policies.iter().filter(|spec| !spec.is_of_backend());
        let inline = steps.enumerate().map(|(i, spec)| (spec, source.clone(), format!("{key}#{i}")));
        let mut errors = Vec::new();
        let policies = self.chain(inline, self.index.policies_of_backend(key), &mut |_, _, reason| errors.push(reason));
        let attached = self.index.policies_of_backend(key).filter_map(|p| p.spec.as_ref());
        let denied = backend.inline_policies.iter().chain(attached).find_map(denied);
        let about_endpoints = || {
            backend.inline_policies.iter().chain(self.index.policies_of_backend(key).filter_map(|p| p.spec.as_ref()))
        };
        let hash = match hash_policies(about_endpoints()) {
            Ok(hash) => hash,
            Err(reason) => {
                errors.push(reason);
                None
            }
        };
        let settings = match Settings::compile(about_endpoints()) {
            Ok(settings) => settings,
            Err(reason) => {
                errors.push(reason);
                None
            }
        };
        let kind = self.backend_kind(backend, settings, connection(about_endpoints()));
        // That its TLS cannot be applied is what the configuration itself says: it is applied by refusing, not rejected.
        let refused = backend.tls.as_ref().is_some_and(|tls| !tls.refused.is_empty());
        let problem = match &kind {
            BackendKind::Broken(reason) if !refused => Some(reason.to_string()),
            _ => errors.pop(),
        };
        self.snapshot.backends.insert(Arc::clone(key), Arc::new(Backend { policies, denied, hash, kind }));
        problem.map_or(Ok(()), Err)
    }

    fn backend_kind(
        &self,
        backend: &v1::Backend,
        settings: Option<Settings>,
        connection: v1::BackendConnection,
    ) -> BackendKind {
        let compiled = match &backend.kind {
            Some(v1::backend::Kind::Host(host)) => self
                .connecting(backend, host.version, connection)
                .and_then(|connecting| self.host_cluster(backend, host, settings, connecting))
                .map(BackendKind::Cluster),
            Some(v1::backend::Kind::Service(service)) => self
                .connecting(backend, service.version, connection)
                .and_then(|connecting| self.service_cluster(backend, service, settings, &connecting))
                .map(BackendKind::Cluster),
            Some(v1::backend::Kind::Mcp(_) | v1::backend::Kind::Inference(_)) => {
                let clusters = |key: &str| match &self.snapshot.backends.get(key)?.kind {
                    BackendKind::Cluster(cluster) => Some(Arc::clone(cluster)),
                    _ => None,
                };
                self.environment.protocols.compile(backend, &clusters).map(BackendKind::Protocol)
            }
            None => Err("the backend is of a kind that this release does not know".to_owned()),
        };
        compiled.unwrap_or_else(|reason| BackendKind::Broken(reason.into()))
    }

    fn host_cluster(
        &self,
        backend: &v1::Backend,
        host: &v1::HostBackend,
        settings: Option<Settings>,
        connecting: Connecting,
    ) -> Result<Arc<Cluster>, String> {
        let hosts: Vec<Host> = host
            .hosts
            .iter()
            .map(|h| Ok(Host { name: h.host.clone(), port: port(h.port)? }))
            .collect::<Result<_, String>>()?;
        let Some(first) = hosts.first() else { return Err("the backend names no host".to_owned()) };
        let name = if first.name.parse::<std::net::Ipv6Addr>().is_ok() {
            format!("[{}]:{}", first.name, first.port)
        } else {
            format!("{}:{}", first.name, first.port)
        };
        let (authority, registry) = (authority(&name)?, Arc::clone(&self.environment.endpoints));
        let prefers_local = settings.as_ref().is_some_and(Settings::prefers_local);
        let level = |h: &v1::HostPort| self.level(prefers_local, h.priority, &h.region, &h.zone);
        let levels: Vec<u32> = host.hosts.iter().map(level).collect();
        let has_levels = levels.iter().any(|level| *level > 0);
        let settings = if has_levels && settings.is_none() { Some(Settings::plain()) } else { settings };
        let Some(settings) = settings else {
            return Ok(Arc::new(Cluster::hosts(authority, hosts, connecting, registry)));
        };
        let hosts = hosts.into_iter().zip(levels).collect();
        let source = Source::Names { hosts, connecting, registry };
        let balancer = self.environment.balancers.get(&backend.key, settings, source);
        Ok(Arc::new(Cluster::balanced(authority, balancer)))
    }

    fn service_cluster(
        &self,
        backend: &v1::Backend,
        service: &v1::ServiceBackend,
        settings: Option<Settings>,
        connecting: &Connecting,
    ) -> Result<Arc<Cluster>, String> {
        let prefers_local = service.prefer_local || settings.as_ref().is_some_and(Settings::prefers_local);
        let has_levels = prefers_local && self.environment.location != Location::default();
        let settings = if has_levels && settings.is_none() { Some(Settings::plain()) } else { settings };
        let endpoints = self
            .index
            .endpoints(&backend.key)
            .map(|e| {
                let ip: IpAddr = e.address.parse().map_err(|_| format!("endpoint address {:?} is no IP", e.address))?;
                let address = SocketAddr::new(ip, port(e.port)?);
                let endpoint = self.environment.endpoints.get(address, connecting);
                Ok(Placed { endpoint, level: self.level(prefers_local, 0, &e.region, &e.zone) })
            })
            .collect::<Result<Vec<_>, String>>()?;
        let authority = authority(&service.authority)?;
        Ok(Arc::new(match settings {
            None => Cluster::fixed(authority, endpoints.into_iter().map(|placed| placed.endpoint).collect()),
            Some(settings) => {
                let source = Source::Fixed(endpoints);
                Cluster::balanced(authority, self.environment.balancers.get(&backend.key, settings, source))
            }
        }))
    }

    /// The level of an endpoint: by priority, and within one by distance where the proxy knows its own place.
    fn level(&self, prefers_local: bool, priority: u32, region: &str, zone: &str) -> u32 {
        const DISTANCES: u32 = 3;
        let here = &self.environment.location;
        let near = prefers_local && *here != Location::default();
        let distance = if near { here.distance(region, zone) } else { 0 };
        priority.saturating_mul(DISTANCES) + distance
    }

    /// TLS that cannot be applied is an error: a backend that is to be reached encrypted is never reached otherwise.
    fn connecting(
        &self,
        backend: &v1::Backend,
        version: i32,
        connection: v1::BackendConnection,
    ) -> Result<Connecting, String> {
        let protocol = match v1::HttpVersion::try_from(version) {
            Ok(v1::HttpVersion::H2c) => Protocol::Http2,
            Ok(v1::HttpVersion::Unspecified) if backend.tls.is_some() => Protocol::Negotiated,
            _ => Protocol::Http1,
        };
        let client = |tls| Client::compile(tls, self.index.gateway_certificate());
        let tls = backend.tls.as_ref().map(client).transpose().map_err(|e| format!("TLS to the backend: {e}"))?;
        Ok(Connecting {
            protocol,
            tls: tls.map(Arc::new),
            connect_timeout: connection.connect_timeout_milliseconds.map(Duration::from_millis),
            idle_timeout: connection.idle_timeout_milliseconds.map(Duration::from_millis),
            title_case_headers: connection.title_case_headers.unwrap_or(false),
        })
    }
}

/// What the load balancer hashes: that of the most specific one.
fn hash_policies<'a>(mut specs: impl Iterator<Item = &'a v1::PolicySpec>) -> Result<Option<Box<HashPolicies>>, String> {
    let balancer = specs.find_map(|spec| match &spec.kind {
        Some(v1::policy_spec::Kind::LoadBalancer(balancer)) => Some(balancer),
        _ => None,
    });
    let compiled = balancer.map(|balancer| HashPolicies::compile(&balancer.hash_policies)).transpose()?;
    Ok(compiled.flatten().map(Box::new))
}

/// How connections are made; the most specific policy that sets a field counts.
fn connection<'a>(specs: impl Iterator<Item = &'a v1::PolicySpec>) -> v1::BackendConnection {
    let mut all = v1::BackendConnection::default();
    for spec in specs {
        let Some(v1::policy_spec::Kind::BackendConnection(spec)) = &spec.kind else { continue };
        all.connect_timeout_milliseconds = all.connect_timeout_milliseconds.or(spec.connect_timeout_milliseconds);
        all.idle_timeout_milliseconds = all.idle_timeout_milliseconds.or(spec.idle_timeout_milliseconds);
        all.title_case_headers = all.title_case_headers.or(spec.title_case_headers);
    }
    all
}

/// Why the policy refuses everything, if it does: what is not HTTP is refused too.
pub(super) fn denied(spec: &v1::PolicySpec) -> Option<Arc<str>> {
    match &spec.kind {
        Some(v1::policy_spec::Kind::Deny(deny)) => Some(format!("{}: {}", deny.policy, deny.reason).into()),
        Some(_) => None,
        None => Some("a policy is of a kind that this release does not know".into()),
    }
}

fn authority(text: &str) -> Result<Authority, String> {
    text.parse().map_err(|_| format!("{text:?} is no host and port"))
}
