//! Compiles dirty resources into the snapshot, from the leaves up: backends, routes, listeners, binds.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use agentgateway_policy::{Attached, Chain};
use agentgateway_proto::kind::Kind;
use agentgateway_proto::{key, v1};
use agentgateway_router::{Condition, PathMatch, Precedence, RouteMatch, ValueMatch};
use agentgateway_upstream::{Cluster, Host, Protocol};
use http::uri::Authority;

use super::{Dirty, Placed, Rejected, Store};
use crate::snapshot::{Backend, BackendKind, Bind, Listener, Route, WeightedBackend};

impl Store {
    pub(super) fn compile(&mut self, dirty: &Dirty) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        let mut reject = |kind: Kind, key: &str, reason: String| {
            tracing::warn!(kind = kind.message(), key, reason, "resource refused");
            rejected.push(Rejected { kind, key: key.to_owned(), reason });
        };
        // Backends with targets on other backends come second.
        let (over, plain): (Vec<_>, Vec<_>) = dirty
            .backends
            .iter()
            .partition(|k| self.index.backend(k).is_some_and(|b| matches!(b.kind, Some(v1::backend::Kind::Mcp(_)))));
        for key in plain.into_iter().chain(over) {
            if let Err(reason) = self.compile_backend(key) {
                reject(Kind::Backend, key, reason);
            }
        }
        for key in &dirty.listeners {
            self.compile_listener(key, &mut reject);
        }
        let mut touched = dirty.listeners.clone();
        for key in &dirty.routes {
            touched.extend(self.placed.get(key).map(|p| Arc::clone(&p.listener)));
            if let Err(reason) = self.compile_route(key, &mut reject) {
                reject(Kind::Route, key, reason);
            }
            touched.extend(self.placed.get(key).map(|p| Arc::clone(&p.listener)));
        }
        for key in &dirty.binds {
            if let Err(reason) = self.compile_bind(key) {
                reject(Kind::Bind, key, reason);
            }
        }
        for key in &touched {
            self.publish_listener(key);
        }
        rejected
    }

    fn chain<'a>(
        &self,
        inline: impl Iterator<Item = (&'a v1::PolicySpec, String, String)>,
        attached: impl Iterator<Item = &'a v1::Policy>,
        reject: &mut dyn FnMut(Kind, &str, String),
    ) -> Arc<Chain> {
        let policies: Vec<&v1::Policy> = attached.collect();
        let mut all: Vec<(&v1::PolicySpec, String, String)> = inline.collect();
        for p in &policies {
            let Some(spec) = &p.spec else { continue };
            all.push((spec, format!("{} {}/{}", p.source_kind, p.source_namespace, p.source_name), p.key.clone()));
        }
        let attached: Vec<Attached<'_>> =
            all.iter().map(|(spec, source, key)| Attached { spec, source, key }).collect();
        let chain = Chain::compile(&attached, &self.environment.policy_state);
        for error in chain.errors() {
            if let Some(policy) = policies.iter().find(|p| p.key == error.key) {
                reject(Kind::Policy, &policy.key, error.to_string());
            } else {
                tracing::warn!(%error, "policy refused");
            }
        }
        Arc::new(chain)
    }

    fn compile_backend(&mut self, key: &Arc<str>) -> Result<(), String> {
        let Some(backend) = self.index.backend(key) else {
            self.snapshot.backends.remove(key);
            return Ok(());
        };
        let source = format!("backend {}", key::print_backend(backend));
        let inline =
            backend.inline_policies.iter().enumerate().map(|(i, spec)| (spec, source.clone(), format!("{key}#{i}")));
        let mut errors = Vec::new();
        let policies = self.chain(inline, self.index.policies_of_backend(key), &mut |_, _, reason| errors.push(reason));
        let kind = self.backend_kind(backend);
        let problem = match &kind {
            BackendKind::Broken(reason) => Some(reason.to_string()),
            _ => errors.pop(),
        };
        self.snapshot.backends.insert(Arc::clone(key), Arc::new(Backend { policies, kind }));
        problem.map_or(Ok(()), Err)
    }

    fn backend_kind(&self, backend: &v1::Backend) -> BackendKind {
        let compiled = match &backend.kind {
            Some(v1::backend::Kind::Host(host)) => self.host_cluster(host).map(|c| BackendKind::Cluster(Arc::new(c))),
            Some(v1::backend::Kind::Service(service)) => {
                self.service_cluster(&backend.key, service).map(|c| BackendKind::Cluster(Arc::new(c)))
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

    fn host_cluster(&self, host: &v1::HostBackend) -> Result<Cluster, String> {
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
        Ok(Cluster::hosts(authority(&name)?, hosts, protocol(host.version), registry))
    }

    fn service_cluster(&self, key: &str, service: &v1::ServiceBackend) -> Result<Cluster, String> {
        let endpoints = self
            .index
            .endpoints(key)
            .map(|e| {
                let ip: IpAddr = e.address.parse().map_err(|_| format!("endpoint address {:?} is no IP", e.address))?;
                let address = SocketAddr::new(ip, port(e.port)?);
                Ok(self.environment.endpoints.get(address, protocol(service.version)))
            })
            .collect::<Result<Vec<_>, String>>()?;
        Ok(Cluster::fixed(authority(&service.authority)?, endpoints))
    }

    fn compile_listener(&mut self, key: &Arc<str>, reject: &mut dyn FnMut(Kind, &str, String)) {
        let Some(listener) = self.index.listener(key) else {
            self.listeners.remove(key);
            return;
        };
        let policies = self.chain(std::iter::empty(), self.index.policies_of_listener(listener), reject);
        let gateway = key::print_object(listener.gateway.as_ref());
        let metrics = self.environment.metrics.listener(key, &gateway, &listener.name);
        let printed: Arc<str> = key::print_listener(listener).into();
        let router = self.listeners.remove(key).map(|l| l.router).unwrap_or_default();
        self.listeners.insert(Arc::clone(key), Listener { printed, policies, router, metrics });
    }

    /// Takes the route out of where it stands, and places it anew when it is still there.
    fn compile_route(&mut self, key: &Arc<str>, reject: &mut dyn FnMut(Kind, &str, String)) -> Result<(), String> {
        let Some(route) = self.index.route(key) else {
            self.unplace(key);
            return Ok(());
        };
        let Some(listener) = self.index.listener(&route.listener_key) else {
            let reason = format!("the route names listener {}, which does not exist", route.listener_key);
            self.unplace(key);
            return Err(reason);
        };
        // Compiled before the old one is taken away: a route that does not compile leaves the last good one in place.
        let matched = Arc::new(route_match(route.r#match.as_ref())?);
        let printed: Arc<str> = key::print_route(route, &listener.name).into();
        let source = route
            .source
            .as_ref()
            .map_or_else(String::new, |s| format!("{} {}/{} rule {}", s.kind, s.namespace, s.name, route.rule_index));
        // Matches of one rule share what its filters keep, so the match is no part of the key.
        let rule_key = format!("{}/{}", key::backend(&route.source.clone().unwrap_or_default()), route.rule_index);
        let inline =
            route.inline_policies.iter().enumerate().map(|(i, spec)| (spec, source.clone(), format!("{rule_key}#{i}")));
        let policies = self.chain(inline, self.index.policies_of_route(route), reject);
        let mut backends = Vec::with_capacity(route.backends.len());
        for (at, backend) in route.backends.iter().enumerate() {
            let inline = backend
                .inline_policies
                .iter()
                .enumerate()
                .map(|(i, spec)| (spec, source.clone(), format!("{rule_key}/{at}#{i}")));
            backends.push(WeightedBackend {
                weight: backend.weight,
                backend: (!backend.backend_key.is_empty()).then(|| backend.backend_key.as_str().into()),
                policies: self.chain(inline, std::iter::empty(), reject),
            });
        }
        let gateway = key::print_object(listener.gateway.as_ref());
        let compiled = Arc::new(Route {
            matched_prefix: match &matched.path {
                PathMatch::Prefix(prefix) => Some(prefix.as_str().into()),
                _ => None,
            },
            metrics: self.environment.metrics.route(key, &gateway, &listener.name, &printed),
            printed,
            policies,
            total_weight: backends.iter().map(|b| u64::from(b.weight)).sum(),
            backends,
        });
        let placed = Placed {
            listener: listener.key.as_str().into(),
            hostnames: if route.hostnames.is_empty() { vec![String::new()] } else { route.hostnames.clone() },
            path: matched.path.clone(),
            precedence: precedence(route),
        };
        self.unplace(key);
        self.place(key, placed, &matched, &compiled)
    }

    fn place(
        &mut self,
        key: &Arc<str>,
        placed: Placed,
        matched: &Arc<RouteMatch>,
        route: &Arc<Route>,
    ) -> Result<(), String> {
        let Some(listener) = self.listeners.get_mut(&placed.listener) else { return Ok(()) };
        let result = placed.hostnames.iter().try_for_each(|hostname| {
            listener.router.insert(hostname, Arc::clone(matched), placed.precedence.clone(), Arc::clone(route))
        });
        self.placed.insert(Arc::clone(key), placed);
        result.map_err(|e| e.to_string())
    }

    fn unplace(&mut self, key: &Arc<str>) {
        let Some(placed) = self.placed.remove(key) else { return };
        if let Some(listener) = self.listeners.get_mut(&placed.listener) {
            for hostname in &placed.hostnames {
                listener.router.remove(hostname, &placed.path, &placed.precedence);
            }
        }
    }

    /// Publishes a changed listener in its bind.
    fn publish_listener(&mut self, key: &Arc<str>) {
        let (Some(listener), Some(compiled)) = (self.index.listener(key), self.listeners.get(key)) else { return };
        if let Some(bind) = self.snapshot.binds.get_mut(listener.bind_key.as_str()) {
            Arc::make_mut(bind).listeners.insert(&listener.hostname, Arc::new(compiled.clone()));
        }
    }

    /// Puts a bind's listeners together; those that are gone go.
    fn compile_bind(&mut self, key: &Arc<str>) -> Result<(), String> {
        let Some(bind) = self.index.bind(key) else {
            self.snapshot.binds.remove(key);
            return Ok(());
        };
        let ip: IpAddr = bind.address.parse().map_err(|_| format!("address {:?} is no IP address", bind.address))?;
        let address = SocketAddr::new(ip, port(bind.port)?);
        let mut listeners = agentgateway_router::HostMap::default();
        let mut twice = None;
        for listener_key in self.index.listeners_of_bind(key) {
            let Some(listener) = self.index.listener(&listener_key) else { continue };
            let Some(compiled) = self.listeners.get(&listener_key) else { continue };
            if listeners.insert(&listener.hostname, Arc::new(compiled.clone())).is_some() {
                twice = Some(format!("two listeners of the bind have host name {:?}", listener.hostname));
            }
        }
        self.snapshot.binds.insert(Arc::clone(key), Arc::new(Bind { address, listeners }));
        twice.map_or(Ok(()), Err)
    }
}

fn port(port: u32) -> Result<u16, String> {
    u16::try_from(port).ok().filter(|p| *p != 0).ok_or_else(|| format!("{port} is no port"))
}

fn authority(text: &str) -> Result<Authority, String> {
    text.parse().map_err(|_| format!("{text:?} is no host and port"))
}

fn protocol(version: i32) -> Protocol {
    match v1::HttpVersion::try_from(version) {
        Ok(v1::HttpVersion::H2c) => Protocol::H2c,
        _ => Protocol::Http1,
    }
}

fn precedence(route: &v1::Route) -> Precedence {
    let source = route.source.clone().unwrap_or_default();
    Precedence {
        created: route.created,
        object: format!("{}/{}", source.namespace, source.name).into(),
        rule: route.rule_index,
        matched: route.match_index,
        kind: source.kind.into(),
    }
}

fn route_match(matched: Option<&v1::RouteMatch>) -> Result<RouteMatch, String> {
    use v1::route_match::Path;
    let matched = matched.cloned().unwrap_or_default();
    let path = match matched.path {
        Some(Path::Exact(p)) => PathMatch::Exact(p),
        Some(Path::Prefix(p)) => PathMatch::Prefix(p),
        Some(Path::Regex(p)) => PathMatch::Regex(p),
        None => PathMatch::Prefix("/".to_owned()),
    };
    path.check().map_err(|e| e.to_string())?;
    let method = match matched.method.as_str() {
        "" => None,
        m => Some(m.parse().map_err(|_| format!("{m:?} is not an HTTP method"))?),
    };
    let headers = matched
        .headers
        .iter()
        .map(|h| {
            let name = h.name.parse().map_err(|_| format!("{:?} is not a header name", h.name))?;
            Ok(Condition { name, value: value_match(h)? })
        })
        .collect::<Result<_, String>>()?;
    let query = matched
        .query
        .iter()
        .map(|q| Ok(Condition { name: q.name.clone(), value: value_match(q)? }))
        .collect::<Result<_, String>>()?;
    Ok(RouteMatch { path, method, headers, query })
}

fn value_match(keyed: &v1::KeyedMatch) -> Result<ValueMatch, String> {
    match &keyed.value {
        Some(v1::keyed_match::Value::Exact(v)) => Ok(ValueMatch::Exact(v.clone())),
        Some(v1::keyed_match::Value::Regex(r)) => ValueMatch::regex(r).map_err(|e| e.to_string()),
        None => Err(format!("the match on {:?} has no value", keyed.name)),
    }
}
