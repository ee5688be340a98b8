//! The rules of an HTTPRoute: matches, filters and backend references.
//!
//! A rule that asks for what is not supported is not left out, which would hand its requests to less specific rules: its
//! requests are answered with 500, and a condition says why.

use std::collections::BTreeSet;

use agentgateway_convert::matches::route_match;
use agentgateway_proto::{key, v1};
use agentgateway_types::Path;
use agentgateway_types::file::{KeyedMatch, PathMatch, RouteMatch};
use gateway_api::apis::experimental::httproutes::{
    HttpRoute, HttpRouteRules, HttpRouteRulesBackendRefs, HttpRouteRulesMatches, HttpRouteRulesMatchesHeadersType,
    HttpRouteRulesMatchesPathType, HttpRouteRulesMatchesQueryParamsType,
};

use super::filters;
use crate::Name;
use crate::object::ObjectKind;
use crate::service;
use crate::unit::BackendUnit;
use crate::view::View;

/// A rule, as all listeners get it.
#[derive(Debug, Default)]
pub(super) struct Rule {
    pub(super) index: u32,
    pub(super) name: String,
    /// The matches that can be used, each with its place in the spec.
    pub(super) matches: Vec<(u32, v1::RouteMatch)>,
    pub(super) policies: Vec<v1::PolicySpec>,
    pub(super) backends: Vec<v1::RouteBackend>,
    pub(super) uses: BTreeSet<BackendUnit>,
    /// Whether all its requests are answered with 500.
    pub(super) refused: bool,
    pub(super) problems: Vec<Problem>,
    pub(super) unresolved: Vec<RefProblem>,
}

/// Something that a rule asks for and that is not to be had: a reason for Accepted or PartiallyInvalid.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// A reference that does not resolve: a reason for ResolvedRefs.
#[derive(Debug)]
pub(super) struct RefProblem {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn unsupported(message: String) -> Problem {
        Problem { reason: "UnsupportedValue", message }
    }
}

/// Translates all rules; a route without rules has one that takes everything and answers 500, as it has no backend.
pub(super) fn translate(route: &HttpRoute, name: &Name, view: &View<'_>) -> Vec<Rule> {
    let empty = [HttpRouteRules::default()];
    let rules = route.spec.rules.as_deref().filter(|rules| !rules.is_empty()).unwrap_or(&empty);
    let index = |i: usize| u32::try_from(i).unwrap_or(u32::MAX);
    rules.iter().enumerate().map(|(i, rule)| translate_rule(index(i), rule, name, view)).collect()
}

fn translate_rule(index: u32, config: &HttpRouteRules, name: &Name, view: &View<'_>) -> Rule {
    let at = || Path::of("spec.rules").index(usize::try_from(index).unwrap_or_default());
    let mut rule = Rule { index, name: config.name.clone().unwrap_or_default(), ..Rule::default() };
    for (field, written) in [
        ("timeouts", config.timeouts.is_some()),
        ("retry", config.retry.is_some()),
        ("sessionPersistence", config.session_persistence.is_some()),
    ] {
        if written {
            rule.problems.push(Problem::unsupported(format!("{} is not supported", at().key(field))));
        }
    }
    translate_matches(&mut rule, config, &at);
    match filters::of_rule(config.filters.as_deref().unwrap_or_default(), &at().key("filters")) {
        Ok(policies) => rule.policies = policies,
        Err(problem) => rule.problems.push(problem),
    }
    rule.refused = !rule.problems.is_empty();
    for (i, reference) in config.backend_refs.iter().flatten().enumerate() {
        let backend = translate_backend(&mut rule, reference, &at().key("backendRefs").index(i), name, view);
        rule.backends.push(backend);
    }
    if rule.refused {
        rule.policies.clear();
        rule.uses.clear();
        rule.backends = vec![v1::RouteBackend { weight: 1, ..v1::RouteBackend::default() }];
    }
    rule
}

fn translate_matches(rule: &mut Rule, config: &HttpRouteRules, at: &dyn Fn() -> Path) {
    let every = [HttpRouteRulesMatches::default()];
    let matches = config.matches.as_deref().filter(|m| !m.is_empty()).unwrap_or(&every);
    for (i, matched) in matches.iter().enumerate() {
        match route_match(&as_user_match(matched)) {
            Ok(converted) => rule.matches.push((u32::try_from(i).unwrap_or(u32::MAX), converted)),
            Err(error) => {
                let message = error.within(at().key("matches").index(i)).to_string();
                rule.problems.push(Problem::unsupported(message));
            }
        }
    }
}

fn as_user_match(matched: &HttpRouteRulesMatches) -> RouteMatch {
    let path = matched.path.as_ref().map(|path| {
        let value = Some(path.value.clone().unwrap_or_else(|| "/".to_owned()));
        match path.r#type {
            Some(HttpRouteRulesMatchesPathType::Exact) => PathMatch { exact: value, ..PathMatch::default() },
            Some(HttpRouteRulesMatchesPathType::RegularExpression) => {
                PathMatch { regex: value, ..PathMatch::default() }
            }
            Some(HttpRouteRulesMatchesPathType::PathPrefix) | None => {
                PathMatch { path_prefix: value, ..PathMatch::default() }
            }
        }
    });
    let keyed = |name: &String, value: &String, regex: bool| KeyedMatch {
        name: name.clone(),
        exact: (!regex).then(|| value.clone()),
        regex: regex.then(|| value.clone()),
    };
    let headers = matched.headers.iter().flatten();
    let query = matched.query_params.iter().flatten();
    RouteMatch {
        path,
        method: matched
            .method
            .as_ref()
            .and_then(|m| serde_json::to_value(m).ok())
            .and_then(|m| m.as_str().map(str::to_owned)),
        headers: headers
            .map(|h| keyed(&h.name, &h.value, h.r#type == Some(HttpRouteRulesMatchesHeadersType::RegularExpression)))
            .collect(),
        query: query
            .map(|q| {
                keyed(&q.name, &q.value, q.r#type == Some(HttpRouteRulesMatchesQueryParamsType::RegularExpression))
            })
            .collect(),
    }
}

fn translate_backend(
    rule: &mut Rule,
    reference: &HttpRouteRulesBackendRefs,
    at: &Path,
    route: &Name,
    view: &View<'_>,
) -> v1::RouteBackend {
    let weight = reference.weight.map_or(1, |weight| u32::try_from(weight).unwrap_or_default());
    let mut backend = v1::RouteBackend { weight, ..v1::RouteBackend::default() };
    match filters::of_backend(reference.filters.as_deref().unwrap_or_default(), &at.clone().key("filters")) {
        Ok(policies) => backend.inline_policies = policies,
        Err(problem) => {
            rule.problems.push(problem);
            return backend;
        }
    }
    match resolve(reference, route, view) {
        Ok((unit, key)) => {
            backend.backend_key = key;
            rule.uses.insert(unit);
        }
        Err((reason, message)) => {
            backend.inline_policies.clear();
            rule.unresolved.push(RefProblem { reason, message: format!("{at}: {message}") });
        }
    }
    backend
}

/// The backend that a reference names and its key, or why it names none.
fn resolve(
    reference: &HttpRouteRulesBackendRefs,
    route: &Name,
    view: &View<'_>,
) -> Result<(BackendUnit, String), service::Problem> {
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or("Service");
    let namespace = reference.namespace.clone().unwrap_or_else(|| route.namespace.clone());
    let name = Name::new(namespace, reference.name.clone());
    let service = group.is_empty() && kind == "Service";
    let backend = group == agentgateway_crds::GROUP && kind == "Backend";
    if !service && !backend {
        let message = format!("kind {kind} of group {group:?} cannot be a backend, only Service and Backend can");
        return Err(("InvalidKind", message));
    }
    if !view.granted(&route.namespace, group, kind, &name) {
        let message = format!("no ReferenceGrant in namespace {} allows {kind} {}", name.namespace, name.name);
        return Err(("RefNotPermitted", message));
    }
    if !service {
        let state = view.backend(&name).ok_or_else(|| ("BackendNotFound", format!("Backend {name} does not exist")))?;
        if let Some(refused) = &state.refused {
            return Err(("InvalidBackend", format!("Backend {name} cannot be used: {refused}")));
        }
        let key = key::backend(&name.to_ref(ObjectKind::Backend.kind()));
        return Ok((BackendUnit::Object(name), key));
    }
    let port = reference.port.and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| ("BackendNotFound", format!("a port of Service {name} must be named")))?;
    let unit = service::unit(&name, port, view)?;
    let key = match &unit {
        BackendUnit::ServiceMcp(..) => service::mcp_backend_key(&name, port),
        BackendUnit::ServicePort(..) | BackendUnit::Object(_) => service::backend_key(&name, port),
    };
    Ok((unit, key))
}
