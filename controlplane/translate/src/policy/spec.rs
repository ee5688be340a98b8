//! The fields of a TrafficPolicy as messages.

mod authentication;
mod backend_auth;
mod ext_auth;
mod ext_proc;
mod limits;
mod observability;
mod traffic;
mod transformation;

use agentgateway_convert::{Error, policy as convert};
use agentgateway_crds::TrafficPolicy;
use agentgateway_expression::Expression;
use agentgateway_proto::v1;
use agentgateway_types::Path;
use agentgateway_types::policy::Rbac;

use crate::Name;
use crate::unit::BackendUnit;
use crate::view::View;

pub(crate) use agentgateway_convert::policy::Scope;

/// One field of a policy.
#[derive(Debug)]
pub(crate) struct Field {
    /// As users write it; a part of it where one field becomes several messages.
    pub(crate) name: &'static str,
    /// None: it does not protect and cannot be applied, so it is left out.
    pub(crate) spec: Option<v1::PolicySpec>,
    /// Why it is not in force as it is written.
    pub(crate) problem: Option<String>,
    /// The service that it asks.
    pub(crate) uses: Option<BackendUnit>,
}

impl Field {
    /// Whether a target can have one of it alone. What protects is always in force, beside that of other policies; how the
    /// gateway authenticates to a backend is no protection of it.
    pub(crate) fn is_single(&self) -> bool {
        self.name == BACKEND_AUTH || self.spec.as_ref().is_none_or(|spec| !spec.protects())
    }
}

impl Field {
    /// The field on this target: what is set for endpoints is left out where there are none.
    pub(crate) fn on(self, target: &v1::policy::Target, scope: Scope) -> Field {
        match (target, scope) {
            (v1::policy::Target::BackendKey(_), Scope::Http | Scope::A2aCalls) => self,
            _ => self.elsewhere(),
        }
    }

    /// The field on what has no endpoints.
    pub(crate) fn elsewhere(self) -> Field {
        match &self.spec {
            Some(spec) if spec.is_of_backend() => {
                let problem =
                    format!("{} is left out: it is for Services and Backends of type Static or A2A", self.name);
                Field { spec: None, problem: Some(problem), ..self }
            }
            _ => self,
        }
    }
}

const BACKEND_AUTH: &str = "backendAuth";

/// What a field became.
struct Made {
    spec: v1::PolicySpec,
    uses: Option<BackendUnit>,
    /// What of it is not in force.
    remark: Option<String>,
}

impl From<v1::PolicySpec> for Made {
    fn from(spec: v1::PolicySpec) -> Made {
        Made { spec, uses: None, remark: None }
    }
}

/// The fields of a policy, as they are made.
struct Fields<'a> {
    policy: &'a Name,
    all: Vec<Field>,
}

/// All fields that are set, as they apply in `scope`.
pub(crate) fn specs(policy: &TrafficPolicy, scope: Scope, view: &View<'_>) -> Vec<Field> {
    let (name, spec) = (Name::of(policy), &policy.spec);
    let mut fields = Fields { policy: &name, all: Vec::new() };
    if let Some(config) = &spec.cors {
        fields.unprotected("cors", convert::cors(config).map_err(|e| wrong("spec.cors", e)));
    }
    if let Some(config) = &spec.csrf {
        fields.protected("csrf", convert::csrf(config).map(Made::from).map_err(|e| wrong("spec.csrf", e)));
    }
    if let Some(config) = &spec.jwt_auth {
        fields.protected("jwtAuth", authentication::jwt(config, &name, view));
    }
    if let Some(config) = &spec.basic_auth {
        fields.protected("basicAuth", authentication::basic(config, &name, view));
    }
    if let Some(config) = &spec.api_key {
        fields.protected("apiKey", authentication::api_key(config, &name, view));
    }
    if let Some(config) = &spec.ext_auth {
        fields.protected("extAuth", ext_auth::ext_auth(config, &name, view));
    }
    if let Some(rbac) = &spec.rbac {
        fields.protected("rbac", rbac_spec(rbac, scope).map(Made::from));
    }
    limits::specs(spec, &name, view, &mut fields);
    if let Some(config) = &spec.buffer {
        fields.protected("buffer", convert::buffer(config).map(Made::from).map_err(|e| wrong("spec.buffer", e)));
    }
    if let Some(config) = &spec.ext_proc {
        fields.protected("extProc", ext_proc::ext_proc(config, &name, view));
    }
    if let Some(config) = &spec.transformation {
        fields.protected("transformation", transformation::transformation(config).map(Made::from));
    }
    if let Some(config) = &spec.backend_auth {
        fields.protected(BACKEND_AUTH, backend_auth::backend_auth(config, scope, &name, view).map(Made::from));
    }
    traffic::specs(spec, &mut fields);
    observability::specs(spec, &name, view, &mut fields);
    fields.all
}

/// A policy of which nothing can be applied: one deny.
pub(crate) fn refused(name: &Name, field_name: &'static str, reason: &str) -> Vec<Field> {
    let mut fields = Fields { policy: name, all: Vec::new() };
    fields.protected(field_name, Err(reason.to_owned()));
    fields.all
}

impl Fields<'_> {
    /// A field that protects: where it cannot be applied it refuses everything.
    fn protected(&mut self, name: &'static str, made: Result<Made, String>) {
        self.all.push(match made {
            Ok(Made { spec, uses, remark }) => Field { name, spec: Some(spec), problem: remark, uses },
            Err(problem) => {
                let spec = convert::deny(format!("TrafficPolicy {} {name}", self.policy), problem.clone());
                let problem = Some(format!("all requests are refused: {problem}"));
                Field { name, spec: Some(spec), problem, uses: None }
            }
        });
    }

    /// A field that tells of requests, to another service where it uses one.
    fn observing(&mut self, name: &'static str, made: Result<v1::PolicySpec, String>, uses: Option<BackendUnit>) {
        self.unprotected(name, made);
        if let Some(field) = self.all.last_mut().filter(|field| field.spec.is_some()) {
            field.uses = uses;
        }
    }

    /// A field that does not: where it cannot be applied it is left out.
    fn unprotected(&mut self, name: &'static str, made: Result<v1::PolicySpec, String>) {
        let (spec, problem) = match made {
            Ok(spec) => (Some(spec), None),
            Err(problem) => (None, Some(format!("{name} is left out: {problem}"))),
        };
        self.all.push(Field { name, spec, problem, uses: None });
    }
}

fn rbac_spec(rbac: &Rbac, scope: Scope) -> Result<v1::PolicySpec, String> {
    for (i, source) in rbac.policy.match_expressions.iter().enumerate() {
        let at = format!("spec.rbac.policy.matchExpressions[{i}]");
        let expression = Expression::compile(source).map_err(|error| format!("{at}: {error}"))?;
        let known = match scope {
            Scope::Http => None,
            Scope::McpItems => Some("mcp"),
            Scope::A2aCalls => Some("a2a"),
        };
        if let Some(subject) = expression.subject().filter(|subject| Some(*subject) != known) {
            return Err(format!("{at}: {}", elsewhere(subject)));
        }
    }
    convert::rbac(rbac, scope).map_err(|e| wrong("spec.rbac", e))
}

/// Why a variable is not known where it is used.
fn elsewhere(subject: &str) -> &'static str {
    match subject {
        "mcp" => "mcp is known on a Backend of type MCP only",
        _ => "a2a is known on a Backend of type A2A only",
    }
}

fn wrong(field: &str, error: Error) -> String {
    error.within(Path::of(field)).to_string()
}

fn invalid(field: &'static str, reason: String) -> Error {
    Error::Invalid { path: Path::of(field), reason }
}

/// A text in a Secret of the policy's namespace.
fn secret_text(policy: &Name, name: &str, key: &str, view: &View<'_>) -> Result<String, String> {
    let name = Name::new(policy.namespace.clone(), name);
    let secret = view.secret(&name).ok_or_else(|| format!("Secret {name} does not exist or cannot be read"))?;
    let bytes = secret.get(key).ok_or_else(|| format!("Secret {name} has no key {key}"))?;
    String::from_utf8(bytes.to_vec()).map_err(|_| format!("key {key} of Secret {name} is not UTF-8"))
}

/// A text in a ConfigMap of the policy's namespace.
fn config_map_text(policy: &Name, name: &str, key: &str, view: &View<'_>) -> Result<String, String> {
    let name = Name::new(policy.namespace.clone(), name);
    let map = view.config_map(&name).ok_or_else(|| format!("ConfigMap {name} does not exist or cannot be read"))?;
    let text = map.data.as_ref().and_then(|data| data.get(key));
    text.cloned().ok_or_else(|| format!("ConfigMap {name} has no key {key}"))
}
