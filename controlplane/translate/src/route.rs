//! HTTPRoutes: to which listeners one attaches, and what its rules become there.

mod attach;
mod filters;
mod parent;
mod rules;
mod status;

use std::collections::{BTreeMap, BTreeSet};

use agentgateway_crds::ParentReference;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::{key, v1};
use gateway_api::apis::experimental::httproutes::HttpRoute;

use crate::Name;
use crate::conditions::Verdict;
use crate::object::ObjectKind;
use crate::unit::{BackendUnit, Items, items};
use crate::view::View;
use attach::Attachment;
use parent::AsParent;
use rules::{Problem, RefProblem, Rule};

pub(crate) use parent::AsStatus;
pub(crate) use status::status;

/// What an HTTPRoute became.
#[derive(Debug, Default)]
pub(crate) struct RouteState {
    /// What each gateway gets of it.
    pub(crate) shares: BTreeMap<Name, Share>,
    /// The parents that are Gateways of ours, in the order of the spec.
    pub(crate) parents: Vec<Parent>,
    /// Names of its rules.
    pub(crate) rule_names: BTreeSet<String>,
}

/// What one gateway gets of a route.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pub(crate) items: Items,
    pub(crate) uses: BTreeSet<BackendUnit>,
    /// Names of the listeners that count the route as attached.
    pub(crate) listeners: BTreeSet<String>,
}

/// A parent, and what its entry in the status says.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    pub(crate) reference: ParentReference,
    pub(crate) gateway: Name,
    pub(crate) verdicts: Vec<Verdict>,
}

/// Translates an HTTPRoute.
pub(crate) fn translate(route: &HttpRoute, view: &View<'_>) -> RouteState {
    let name = Name::of(route);
    let references: Vec<ParentReference> = route.spec.parent_refs.iter().flatten().map(AsParent::as_parent).collect();
    let parents: Vec<_> = ours(&name, &references, view).collect();
    let mut state = RouteState { rule_names: rule_names(route), ..RouteState::default() };
    if parents.is_empty() {
        return state;
    }
    let rules = rules::translate(route, &name, view);
    let on_rules = verdicts_on_rules(&rules);
    let mut served: BTreeMap<Name, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for (reference, gateway) in parents {
        let Some(plan) = view.plan(&gateway) else { continue };
        let attached =
            attach::attach(reference, route.spec.hostnames.as_deref().unwrap_or_default(), &name, &gateway, plan, view);
        let mut verdicts = on_rules.clone();
        let share = state.shares.entry(gateway.clone()).or_default();
        match attached {
            Err((reason, message)) => {
                verdicts.retain(|v| v.condition == "ResolvedRefs");
                verdicts.push(Verdict::no("Accepted", reason, message));
            }
            Ok(attachments) => {
                let accepted = verdicts.iter().any(|v| v.condition == "Accepted" && v.holds);
                let listeners = served.entry(gateway.clone()).or_default();
                for Attachment { listener, hostnames, served } in attachments {
                    if accepted {
                        share.listeners.insert(listener.name.clone());
                    }
                    if served {
                        listeners.insert(listener.key.clone(), hostnames);
                    }
                }
            }
        }
        verdicts.sort_by_key(|v| v.condition);
        state.parents.push(Parent { reference: reference.clone(), gateway, verdicts });
    }
    for (gateway, listeners) in served {
        let share = state.shares.entry(gateway).or_default();
        share.items = resources(route, &name, &rules, &listeners);
        if !share.items.is_empty() {
            share.uses = rules.iter().flat_map(|rule| rule.uses.iter().cloned()).collect();
        }
    }
    state.shares.retain(|_, share| !share.items.is_empty() || !share.listeners.is_empty());
    state
}

/// A route whose newest state does not fit our types: its parents, if they can be read, are told.
pub(crate) fn unreadable_parents(name: &Name, raw: &serde_json::Value, reason: &str, view: &View<'_>) -> Vec<Parent> {
    let references = raw.pointer("/spec/parentRefs").cloned().unwrap_or_default();
    let references: Vec<ParentReference> = serde_json::from_value(references).unwrap_or_default();
    let message = format!("the object does not fit the types of this release and is not used in this form: {reason}");
    let verdict = Verdict::no("Accepted", "UnsupportedValue", message);
    ours(name, &references, view)
        .map(|(reference, gateway)| Parent { reference: reference.clone(), gateway, verdicts: vec![verdict.clone()] })
        .collect()
}

fn ours<'a>(
    route: &'a Name,
    references: &'a [ParentReference],
    view: &'a View<'_>,
) -> impl Iterator<Item = (&'a ParentReference, Name)> {
    references.iter().filter_map(|reference| {
        let group = reference.group.as_deref().unwrap_or(agentgateway_crds::GATEWAY_GROUP);
        let kind = reference.kind.as_deref().unwrap_or("Gateway");
        let namespace = reference.namespace.clone().unwrap_or_else(|| route.namespace.clone());
        let gateway = Name::new(namespace, reference.name.clone());
        let gateway_kind = group == agentgateway_crds::GATEWAY_GROUP && kind == "Gateway";
        (gateway_kind && view.plan(&gateway).is_some()).then_some((reference, gateway))
    })
}

fn rule_names(route: &HttpRoute) -> BTreeSet<String> {
    route.spec.rules.iter().flatten().filter_map(|rule| rule.name.clone()).collect()
}

/// One resource for each match of each rule on each listener.
fn resources(route: &HttpRoute, name: &Name, rules: &[Rule], listeners: &BTreeMap<String, Vec<String>>) -> Items {
    let source = name.to_ref(ObjectKind::HttpRoute.kind());
    let created = route.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let mut made = Vec::new();
    for (listener_key, hostnames) in listeners {
        for rule in rules {
            for (match_index, matched) in &rule.matches {
                made.push(Resource::Route(v1::Route {
                    key: key::route(&source, rule.index, *match_index, listener_key),
                    listener_key: listener_key.clone(),
                    source: Some(source.clone()),
                    rule_index: rule.index,
                    match_index: *match_index,
                    rule_name: rule.name.clone(),
                    hostnames: hostnames.clone(),
                    r#match: Some(matched.clone()),
                    inline_policies: rule.policies.clone(),
                    backends: rule.backends.clone(),
                    created,
                }));
            }
        }
    }
    items(made)
}

/// Accepted, PartiallyInvalid and ResolvedRefs, as far as the rules decide them.
fn verdicts_on_rules(rules: &[Rule]) -> Vec<Verdict> {
    let problems: Vec<&Problem> = rules.iter().flat_map(|rule| &rule.problems).collect();
    let whole = rules.iter().filter(|rule| rule.refused).count();
    let told = |problems: &[&Problem]| problems.iter().map(|p| p.message.as_str()).collect::<Vec<_>>().join("; ");
    let mut verdicts = Vec::new();
    match problems.first() {
        None => verdicts.push(Verdict::yes("Accepted", "Accepted", "the route is valid")),
        Some(first) if whole == rules.len() => {
            verdicts.push(Verdict::no("Accepted", first.reason, told(&problems)));
        }
        Some(first) => {
            verdicts.push(Verdict::yes("Accepted", "Accepted", "the route is valid in part"));
            // The specification wants the message to begin so.
            let message = format!("Dropped Rule: requests get the answer 500 where {}", told(&problems));
            verdicts.push(Verdict::yes("PartiallyInvalid", first.reason, message));
        }
    }
    let unresolved: Vec<&RefProblem> = rules.iter().flat_map(|rule| &rule.unresolved).collect();
    verdicts.push(match unresolved.first() {
        None => Verdict::yes("ResolvedRefs", "ResolvedRefs", "all references are resolved"),
        Some(first) => {
            let messages: Vec<&str> = unresolved.iter().map(|p| p.message.as_str()).collect();
            Verdict::no("ResolvedRefs", first.reason, messages.join("; "))
        }
    });
    verdicts
}

impl RouteState {
    /// Whether policies see the same in both.
    pub(crate) fn looks_like(&self, other: &RouteState) -> bool {
        let gateways = |state: &RouteState| state.parents.iter().map(|p| p.gateway.clone()).collect::<BTreeSet<_>>();
        self.rule_names == other.rule_names && gateways(self) == gateways(other)
    }
}
