//! Backend objects: hosts and agents by their addresses, LLM providers, and MCP servers by address or by the labels of their
//! Services.

use std::collections::BTreeSet;

use agentgateway_convert::backend as convert;
use agentgateway_convert::{Error, llm, reserved};
use agentgateway_crds::{Backend, BackendStatus, BackendType, McpSelector, McpTarget};
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1;
use agentgateway_types::Path;
use agentgateway_types::backend::HostPort;
use agentgateway_types::policy::KeyReference;

use crate::Name;
use crate::backend_tls;
use crate::conditions::{Moment, Verdict, merge};
use crate::object::{ObjectKey, ObjectKind};
use crate::selector;
use crate::service::{self, Asked};
use crate::unit::{BackendUnit, Items, Speech, items};
use crate::view::View;

/// Most targets of one MCP backend, those that selectors find included: every listing asks all of them.
const MOST_TARGETS: usize = 128;

/// What a backend became.
#[derive(Debug, Default)]
pub(crate) struct BackendState {
    pub(crate) items: Items,
    /// Backends that this one needs beside it.
    pub(crate) children: BTreeSet<BackendUnit>,
    /// Whether it is an MCP backend.
    pub(crate) mcp: bool,
    /// Whether it is an agent.
    pub(crate) a2a: bool,
    /// Whether HTTP/2 is spoken with it.
    pub(crate) http2: bool,
    /// Why it cannot be used.
    pub(crate) refused: Option<String>,
    /// A service that it needs and that cannot be asked; it is in force all the same.
    pub(crate) unresolved: Option<String>,
    /// What its users should know, although it can be used.
    pub(crate) remark: Option<String>,
}

/// Translates a Backend object.
pub(crate) fn translate(backend: &Backend, view: &View<'_>) -> BackendState {
    let name = Name::of(backend);
    let mcp = backend.spec.backend_type == BackendType::Mcp;
    let made = match backend.spec.backend_type {
        BackendType::Static => translate_static(backend, &name, view),
        BackendType::Mcp => translate_mcp(backend, &name, view),
        BackendType::A2a => translate_a2a(backend, &name, view),
        BackendType::Ai => translate_ai(backend, &name, view),
    };
    let a2a = backend.spec.backend_type == BackendType::A2a;
    made.unwrap_or_else(|refused| BackendState { mcp, a2a, refused: Some(refused), ..BackendState::default() })
}

fn translate_static(backend: &Backend, name: &Name, view: &View<'_>) -> Result<BackendState, String> {
    let config = backend.spec.static_hosts.as_ref().ok_or("spec.static: must be set when type is Static")?;
    for (i, host) in config.hosts.iter().enumerate() {
        check_address(host, Path::of("spec.static.hosts").index(i), view)?;
    }
    let made = convert::static_backend(config, &name.to_ref(ObjectKind::Backend.kind()));
    let mut made = made.map_err(|e| e.within(Path::of("spec.static")).to_string())?;
    made.tls = backend_tls::of(&ObjectKey { kind: ObjectKind::Backend, name: name.clone() }, None, view);
    let http2 = match &made.kind {
        Some(v1::backend::Kind::Host(host)) => host.version() == v1::HttpVersion::H2c,
        _ => false,
    };
    let a2a = made.a2a.is_some();
    Ok(BackendState { items: items([Resource::Backend(made)]), http2, a2a, ..BackendState::default() })
}

fn translate_a2a(backend: &Backend, name: &Name, view: &View<'_>) -> Result<BackendState, String> {
    let config = backend.spec.a2a.as_ref().ok_or("spec.a2a: must be set when type is A2A")?;
    let made = convert::a2a(config, &name.to_ref(ObjectKind::Backend.kind()));
    let mut made = made.map_err(|e| e.within(Path::of("spec.a2a")).to_string())?;
    if let Some(v1::backend::Kind::Host(hosts)) = &made.kind {
        for host in &hosts.hosts {
            let port = u16::try_from(host.port).unwrap_or_default();
            if let Some(reason) = reserved::refuse(&host.host, port, view.settings.allowed) {
                return Err(format!("spec.a2a.host: {reason}"));
            }
        }
    }
    made.tls = backend_tls::of(&ObjectKey { kind: ObjectKind::Backend, name: name.clone() }, None, view);
    Ok(BackendState { items: items([Resource::Backend(made)]), a2a: true, ..BackendState::default() })
}

fn translate_mcp(backend: &Backend, name: &Name, view: &View<'_>) -> Result<BackendState, String> {
    let config = backend.spec.mcp.as_ref().ok_or("spec.mcp: must be set when type is MCP")?;
    let source = name.to_ref(ObjectKind::Backend.kind());
    let (mut targets, mut hosts, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for (i, target) in config.targets.iter().enumerate() {
        let at = || Path::of("spec.mcp.targets").index(i);
        let tls = |host: v1::Backend| {
            let key = ObjectKey { kind: ObjectKind::Backend, name: name.clone() };
            Resource::Backend(v1::Backend { tls: backend_tls::of(&key, Some(&target.name), view), ..host })
        };
        match (&target.static_target, &target.selector, &target.openapi) {
            (Some(config), None, None) => {
                let address = HostPort { host: config.host.clone(), port: config.port, ..HostPort::default() };
                check_address(&address, at().key("static"), view)?;
                let made = convert::static_target(&target.name, config, &source);
                let (mut made, host) = made.map_err(|e| e.within(at().key("static")).to_string())?;
                resilience(&mut made, target).map_err(|e| e.within(at()).to_string())?;
                targets.push(made);
                hosts.extend(host.map(tls));
            }
            (None, None, Some(api)) => {
                let at = || at().key("openapi");
                let address = HostPort { host: api.host.clone(), port: api.port, ..HostPort::default() };
                check_address(&address, at(), view)?;
                let schema = document(&api.schema.config_map_ref, name, view)
                    .map_err(|reason| format!("{}: {reason}", at().join(Path::of("schema.configMapRef"))))?;
                let made =
                    convert::openapi_target(&target.name, &api.host, api.port, api.path.as_deref(), schema, &source);
                let (mut made, host) = made.map_err(|e| e.within(at()).to_string())?;
                resilience(&mut made, target).map_err(|e| e.within(at()).to_string())?;
                targets.push(made);
                hosts.extend(host.map(tls));
            }
            (None, Some(selector), None) => {
                resilience(&mut v1::McpTarget::default(), target).map_err(|e| e.within(at()).to_string())?;
                found.extend(select(selector, name, target, view)?);
            }
            _ => return Err(format!("{}: exactly one of static, selector and openapi must be set", at())),
        }
    }
    let mut state = BackendState { mcp: true, ..BackendState::default() };
    let mut skipped = Vec::new();
    for server in found {
        if targets.len() >= MOST_TARGETS {
            skipped.push(format!("{server}: more than {MOST_TARGETS} targets"));
            continue;
        }
        match server.target(&targets) {
            Ok(target) => {
                state.children.insert(server.unit());
                targets.push(target);
            }
            Err(reason) => skipped.push(format!("{server}: {reason}")),
        }
    }
    if let Some(twice) = first_twice(&targets) {
        return Err(format!("spec.mcp.targets: {twice:?} is the name of two targets"));
    }
    state.remark = match (targets.is_empty(), skipped.is_empty()) {
        (true, true) => Some("no Service fits the selectors".to_owned()),
        (_, false) => Some(format!("left out: {}", skipped.join("; "))),
        (false, true) => None,
    };
    let mcp = Resource::Backend(convert::mcp_backend(targets, config.prefix_mode, config.failure_mode, &source));
    state.items = items(std::iter::once(mcp).chain(hosts));
    Ok(state)
}

fn translate_ai(backend: &Backend, name: &Name, view: &View<'_>) -> Result<BackendState, String> {
    let config = backend.spec.ai.as_ref().ok_or("spec.ai: must be set when type is AI")?;
    let source = name.to_ref(ObjectKind::Backend.kind());
    let secrets = SecretsOf { namespace: &name.namespace, view };
    let mut made = llm::ai_backend(config, &source, &secrets).map_err(|e| e.within(Path::of("spec.ai")).to_string())?;
    let object = ObjectKey { kind: ObjectKind::Backend, name: name.clone() };
    let providers: Vec<(String, String)> = match made.first().and_then(|made| made.kind.as_ref()) {
        Some(v1::backend::Kind::Llm(llm)) => {
            let all = llm.groups.iter().flat_map(|group| &group.providers);
            all.map(|provider| (provider.backend_key.clone(), provider.name.clone())).collect()
        }
        _ => Vec::new(),
    };
    for host in &mut made {
        let Some(v1::backend::Kind::Host(hosts)) = &host.kind else { continue };
        for at in &hosts.hosts {
            let port = u16::try_from(at.port).unwrap_or_default();
            if let Some(reason) = reserved::refuse(&at.host, port, view.settings.allowed) {
                return Err(format!("spec.ai: {reason}"));
            }
        }
        let section = providers.iter().find(|(key, _)| *key == host.key).map(|(_, name)| name.as_str());
        // What a policy says takes the place of the system's authorities.
        if let Some(tls) = backend_tls::of(&object, section, view) {
            host.tls = Some(tls);
        }
    }
    Ok(BackendState { items: items(made.into_iter().map(Resource::Backend)), ..BackendState::default() })
}

/// Secrets of a Backend's namespace.
struct SecretsOf<'v> {
    namespace: &'v str,
    view: &'v View<'v>,
}

impl llm::Secrets for SecretsOf<'_> {
    fn text(&self, name: &str, key: &str) -> Result<String, String> {
        let name = Name::new(self.namespace, name);
        let secret =
            self.view.secret(&name).ok_or_else(|| format!("Secret {name} does not exist or cannot be read"))?;
        let bytes = secret.get(key).ok_or_else(|| format!("Secret {name} has no key {key}"))?;
        String::from_utf8(bytes.to_vec()).map_err(|_| format!("key {key} of Secret {name} is not UTF-8"))
    }
}

/// The OpenAPI document in a ConfigMap of the Backend's namespace.
fn document<'v>(reference: &KeyReference, own: &Name, view: &View<'v>) -> Result<&'v str, String> {
    let name = Name::new(&own.namespace, &reference.name);
    let key = reference.key.as_deref().unwrap_or("openapi.json");
    let map = view.config_map(&name).ok_or_else(|| format!("ConfigMap {name} does not exist or cannot be read"))?;
    let text = map.data.as_ref().and_then(|data| data.get(key));
    text.map(String::as_str).ok_or_else(|| format!("ConfigMap {name} has no key {key}"))
}

fn resilience(made: &mut v1::McpTarget, target: &McpTarget) -> Result<(), Error> {
    convert::resilience(made, target.timeouts.as_ref(), target.circuit_breaker.as_ref())
}

/// A Service's port that a selector found.
struct Found<'t> {
    /// Whose selector found it.
    by: &'t McpTarget,
    service: Name,
    port: u16,
    /// Name of the target, should no other have it.
    name: String,
    path: Option<String>,
    protocol: v1::mcp_http::Protocol,
    problem: Option<String>,
}

impl std::fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "port {} of Service {}", self.port, self.service)
    }
}

impl Found<'_> {
    fn target(&self, others: &[v1::McpTarget]) -> Result<v1::McpTarget, String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        // Services of one name in two namespaces: the second gets its namespace into its name.
        let taken = others.iter().any(|other| other.name == self.name);
        let name = if taken { format!("{}-{}", self.service.namespace, self.name) } else { self.name.clone() };
        let key = self.unit().key();
        let made = convert::target_behind(&name, key, self.path.as_deref(), self.protocol);
        let mut made = made.map_err(|e| e.reason())?;
        resilience(&mut made, self.by).map_err(|e| e.reason())?;
        Ok(made)
    }

    /// The server, behind its port.
    fn unit(&self) -> BackendUnit {
        BackendUnit::Port(self.service.clone(), self.port, Speech::Plain)
    }
}

fn select<'t>(
    selector: &McpSelector,
    own: &Name,
    target: &'t McpTarget,
    view: &View<'_>,
) -> Result<Vec<Found<'t>>, String> {
    for labels in [&selector.namespace, &selector.service].into_iter().flatten() {
        if let Some(operator) = selector::unknown_operator(labels) {
            return Err(format!("target {}: there is no operator {operator} for labels", target.name));
        }
    }
    let in_namespace = |namespace: &str| match &selector.namespace {
        None => namespace == own.namespace,
        Some(wanted) => selector::matches(wanted, &view.any_namespace_labels(namespace)),
    };
    let mut found = Vec::new();
    for (name, service) in view.mcp_services() {
        let labels = service.metadata.labels.clone().unwrap_or_default();
        if !selector.service.as_ref().is_none_or(|s| selector::matches(s, &labels)) || !in_namespace(&name.namespace) {
            continue;
        }
        for (port, protocol) in service::mcp_ports(service) {
            let Ok(number) = u16::try_from(port.port) else { continue };
            let section = port.name.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| number.to_string());
            found.push(Found {
                by: target,
                service: name.clone(),
                port: number,
                name: format!("{}-{section}", name.name),
                path: service::mcp_path(service).map(str::to_owned),
                protocol,
                problem: service::unit(name, number, Asked::Http, view).err().map(|(_, message)| message),
            });
        }
    }
    // Its own namespace first, so that Services of others do not take its names away.
    found.sort_by_key(|f| f.service.namespace != own.namespace);
    Ok(found)
}

fn first_twice(targets: &[v1::McpTarget]) -> Option<&str> {
    let mut seen = BTreeSet::new();
    targets.iter().map(|t| t.name.as_str()).find(|name| !seen.insert(*name))
}

fn check_address(address: &HostPort, at: Path, view: &View<'_>) -> Result<(), String> {
    match reserved::refuse(&address.host, address.port, view.settings.allowed) {
        Some(reason) => Err(format!("{at}: {reason}")),
        None => Ok(()),
    }
}

/// The status of a Backend object that holds `held`. `rejected` is what proxies say of it.
pub(crate) fn status(
    held: &BackendStatus,
    state: Option<&BackendState>,
    unreadable: Option<&str>,
    rejected: &[String],
    given: Option<&BackendStatus>,
    at: Moment<'_>,
) -> BackendStatus {
    let accepted = match (unreadable, state.and_then(|s| s.refused.as_ref()), state.and_then(|s| s.remark.as_ref())) {
        (Some(reason), ..) => {
            let message =
                format!("the object does not fit the types of this release and is not used in this form: {reason}");
            Verdict::no("Accepted", "Invalid", message)
        }
        (None, Some(reason), _) => Verdict::no("Accepted", "Invalid", reason),
        (None, None, Some(remark)) => Verdict::yes("Accepted", "Accepted", format!("Backend accepted; {remark}")),
        (None, None, None) => Verdict::yes("Accepted", "Accepted", "Backend accepted"),
    };
    let mut verdicts = vec![accepted];
    if !rejected.is_empty() {
        verdicts.push(Verdict::no("Programmed", "Invalid", rejected.join("; ")));
    }
    let given = given.map(|g| g.conditions.clone()).unwrap_or_default();
    BackendStatus { conditions: merge(&held.conditions, &given, &verdicts, &["Accepted", "Programmed"], at) }
}
