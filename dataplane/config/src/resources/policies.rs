//! Policies of listeners, routes and backends: converted, and compiled once to find what only the proxy's own code can.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::PathBuf;

use agentgateway_convert::backend;
use agentgateway_convert::policy::{self, Lookup};
use agentgateway_convert::tls as convert_tls;
use agentgateway_expression::Expression;
use agentgateway_policy::{Attached, Chain, HashPolicies, State};
use agentgateway_proto::key;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::v1;
use agentgateway_tls::Client;
use agentgateway_types::Path;
use agentgateway_types::file::{BackendTls, ListenerPolicies, RouteBackend, RoutePolicies};
use agentgateway_types::policy::Authorization;
use agentgateway_upstream::balancer::Settings;
use prost::Message as _;

use super::{Maker, object};
use crate::environment::Environment;

impl Maker<'_, '_> {
    /// A listener's policies are resources of their own, as those of a Gateway are.
    pub(super) fn listener_policies(&mut self, policies: &ListenerPolicies, listener_key: &str, at: &Path) {
        for (i, spec) in self.policies(&policies.clone().into(), at).into_iter().enumerate() {
            // Numbered: several rate limits may stand side by side.
            let field = format!("{}{i}", spec.name());
            self.resources.push(Resource::Policy(v1::Policy {
                key: key::policy(&self.gateway, &field, listener_key),
                source_kind: self.gateway.kind.clone(),
                source_namespace: self.gateway.namespace.clone(),
                source_name: self.gateway.name.clone(),
                target: Some(v1::policy::Target::ListenerKey(listener_key.to_owned())),
                spec: Some(spec),
            }));
        }
    }

    pub(super) fn policies(&mut self, policies: &RoutePolicies, at: &Path) -> Vec<v1::PolicySpec> {
        let mut lookup = InFile { environment: self.environment, files: Vec::new(), backends: Vec::new() };
        let converted = policy::route_policies(policies, &mut lookup);
        let InFile { files, backends, .. } = lookup;
        self.files.extend(files);
        for backend in backends {
            let backend = self.reachable(backend, |_| at.clone());
            if let Some(Err(error)) = backend.tls.as_ref().map(|tls| Client::compile(tls, None)) {
                self.report.error(at, error.to_string());
            }
            if self.policy_backends.insert(backend.key.clone()) {
                self.resources.push(Resource::Backend(backend));
            }
        }
        let specs = match converted {
            Ok(specs) => specs,
            Err(error) => {
                self.convert_error::<()>(at, &error);
                return Vec::new();
            }
        };
        let mut rules_hold = self.rules(policies.authorization.as_ref(), false, &at.clone().key("authorization"));
        rules_hold &= self.rules(policies.mcp_authorization.as_ref(), true, &at.clone().key("mcpAuthorization"));
        if rules_hold {
            for spec in &specs {
                let attached = Attached { spec, source: "", key: "" };
                for error in Chain::compile(&[attached], &State::new()).errors() {
                    self.report.error(&at.clone().key(error.policy), error.reason.clone());
                }
            }
        }
        specs
    }

    /// Adds what is set for the endpoints and connections of a backend.
    pub(super) fn endpoint_policies(
        &mut self,
        mut made: Vec<v1::Backend>,
        config: &RouteBackend,
        at: &Path,
    ) -> Vec<v1::Backend> {
        let at = at.clone().key("policies");
        let converted = config.policies.as_ref().map(policy::backend_policies);
        let specs = match converted.transpose() {
            Ok(specs) => specs.unwrap_or_default(),
            Err(error) => {
                self.convert_error::<()>(&at, &error);
                return made;
            }
        };
        if config.mcp.is_some() {
            if let Some(spec) = specs.first() {
                self.report.error(&at.key(spec.name()), "is for host and static only");
            }
            return made;
        }
        if config.inference.is_some()
            && let Some(spec) =
                specs.iter().find(|spec| matches!(spec.kind, Some(v1::policy_spec::Kind::LoadBalancer(_))))
        {
            self.report.error(&at.key(spec.name()), "the picker of inference chooses its servers");
            return made;
        }
        let Some(backend) = made.first_mut() else { return made };
        for spec in &specs {
            let hashes = match &spec.kind {
                Some(v1::policy_spec::Kind::LoadBalancer(spec)) => HashPolicies::compile(&spec.hash_policies).err(),
                _ => None,
            };
            if let Some(reason) = hashes.or(Settings::compile(std::iter::once(spec)).err()) {
                self.report.error(&at.clone().key(spec.name()), reason);
            }
        }
        backend.inline_policies.extend(specs);
        made
    }

    /// Whether every rule compiles; those that do not are reported where they stand.
    fn rules(&mut self, policy: Option<&Authorization>, on_items: bool, at: &Path) -> bool {
        let mut all = true;
        for (i, rule) in policy.iter().flat_map(|p| &p.rules).enumerate() {
            for (field, text) in [("allow", &rule.allow), ("deny", &rule.deny), ("require", &rule.require)] {
                let Some(text) = text else { continue };
                let message = match Expression::compile(text) {
                    Ok(expression) if expression.uses_mcp() && !on_items => {
                        "mcp is known in mcpAuthorization only".to_owned()
                    }
                    Ok(_) => continue,
                    Err(error) => format!("{error}, in {text:?}"),
                };
                self.report.error(&at.clone().key("rules").index(i).key(field), message);
                all = false;
            }
        }
        all
    }
}

/// What policies name: files, and hosts, which become backends of their own.
struct InFile<'e> {
    environment: &'e Environment,
    files: Vec<PathBuf>,
    backends: Vec<v1::Backend>,
}

impl Lookup for InFile<'_> {
    fn file(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.environment.read(path, &mut self.files)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.environment.variable(name).ok()
    }

    fn expand(&self, text: &str) -> Result<String, String> {
        self.environment.expand(text)
    }

    /// Policies that name one host, and reach it alike, share its backend.
    fn backend(
        &mut self,
        host: v1::HostBackend,
        tls: Option<&BackendTls>,
    ) -> Result<String, agentgateway_convert::Error> {
        let first = host.hosts.first().map(|host| host.host.clone()).unwrap_or_default();
        let read = &mut |path: &str| self.environment.read(path, &mut self.files);
        let tls = tls.map(|tls| convert_tls::backend(tls, &first, read)).transpose();
        let tls = tls.map_err(|error| error.within(Path::of("tls")))?;
        let version = if host.version() == v1::HttpVersion::H2c { "h2c" } else { "http" };
        let hosts: Vec<String> = host.hosts.iter().map(|h| format!("{}:{}", h.host, h.port)).collect();
        let mut name = format!("{version}://{}", hosts.join(","));
        if let Some(tls) = &tls {
            let mut hasher = DefaultHasher::new();
            hasher.write(&tls.encode_to_vec());
            // Writing to a String does not fail.
            let _written = write!(name, "#{:x}", hasher.finish());
        }
        let source = object("Backend", &name);
        let key = key::backend(&source);
        self.backends.push(v1::Backend { tls, ..backend::host(host, &source, key.clone()) });
        Ok(key)
    }
}
