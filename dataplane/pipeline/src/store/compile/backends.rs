//! Compiles backends: their endpoints, and how connections to them are made.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use agentgateway_proto::{key, v1};
use agentgateway_tls::Client;
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
        let inline =
            backend.inline_policies.iter().enumerate().map(|(i, spec)| (spec, source.clone(), format!("{key}#{i}")));
        let mut errors = Vec::new();
        let policies = self.chain(inline, self.index.policies_of_backend(key), &mut |_, _, reason| errors.push(reason));
        let attached = self.index.policies_of_backend(key).filter_map(|p| p.spec.as_ref());
        let denied = backend.inline_policies.iter().chain(attached).find_map(denied);
        let kind = self.backend_kind(backend);
        // That its TLS cannot be applied is what the configuration itself says: it is applied by refusing, not rejected.
        let refused = backend.tls.as_ref().is_some_and(|tls| !tls.refused.is_empty());
        let problem = match &kind {
            BackendKind::Broken(reason) if !refused => Some(reason.to_string()),
            _ => errors.pop(),
        };
        self.snapshot.backends.insert(Arc::clone(key), Arc::new(Backend { policies, denied, kind }));
        problem.map_or(Ok(()), Err)
    }

    fn backend_kind(&self, backend: &v1::Backend) -> BackendKind {
        let compiled = match &backend.kind {
            Some(v1::backend::Kind::Host(host)) => self.host_cluster(backend, host).map(BackendKind::Cluster),
            Some(v1::backend::Kind::Service(service)) => {
                self.service_cluster(backend, service).map(BackendKind::Cluster)
            }
            Some(v1::backend::Kind::Mcp(_)) => {
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

    fn host_cluster(&self, backend: &v1::Backend, host: &v1::HostBackend) -> Result<Arc<Cluster>, String> {
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
        let registry = Arc::clone(&self.environment.endpoints);
        Ok(Arc::new(Cluster::hosts(authority(&name)?, hosts, self.connecting(backend, host.version)?, registry)))
    }

    fn service_cluster(&self, backend: &v1::Backend, service: &v1::ServiceBackend) -> Result<Arc<Cluster>, String> {
        let connecting = self.connecting(backend, service.version)?;
        let endpoints = self
            .index
            .endpoints(&backend.key)
            .map(|e| {
                let ip: IpAddr = e.address.parse().map_err(|_| format!("endpoint address {:?} is no IP", e.address))?;
                let address = SocketAddr::new(ip, port(e.port)?);
                Ok(self.environment.endpoints.get(address, &connecting))
            })
            .collect::<Result<Vec<_>, String>>()?;
        Ok(Arc::new(Cluster::fixed(authority(&service.authority)?, endpoints)))
    }

    /// TLS that cannot be applied is an error: a backend that is to be reached encrypted is never reached otherwise.
    fn connecting(&self, backend: &v1::Backend, version: i32) -> Result<Connecting, String> {
        let protocol = match v1::HttpVersion::try_from(version) {
            Ok(v1::HttpVersion::H2c) => Protocol::Http2,
            Ok(v1::HttpVersion::Unspecified) if backend.tls.is_some() => Protocol::Negotiated,
            _ => Protocol::Http1,
        };
        let client = |tls| Client::compile(tls, self.index.gateway_certificate());
        let tls = backend.tls.as_ref().map(client).transpose().map_err(|e| format!("TLS to the backend: {e}"))?;
        Ok(Connecting { protocol, tls: tls.map(Arc::new) })
    }
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
