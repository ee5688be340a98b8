//! Turns the file's types into resources.

use std::collections::{BTreeMap, BTreeSet};

use agentgateway_convert::Error;
use agentgateway_expression::Expression;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::snapshot::Snapshot;
use agentgateway_proto::v1::{self, ObjectRef};
use agentgateway_proto::{key, resource};
use agentgateway_router::{PathMatch, ValueMatch};
use agentgateway_types::Path;
use agentgateway_types::file::{Bind, File, Listener, Route, RouteBackend, RoutePolicies};
use agentgateway_types::policy::Authorization;

use crate::keys;

/// Where and why something cannot be used.
type Fault = (Path, String);

/// Kind and namespace of everything that comes from a file.
const KIND: &str = "File";
const NAMESPACE: &str = "default";

fn object(name: &str) -> ObjectRef {
    ObjectRef { kind: KIND.into(), namespace: NAMESPACE.into(), name: name.into() }
}

struct Builder<'a> {
    resources: Vec<Resource>,
    warn: &'a mut dyn FnMut(&Path, &str),
    listener_names: BTreeSet<String>,
    /// Rules so far by route name; routes that share a name are rules of one route.
    rules: BTreeMap<String, u32>,
    listeners: usize,
    routes: u32,
}

/// All resources of a file, ended by the Generation.
pub(crate) fn resources(file: &File, warn: &mut dyn FnMut(&Path, &str)) -> Result<Vec<Resource>, Fault> {
    let mut builder = Builder {
        resources: Vec::new(),
        warn,
        listener_names: BTreeSet::new(),
        rules: BTreeMap::new(),
        listeners: 0,
        routes: 0,
    };
    let mut taken = BTreeSet::new();
    for (i, bind) in file.binds.iter().enumerate() {
        let at = Path::of("binds").index(i);
        if !taken.insert((bind.port, bind.address.clone())) {
            return Err((at.key("port"), format!("port {} is there twice", bind.port)));
        }
        builder.bind(bind, &at)?;
    }
    if file.binds.is_empty() {
        (builder.warn)(&Path::root(), "no binds: the proxy listens nowhere");
    }
    let mut resources = builder.resources;
    let generation = Snapshot::of(&resources).generation().clone();
    let mark = Resource::decode(agentgateway_proto::kind::Kind::Generation, &generation.bytes)
        .map_err(|e: resource::DecodeError| (Path::root(), e.to_string()))?;
    resources.push(mark);
    Ok(resources)
}

impl Builder<'_> {
    fn bind(&mut self, bind: &Bind, at: &Path) -> Result<(), Fault> {
        if bind.port == 0 {
            return Err((at.clone().key("port"), "0 is no port".to_owned()));
        }
        let address = bind.address.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
        if address.parse::<std::net::IpAddr>().is_err() {
            return Err((at.clone().key("address"), format!("{address:?} is no IP address")));
        }
        let gateway = object("default");
        let bind_key = key::bind(&gateway, &address, bind.port.into());
        self.resources.push(Resource::Bind(v1::Bind {
            key: bind_key.clone(),
            gateway: Some(gateway),
            address,
            port: bind.port.into(),
        }));
        if bind.listeners.is_empty() {
            (self.warn)(at, "no listeners: all requests get 404");
        }
        let mut hostnames = BTreeSet::new();
        for (i, listener) in bind.listeners.iter().enumerate() {
            let at = at.clone().key("listeners").index(i);
            let hostname = listener.hostname.clone().unwrap_or_default().to_ascii_lowercase();
            if !hostnames.insert(hostname.clone()) {
                let text = "two listeners of a port must have different host names";
                return Err((at.key("hostname"), text.to_owned()));
            }
            self.listener(listener, &hostname, &bind_key, &at)?;
        }
        Ok(())
    }

    fn listener(&mut self, listener: &Listener, hostname: &str, bind_key: &str, at: &Path) -> Result<(), Fault> {
        let name = listener.name.clone().unwrap_or_else(|| format!("listener{}", self.listeners));
        self.listeners += 1;
        if !self.listener_names.insert(name.clone()) {
            return Err((at.clone().key("name"), format!("{name:?} is the name of two listeners")));
        }
        let gateway = object("default");
        let listener_key = key::listener(&gateway, &name);
        self.resources.push(Resource::Listener(v1::Listener {
            key: listener_key.clone(),
            bind_key: bind_key.to_owned(),
            gateway: Some(gateway.clone()),
            name: name.clone(),
            hostname: hostname.to_owned(),
            protocol: v1::listener::Protocol::Http.into(),
        }));
        if let Some(policies) = &listener.policies {
            let specs = specs(&policies.clone().into(), &at.clone().key("policies"))?;
            for (i, spec) in specs.into_iter().enumerate() {
                self.resources.push(Resource::Policy(v1::Policy {
                    key: key::policy(&gateway, &i.to_string(), &listener_key),
                    source_kind: KIND.into(),
                    source_namespace: NAMESPACE.into(),
                    source_name: name.clone(),
                    target: Some(v1::policy::Target::ListenerKey(listener_key.clone())),
                    spec: Some(spec),
                }));
            }
        }
        for (i, route) in listener.routes.iter().enumerate() {
            self.route(route, &listener_key, &at.clone().key("routes").index(i))?;
        }
        Ok(())
    }

    fn route(&mut self, route: &Route, listener_key: &str, at: &Path) -> Result<(), Fault> {
        let name = route.name.clone().unwrap_or_else(|| format!("route{}", self.routes));
        let order = i64::from(self.routes);
        self.routes += 1;
        let next_rule = self.rules.entry(name.clone()).or_default();
        let rule_index = *next_rule;
        *next_rule += 1;
        let source = object(&name);
        let inline_policies = match &route.policies {
            Some(policies) => specs(policies, &at.clone().key("policies"))?,
            None => Vec::new(),
        };
        let mut backends = Vec::with_capacity(route.backends.len());
        for (i, backend) in route.backends.iter().enumerate() {
            let at = at.clone().key("backends").index(i);
            backends.push(self.backend(backend, &format!("{name}.{rule_index}.{i}"), &at)?);
        }
        let redirects =
            inline_policies.iter().any(|p| matches!(p.kind, Some(v1::policy_spec::Kind::RequestRedirect(_))));
        if backends.is_empty() && !redirects {
            (self.warn)(at, "the route has no backends: its requests get 500");
        }
        let everything = [agentgateway_types::file::RouteMatch::default()];
        let matches = if route.matches.is_empty() { &everything[..] } else { &route.matches };
        for (i, (matched, match_index)) in matches.iter().zip(0_u32..).enumerate() {
            let at = at.clone().key("matches").index(i);
            let matched = agentgateway_convert::matches::route_match(matched).map_err(|e| within(&at, e))?;
            check_patterns(&matched).map_err(|reason| (at, reason))?;
            self.resources.push(Resource::Route(v1::Route {
                key: key::route(&source, rule_index, match_index, listener_key),
                listener_key: listener_key.to_owned(),
                source: Some(source.clone()),
                rule_index,
                match_index,
                rule_name: route.rule_name.clone().unwrap_or_default(),
                hostnames: route.hostnames.clone(),
                r#match: Some(matched),
                inline_policies: inline_policies.clone(),
                backends: backends.clone(),
                // Ties go to the route that is written first.
                created: order,
            }));
        }
        Ok(())
    }

    fn backend(&mut self, backend: &RouteBackend, name: &str, at: &Path) -> Result<v1::RouteBackend, Fault> {
        let source = object(name);
        let inline_policies = match &backend.policies {
            Some(policies) => specs(&policies.clone().into(), &at.clone().key("policies"))?,
            None => Vec::new(),
        };
        let made = match (&backend.host, &backend.mcp) {
            (Some(host), None) => {
                let made = agentgateway_convert::backend::host(host, &source, key::backend(&source));
                vec![made.map_err(|e| within(&at.clone().key("host"), e))?]
            }
            (None, Some(group)) => {
                let made = agentgateway_convert::backend::mcp_group(group, &source);
                made.map_err(|e| within(&at.clone().key("mcp"), e))?
            }
            _ => return Err((at.clone(), "exactly one of host and mcp must be set".to_owned())),
        };
        self.resources.extend(made.into_iter().map(Resource::Backend));
        Ok(v1::RouteBackend { weight: backend.weight, backend_key: key::backend(&source), inline_policies })
    }
}

fn within(at: &Path, error: Error) -> Fault {
    let path = at.clone().join(error.path().clone());
    (path, error.reason())
}

/// The policies of one level, with their rules compiled once to see whether they can be used.
fn specs(policies: &RoutePolicies, at: &Path) -> Result<Vec<v1::PolicySpec>, Fault> {
    let rules = [("authorization", &policies.authorization), ("mcpAuthorization", &policies.mcp_authorization)];
    for (field, rules) in rules {
        if let Some(rules) = rules {
            check_rules(rules, &at.clone().key(field).key("rules"))?;
        }
    }
    agentgateway_convert::policy::route_policies(policies, &mut keys::read).map_err(|e| within(at, e))
}

fn check_rules(rules: &Authorization, at: &Path) -> Result<(), Fault> {
    for (i, rule) in rules.rules.iter().enumerate() {
        for (kind, expression) in [("allow", &rule.allow), ("deny", &rule.deny), ("require", &rule.require)] {
            if let Some(expression) = expression {
                Expression::compile(expression).map_err(|e| (at.clone().index(i).key(kind), e.to_string()))?;
            }
        }
    }
    Ok(())
}

fn check_patterns(matched: &v1::RouteMatch) -> Result<(), String> {
    if let Some(v1::route_match::Path::Regex(pattern)) = &matched.path {
        PathMatch::Regex(pattern.clone()).check().map_err(|e| e.to_string())?;
    }
    for keyed in matched.headers.iter().chain(&matched.query) {
        if let Some(v1::keyed_match::Value::Regex(pattern)) = &keyed.value {
            ValueMatch::regex(pattern).map_err(|e| format!("{}: {e}", keyed.name))?;
        }
    }
    Ok(())
}
