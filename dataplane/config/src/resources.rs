//! From the user-facing types to resources, in the order in which a control plane would push them.

mod ai;
mod listeners;
mod names;
mod policies;
mod streams;
mod tls;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use agentgateway_convert::reserved::{self, Allowed};
use agentgateway_convert::{backend, inference, matches};
use agentgateway_proto::key;
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::snapshot::Snapshot;
use agentgateway_proto::v1::bind::Transport;
use agentgateway_proto::v1::{self, ObjectRef};
use agentgateway_router::{PathMatch, ValueMatch};
use agentgateway_types::Path;
use agentgateway_types::backend::{A2aBackend, HostBackend, StaticBackend};
use agentgateway_types::file::{self, File};
use agentgateway_types::inference::InferenceHosts;
use agentgateway_types::policy::TextSource;

use crate::diagnostic::Report;
use crate::environment::Environment;
use crate::{hostname, process};
use names::Names;

/// What a file is made into.
pub(crate) struct Made {
    pub(crate) resources: Vec<Resource>,
    pub(crate) files: Vec<PathBuf>,
}

/// Makes the resources; what is wrong goes to `report`, and then the result is not to be used.
pub(crate) fn make(file: &File, environment: &Environment, report: &mut Report<'_>) -> Made {
    let mut maker = Maker {
        gateway: object("File", "default"),
        environment,
        own_ports: process::own_ports(&file.config),
        allowed: Allowed {
            loopback: environment.allow_loopback.or(file.config.allow_loopback_backends).unwrap_or(true),
            link_local: environment.allow_link_local.or(file.config.allow_link_local_backends).unwrap_or(false),
        },
        report,
        resources: Vec::new(),
        files: BTreeSet::new(),
        names: Names::default(),
        policy_backends: BTreeSet::new(),
        sockets: HashMap::new(),
    };
    if file.binds.is_empty() {
        maker.report.warning(&Path::root(), "no binds: the proxy listens nowhere");
    }
    for (i, bind) in file.binds.iter().enumerate() {
        maker.bind(bind, &Path::of("binds").index(i));
    }
    let mut resources = maker.resources;
    let files = maker.files.into_iter().collect();
    let rank = |kind: Kind| Kind::PUSH_ORDER.iter().position(|k| *k == kind);
    resources.sort_by(|a, b| (rank(a.kind()), a.key()).cmp(&(rank(b.kind()), b.key())));
    if let Ok(generation) = Resource::decode(Kind::Generation, &Snapshot::of(&resources).generation().bytes) {
        resources.push(generation);
    }
    Made { resources, files }
}

/// Whether the router can use the patterns: its bounds are narrower than those of the language.
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

/// The object that something in the file stands for.
fn object(kind: &str, name: &str) -> ObjectRef {
    ObjectRef { kind: kind.into(), namespace: "default".into(), name: name.into() }
}

struct Maker<'m, 't> {
    gateway: ObjectRef,
    environment: &'m Environment,
    own_ports: Vec<u16>,
    allowed: Allowed,
    report: &'m mut Report<'t>,
    resources: Vec<Resource>,
    files: BTreeSet<PathBuf>,
    names: Names,
    /// Keys of the backends that policies name.
    policy_backends: BTreeSet<String>,
    /// Binds by transport and port, with their addresses.
    sockets: HashMap<(Transport, u16), Vec<(String, Path)>>,
}

impl Maker<'_, '_> {
    fn route(&mut self, route: &file::Route, listener_key: &str, listener_host: &str, at: &Path) {
        let (name, rule) = self.names.route(route.name.as_deref(), route.rule_name.as_deref(), at, self.report);
        let source = object("Route", &name);
        let policies = route.policies.as_ref();
        let inline_policies = policies.map(|p| self.policies(p, &at.clone().key("policies"))).unwrap_or_default();
        let answers = policies.is_some_and(|p| p.request_redirect.is_some() || p.direct_response.is_some());
        if route.backends.is_empty() && !answers {
            self.report.warning(at, format!("{name} has no backends: requests get 500"));
        }
        let mut backends = Vec::with_capacity(route.backends.len());
        for (i, backend) in route.backends.iter().enumerate() {
            let source = object("Backend", &format!("{name}.{rule}.{i}"));
            backends.extend(self.backend(backend, &source, &at.clone().key("backends").index(i)));
        }
        if !route.backends.is_empty() && route.backends.iter().all(|b| b.weight == 0) {
            self.report.warning(at, format!("all backends of {name} have the weight 0: requests get 500"));
        }
        let Some(hostnames) = self.route_hostnames(&route.hostnames, listener_host, at) else { return };
        let every = [file::RouteMatch::default()];
        let conditions = if route.matches.is_empty() { &every[..] } else { &route.matches };
        for (i, condition) in conditions.iter().enumerate() {
            let matched = match matches::route_match(condition) {
                Ok(matched) => matched,
                Err(error) => {
                    self.convert_error::<()>(&at.clone().key("matches").index(i), &error);
                    continue;
                }
            };
            if let Err(message) = check_patterns(&matched) {
                self.report.error(&at.clone().key("matches").index(i), message);
            }
            let index = u32::try_from(i).unwrap_or(u32::MAX);
            let prefix = matches!(matched.path, Some(v1::route_match::Path::Prefix(_)));
            self.check_prefix_replacement(policies, prefix, at);
            self.resources.push(Resource::Route(v1::Route {
                key: key::route(&source, rule, index, listener_key),
                listener_key: listener_key.to_owned(),
                source: Some(source.clone()),
                rule_index: rule,
                match_index: index,
                rule_name: route.rule_name.clone().unwrap_or_default(),
                hostnames: hostnames.clone(),
                r#match: Some(matched),
                inline_policies: inline_policies.clone(),
                backends: backends.clone(),
                // Of equal matches the first in the file wins.
                created: self.names.position(),
            }));
        }
    }

    /// Host names of a route that its listener serves; None where it names some and none of them is served.
    fn route_hostnames(&mut self, named: &[String], listener_host: &str, at: &Path) -> Option<Vec<String>> {
        let mut hostnames = Vec::new();
        for (i, host) in named.iter().enumerate() {
            let at = at.clone().key("hostnames").index(i);
            let host = self.hostname(Some(host), &at);
            match hostname::intersection(listener_host, &host) {
                Some(host) => hostnames.push(host),
                None => self
                    .report
                    .warning(&at, format!("the listener serves {listener_host:?} only, so this never matches")),
            }
        }
        (named.is_empty() || !hostnames.is_empty()).then_some(hostnames)
    }

    fn hostname(&mut self, hostname: Option<&str>, at: &Path) -> String {
        match hostname.map(hostname::check) {
            None => String::new(),
            Some(Ok(name)) => name,
            Some(Err(message)) => {
                self.report.error(at, message);
                String::new()
            }
        }
    }

    /// A prefix can be replaced only where a prefix was matched.
    fn check_prefix_replacement(&mut self, policies: Option<&file::RoutePolicies>, prefix: bool, at: &Path) {
        let Some(policies) = policies.filter(|_| !prefix) else { return };
        let rewrite = policies.url_rewrite.as_ref().and_then(|p| p.path.as_ref());
        let redirect = policies.request_redirect.as_ref().and_then(|p| p.path.as_ref());
        for (field, path) in [("urlRewrite", rewrite), ("requestRedirect", redirect)] {
            if path.is_some_and(|p| p.prefix.is_some()) {
                let at = at.clone().key("policies").key(field).join(Path::of("path.prefix"));
                self.report.error(&at, "a prefix is replaced, but a match of this route has no pathPrefix");
            }
        }
    }

    fn backend(&mut self, config: &file::RouteBackend, source: &ObjectRef, at: &Path) -> Option<v1::RouteBackend> {
        let tls = config.policies.as_ref().and_then(|p| p.backend_tls.as_ref());
        let file::RouteBackend { host, static_hosts, mcp, a2a, ai, inference, .. } = config;
        let made = match (host, static_hosts, mcp, a2a, ai, inference) {
            (Some(host), None, None, None, None, None) => {
                let host = HostBackend { host: host.clone(), app_protocol: config.app_protocol };
                vec![self.host(&host, source, tls, at)?]
            }
            (None, ..) if config.app_protocol.is_some() => {
                self.report.error(&at.clone().key("appProtocol"), "is for host only");
                return None;
            }
            (None, Some(hosts), None, None, None, None) => vec![self.static_hosts(hosts, source, tls, at)?],
            (None, None, Some(group), None, None, None) => self.mcp(group, source, tls, at)?,
            (None, None, None, Some(agent), None, None) => vec![self.a2a(agent, source, tls, at)?],
            (None, None, None, None, Some(groups), None) => self.ai(groups, source, tls, at)?,
            (None, None, None, None, None, Some(pool)) => self.inference(pool, source, tls, at)?,
            _ => {
                self.report.error(at, "exactly one of host, static, mcp, a2a, ai and inference must be set");
                return None;
            }
        };
        let made = self.endpoint_policies(made, config, at);
        self.resources.extend(made.into_iter().map(Resource::Backend));
        let policies = config.policies.clone().map(file::RoutePolicies::from);
        Some(v1::RouteBackend {
            weight: config.weight,
            backend_key: key::backend(source),
            inline_policies: policies.map(|p| self.policies(&p, &at.clone().key("policies"))).unwrap_or_default(),
        })
    }

    /// The backend `source` of one host; what encrypts it stands at the backend's `policies`.
    fn host(
        &mut self,
        config: &HostBackend,
        source: &ObjectRef,
        tls: Option<&file::BackendTls>,
        at: &Path,
    ) -> Option<v1::Backend> {
        let host = match backend::one_host_of(config) {
            Ok(host) => host,
            Err(error) => return self.convert_error(at, &error),
        };
        let made = backend::host(host, source, key::backend(source));
        let mut made = self.reachable(made, |_| at.clone().key("host"));
        self.encrypt(&mut made, tls, &at.clone().join(Path::of("policies.backendTLS")));
        Some(made)
    }

    fn static_hosts(
        &mut self,
        config: &StaticBackend,
        source: &ObjectRef,
        tls: Option<&file::BackendTls>,
        at: &Path,
    ) -> Option<v1::Backend> {
        let made = match backend::static_backend(config, source) {
            Ok(made) => made,
            Err(error) => return self.convert_error(&at.clone().key("static"), &error),
        };
        let mut made = self.reachable(made, |_| at.clone().key("static"));
        self.encrypt(&mut made, tls, &at.clone().join(Path::of("policies.backendTLS")));
        Some(made)
    }

    fn a2a(
        &mut self,
        config: &A2aBackend,
        source: &ObjectRef,
        tls: Option<&file::BackendTls>,
        at: &Path,
    ) -> Option<v1::Backend> {
        let made = match backend::a2a(config, source) {
            Ok(made) => made,
            Err(error) => return self.convert_error(&at.clone().key("a2a"), &error),
        };
        let mut made = self.reachable(made, |_| at.clone().key("a2a"));
        self.encrypt(&mut made, tls, &at.clone().join(Path::of("policies.backendTLS")));
        Some(made)
    }

    /// The pool `source` of model servers, and before it their hosts, to which policies about endpoints belong, and its picker.
    fn inference(
        &mut self,
        pool: &InferenceHosts,
        source: &ObjectRef,
        tls: Option<&file::BackendTls>,
        at: &Path,
    ) -> Option<Vec<v1::Backend>> {
        let inference::HostPool { hosts, picker, pool } = match inference::inference_hosts(pool, source) {
            Ok(made) => made,
            Err(error) => return self.convert_error(&at.clone().key("inference"), &error),
        };
        let mut hosts = self.reachable(hosts, |_| at.clone().key("inference"));
        self.encrypt(&mut hosts, tls, &at.clone().join(Path::of("policies.backendTLS")));
        let place = |_: &str| at.clone().join(Path::of("inference.externalPicker")).key("host");
        let picker = picker.map(|picker| self.reachable(picker, place));
        Some(std::iter::once(hosts).chain(picker).chain([pool]).collect())
    }

    fn mcp(
        &mut self,
        group: &agentgateway_types::backend::McpGroup,
        source: &ObjectRef,
        tls: Option<&file::BackendTls>,
        at: &Path,
    ) -> Option<Vec<v1::Backend>> {
        let for_all = at.clone().join(Path::of("policies.backendTLS"));
        let at = &at.clone().key("mcp");
        let mut group = group.clone();
        for (i, target) in group.targets.iter_mut().enumerate() {
            if let Some(api) = &mut target.openapi {
                let at = at.clone().key("targets").index(i).join(Path::of("openapi.schema"));
                let mut read = Vec::new();
                let text = match (&api.schema.file, &api.schema.inline) {
                    (Some(name), None) => self
                        .environment
                        .read(name, &mut read)
                        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))),
                    (None, Some(inline)) => Ok(inline.clone()),
                    _ => Err("exactly one of file and inline must be set".to_owned()),
                };
                self.files.extend(read);
                match text {
                    Ok(text) => api.schema = TextSource { file: None, inline: Some(text) },
                    Err(message) => {
                        self.report.error(&at, message);
                        return None;
                    }
                }
            }
            let Some(stdio) = &mut target.stdio else { continue };
            for (name, value) in &mut stdio.env {
                match self.environment.expand(value) {
                    Ok(expanded) => *value = expanded,
                    Err(message) => {
                        let at = at.clone().key("targets").index(i).join(Path::of("stdio.env")).key(name.clone());
                        self.report.error(&at, message);
                    }
                }
            }
        }
        let made = match backend::mcp_group(&group, source) {
            Ok(made) => made,
            Err(error) => return self.convert_error(at, &error),
        };
        let place = |key: &str| {
            let of = |t: &agentgateway_types::backend::McpTarget| key::backend_section(source, &t.name) == key;
            let index = group.targets.iter().position(of).unwrap_or_default();
            let field = match group.targets.get(index) {
                Some(target) if target.sse.is_some() => "sse",
                Some(target) if target.openapi.is_some() => "openapi",
                _ => "mcp",
            };
            at.clone().key("targets").index(index).key(field)
        };
        let mut reached: Vec<v1::Backend> = made.into_iter().map(|backend| self.reachable(backend, place)).collect();
        for backend in &mut reached {
            let of = |t: &agentgateway_types::backend::McpTarget| key::backend_section(source, &t.name) == backend.key;
            let Some(index) = group.targets.iter().position(of) else { continue };
            // A target's own takes the place of that of all.
            let own = group.targets.get(index).and_then(|t| t.policies.as_ref()).and_then(|p| p.backend_tls.as_ref());
            let own_at = at.clone().key("targets").index(index).join(Path::of("policies.backendTLS"));
            match own {
                Some(own) => self.encrypt(backend, Some(own), &own_at),
                None => self.encrypt(backend, tls, &for_all),
            }
        }
        for (i, target) in group.targets.iter().enumerate() {
            if target.stdio.is_some() && target.policies.as_ref().is_some_and(|p| p.backend_tls.is_some()) {
                let at = at.clone().key("targets").index(i).join(Path::of("policies.backendTLS"));
                self.report.error(&at, "a server that the proxy starts is not reached over a network");
            }
        }
        Some(reached)
    }

    /// Reports a backend that may not be where it is.
    fn reachable(&mut self, backend: v1::Backend, place: impl Fn(&str) -> Path) -> v1::Backend {
        if let Some(v1::backend::Kind::Host(hosts)) = &backend.kind {
            for host in &hosts.hosts {
                let port = u16::try_from(host.port).unwrap_or_default();
                let at = place(&backend.key);
                if self.own_ports.contains(&port) {
                    let what = "a backend on it would publish the proxy's internals";
                    self.report.error(&at, format!("port {port} is the proxy's own; {what}"));
                } else if let Some(reason) = reserved::refuse(&host.host, port, self.allowed) {
                    // The command line may allow it; the proxy checks again when it connects.
                    self.report.warning(&at, reason);
                }
            }
        }
        backend
    }

    fn convert_error<T>(&mut self, at: &Path, error: &agentgateway_convert::Error) -> Option<T> {
        self.report.error(&at.clone().join(error.path().clone()), error.reason());
        None
    }
}
