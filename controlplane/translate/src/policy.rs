//! TrafficPolicies: what they apply to, and what they become there.
//!
//! A policy that protects and cannot be applied becomes a deny on its targets. That is a function of the objects as they are
//! now, never of what the policy was before.

mod spec;
mod status;
mod targets;

use std::collections::{BTreeMap, BTreeSet};

use agentgateway_crds::{PolicyAncestorRef, TargetRef, TargetSelector, TrafficPolicy};
use agentgateway_proto::resource::Resource;
use agentgateway_proto::{key, v1};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Name;
use crate::conditions::Verdict;
use crate::object::{ObjectKind, Unreadable};
use crate::unit::{Items, items};
use crate::view::View;
use spec::Scope;
use targets::Resolved;

pub(crate) use status::{Entry, ancestor, status};

/// What a policy became.
#[derive(Debug, Default)]
pub(crate) struct PolicyState {
    /// What each gateway gets of it.
    pub(crate) shares: BTreeMap<Name, Items>,
    /// What its status says, by ancestor.
    pub(crate) ancestors: BTreeMap<PolicyAncestorRef, Ancestor>,
}

/// What a policy's status says of one ancestor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ancestor {
    /// The Gateway, where the ancestor is one of ours.
    pub(crate) gateway: Option<Name>,
    /// Why the policy is not in force there as it is written; empty when it is.
    pub(crate) problems: BTreeSet<(&'static str, String)>,
}

/// Translates a policy.
pub(crate) fn translate(policy: &TrafficPolicy, view: &View<'_>) -> PolicyState {
    let spec = &policy.spec;
    let refs = spec.target_refs.as_deref().unwrap_or_default();
    let selectors = spec.target_selectors.as_deref().unwrap_or_default();
    translate_as(&Name::of(policy), refs, selectors, &|scope| spec::specs(policy, scope), view)
}

/// Translates a policy that does not fit our types: its targets, as far as they can be read, refuse everything.
pub(crate) fn translate_unreadable(name: &Name, policy: &Unreadable, view: &View<'_>) -> PolicyState {
    let refs: Vec<TargetRef> = readable(&policy.raw, "/spec/targetRefs");
    let selectors: Vec<TargetSelector> = readable(&policy.raw, "/spec/targetSelectors");
    let reason = format!("the object does not fit the types of this release: {}", policy.reason);
    translate_as(name, &refs, &selectors, &|_| spec::refused(name, "spec", &reason), view)
}

/// The items of a list that can be read, each by itself: one of a newer release must not hide the others.
fn readable<T: DeserializeOwned>(raw: &Value, pointer: &str) -> Vec<T> {
    let items = raw.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| T::deserialize(item).ok()).collect()
}

fn translate_as(
    name: &Name,
    refs: &[TargetRef],
    selectors: &[TargetSelector],
    specs: &dyn Fn(Scope) -> Vec<spec::Field>,
    view: &View<'_>,
) -> PolicyState {
    let source = name.to_ref(ObjectKind::TrafficPolicy.kind());
    let mut state = PolicyState::default();
    let mut made: BTreeMap<Name, Vec<Resource>> = BTreeMap::new();
    for resolved in targets::resolve(name, refs, selectors, view) {
        match resolved {
            Resolved::Found { gateways, target, key: target_key, scope } => {
                let fields = specs(scope);
                for gateway in gateways {
                    let ancestor = state.ancestor(&gateway);
                    ancestor.problems.extend(fields.iter().filter_map(|f| f.problem.clone()).map(|p| ("Invalid", p)));
                    made.entry(gateway).or_default().extend(fields.iter().map(|field| {
                        Resource::Policy(v1::Policy {
                            key: key::policy(&source, field.name, &target_key),
                            source_kind: source.kind.clone(),
                            source_namespace: source.namespace.clone(),
                            source_name: source.name.clone(),
                            spec: Some(field.spec.clone()),
                            target: Some(target.clone()),
                        })
                    }));
                }
            }
            Resolved::NoSection { gateways, message } => {
                for gateway in gateways {
                    state.ancestor(&gateway).problems.insert(("TargetNotFound", message.clone()));
                }
            }
            Resolved::Missing { reference, message } => {
                state.ancestors.entry(reference).or_default().problems.insert(("TargetNotFound", message));
            }
        }
    }
    state.shares = made.into_iter().map(|(gateway, resources)| (gateway, items(resources))).collect();
    state
}

impl PolicyState {
    fn ancestor(&mut self, gateway: &Name) -> &mut Ancestor {
        let ancestor = self.ancestors.entry(ancestor(gateway)).or_default();
        ancestor.gateway = Some(gateway.clone());
        ancestor
    }

    /// What the status says.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.ancestors.iter().map(|(reference, ancestor)| Entry {
            reference: reference.clone(),
            gateway: ancestor.gateway.clone(),
            verdicts: vec![ancestor.accepted()],
        })
    }
}

impl Ancestor {
    fn accepted(&self) -> Verdict {
        match self.problems.first() {
            None => Verdict::yes("Accepted", "Accepted", "the policy is in force"),
            Some((reason, _)) => {
                let messages: Vec<&str> = self.problems.iter().map(|(_, message)| message.as_str()).collect();
                Verdict::no("Accepted", reason, messages.join("; "))
            }
        }
    }
}
