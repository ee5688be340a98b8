//! Filters of type ExtensionRef: a TrafficPolicy, or a DirectResponse.
//!
//! What a filter names and is not there must not be skipped (Gateway API, `HTTPRouteFilter.extensionRef`): the rule's requests are
//! answered with 500.

use agentgateway_convert::policy as convert;
use agentgateway_crds::GROUP;
use agentgateway_proto::v1;
use agentgateway_types::Path;
use agentgateway_types::policy::DirectResponse;

use super::super::backends::Referrer;
use super::super::rule::{Problem, Rule};
use super::ExtensionRef;
use crate::object::ObjectKind;
use crate::{Name, policy};

impl ExtensionRef {
    pub(super) fn is_response(&self) -> bool {
        self.group == GROUP && self.kind == ObjectKind::DirectResponse.kind()
    }

    fn is_policy(&self) -> bool {
        self.group == GROUP && self.kind == ObjectKind::TrafficPolicy.kind()
    }
}

/// Adds what a filter means to `specs`; `seen` are those before it.
pub(super) fn convert(
    reference: &Option<ExtensionRef>,
    seen: &mut Vec<ExtensionRef>,
    at: &Path,
    referrer: Referrer<'_>,
    rule: &mut Rule,
    specs: &mut Vec<v1::PolicySpec>,
) {
    let at = at.clone().key("extensionRef");
    let Some(reference) = reference else {
        rule.problems.push(Problem::unsupported(format!("{at}: must be set")));
        return;
    };
    if seen.contains(reference) || (reference.is_response() && seen.iter().any(ExtensionRef::is_response)) {
        rule.problems.push(Problem::unsupported(format!("{at}: a second {}", reference.kind)));
        return;
    }
    seen.push(reference.clone());
    let name = Name::new(referrer.name.namespace.clone(), reference.name.clone());
    let found = if reference.is_policy() {
        traffic_policy(&name, &at, referrer, rule, specs)
    } else if reference.is_response() {
        direct_response(&name, &at, referrer, rule, specs)
    } else {
        let can = "only TrafficPolicy and DirectResponse of group gateway.kgateway.dev are";
        let message = format!("{at}: kind {} of group {:?} is not supported, {can}", reference.kind, reference.group);
        rule.unresolved.push(Problem::new("InvalidKind", message));
        rule.broken = true;
        return;
    };
    if !found {
        rule.unresolved.push(Problem::new("FilterNotFound", format!("{at}: {} {name} does not exist", reference.kind)));
        rule.broken = true;
    }
}

fn traffic_policy(
    name: &Name,
    at: &Path,
    referrer: Referrer<'_>,
    rule: &mut Rule,
    specs: &mut Vec<v1::PolicySpec>,
) -> bool {
    let Some(fields) = policy::as_filter(name, referrer.view) else { return false };
    for field in fields {
        // Those that protect refuse all requests then; the others are left out.
        if let Some(problem) = field.problem {
            rule.unresolved.push(Problem::new("InvalidFilter", format!("{at}: TrafficPolicy {name}: {problem}")));
        }
        specs.extend(field.spec);
        rule.used.extend(field.uses);
    }
    true
}

fn direct_response(
    name: &Name,
    at: &Path,
    referrer: Referrer<'_>,
    rule: &mut Rule,
    specs: &mut Vec<v1::PolicySpec>,
) -> bool {
    let Some(response) = referrer.view.direct_response(name) else { return false };
    let spec = &response.spec;
    let config = DirectResponse { status: spec.status, body: spec.body.clone(), headers: spec.headers.clone() };
    match convert::direct_response(&config) {
        Ok(spec) => specs.push(spec),
        Err(error) => {
            rule.problems.push(Problem::unsupported(format!("{at}: DirectResponse {name}: spec.{error}")));
        }
    }
    true
}
