//! Compiles dirty resources into the snapshot, from the leaves up: backends, routes, listeners, binds.

pub(super) mod backends;
mod listeners;
mod streams;

use std::sync::Arc;

use agentgateway_policy::{Attached, Chain};
use agentgateway_proto::kind::Kind;
use agentgateway_proto::{key, v1};
use agentgateway_router::{Condition, PathMatch, Precedence, RouteMatch, ValueMatch};

use super::{Compiled, Dirty, Placed, Rejected, Store};
use crate::snapshot::{Route, WeightedBackend};

impl Store {
    pub(super) fn compile(&mut self, dirty: &Dirty) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        let mut reject = |kind: Kind, key: &str, reason: String| {
            tracing::warn!(kind = kind.message(), key, reason, "resource refused");
            rejected.push(Rejected { kind, key: key.to_owned(), reason });
        };
        // Backends that stand on others come second.
        let stands_on_others = |b: &Option<v1::Backend>| {
            use v1::backend::Kind;
            matches!(b.as_ref().and_then(|b| b.kind.as_ref()), Some(Kind::Mcp(_) | Kind::Inference(_)))
        };
        let (over, plain): (Vec<_>, Vec<_>) =
            dirty.backends.iter().map(|key| (key, self.index.backend(key))).partition(|(_, b)| stands_on_others(b));
        for (key, backend) in plain.into_iter().chain(over) {
            if let Err(reason) = self.compile_backend(key, backend.as_ref()) {
                reject(Kind::Backend, key, reason);
            }
        }
        for key in &dirty.listeners {
            if let Err(reason) = self.compile_listener(key, &mut reject) {
                reject(Kind::Listener, key, reason);
            }
        }
        let mut touched = dirty.listeners.clone();
        for key in &dirty.routes {
            touched.extend(self.placed.get(key).map(|p| Arc::clone(&p.listener)));
            if let Err(reason) = self.compile_route(key, &mut reject) {
                reject(Kind::Route, key, reason);
            }
            touched.extend(self.placed.get(key).map(|p| Arc::clone(&p.listener)));
        }
        for (kind, key) in &dirty.stream_routes {
            if let Err(reason) = self.check_stream_route(*kind, key) {
                reject(*kind, key, reason);
            }
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
        let policies: Vec<&v1::Policy> = attached
            .filter(|p| !backends::is_gateway_certificate(p))
            .filter(|p| !(p.spec.as_ref().is_some_and(v1::PolicySpec::is_of_backend) && is_of_backend(p)))
            .collect();
        let mut all: Vec<(&v1::PolicySpec, String, String)> = inline.collect();
        for p in &policies {
            let Some(spec) = &p.spec else { continue };
            all.push((spec, format!("{} {}/{}", p.source_kind, p.source_namespace, p.source_name), p.key.clone()));
        }
        if all.is_empty() {
            return Arc::clone(&self.no_policies);
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

    /// Takes the route out of where it stands, and places it anew when it is still there.
    fn compile_route(&mut self, key: &Arc<str>, reject: &mut dyn FnMut(Kind, &str, String)) -> Result<(), String> {
        let Some(route) = &self.index.route(key) else {
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
                backend: (!backend.backend_key.is_empty())
                    .then(|| self.index.shared_key(Kind::Backend, &backend.backend_key)),
                policies: self.chain(inline, std::iter::empty(), reject),
            });
        }
        let gateway = key::print_object(listener.gateway.as_ref());
        let metrics = self.environment.metrics.listener(&listener.key, &gateway, &listener.name);
        let compiled = Arc::new(Route {
            matched_prefix: match &matched.path {
                PathMatch::Prefix(prefix) => Some(prefix.as_str().into()),
                _ => None,
            },
            metrics: self.environment.metrics.route(key, &metrics, &printed),
            printed,
            policies,
            total_weight: backends.iter().map(|b| u64::from(b.weight)).sum(),
            backends,
        });
        let hostnames = route.hostnames.iter().map(|hostname| hostname.as_str().into());
        let placed = Placed {
            listener: self.index.shared_key(Kind::Listener, &listener.key),
            hostnames: if route.hostnames.is_empty() { Box::new([Box::default()]) } else { hostnames.collect() },
            matched,
            precedence: precedence(route),
            route: compiled,
        };
        self.unplace(key);
        self.place(key, placed)
    }

    fn place(&mut self, key: &Arc<str>, placed: Placed) -> Result<(), String> {
        let Some(Compiled::Http(listener)) = self.listeners.get_mut(&placed.listener) else {
            return Err("the route's listener does not speak HTTP".to_owned());
        };
        let result = placed.hostnames.iter().try_for_each(|hostname| {
            let matched = Arc::clone(&placed.matched);
            listener.router.insert(hostname, matched, placed.precedence.clone(), Arc::clone(&placed.route))
        });
        self.placed.insert(Arc::clone(key), placed);
        result.map_err(|e| e.to_string())
    }

    fn unplace(&mut self, key: &Arc<str>) {
        let Some(placed) = self.placed.remove(key) else { return };
        if let Some(Compiled::Http(listener)) = self.listeners.get_mut(&placed.listener) {
            for hostname in &placed.hostnames {
                listener.router.remove(hostname, &placed.matched.path, &placed.precedence);
            }
        }
    }
}

fn is_of_backend(policy: &v1::Policy) -> bool {
    matches!(policy.target, Some(v1::policy::Target::BackendKey(_)))
}

fn port(port: u32) -> Result<u16, String> {
    u16::try_from(port).ok().filter(|p| *p != 0).ok_or_else(|| format!("{port} is no port"))
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
