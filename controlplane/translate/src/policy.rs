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
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Name;
use crate::conditions::Verdict;
use crate::object::{ObjectKind, Unreadable};
use crate::unit::{BackendUnit, Items, items};
use crate::view::View;
use targets::Resolved;

pub(crate) use spec::{Field, Scope, specs};
pub(crate) use status::{Entry, ancestor, status};

/// What a policy became.
#[derive(Debug, Default)]
pub(crate) struct PolicyState {
    /// What each gateway gets of it.
    pub(crate) shares: BTreeMap<Name, Share>,
    /// What its status says, by ancestor.
    pub(crate) ancestors: BTreeMap<PolicyAncestorRef, Ancestor>,
    /// Fields of which a target can have one, by target: of several policies that claim the same the oldest has it.
    pub(crate) claims: BTreeSet<Claim>,
    pub(crate) created: Option<Timestamp>,
    /// Whether a Secret or ConfigMap of it is not read yet.
    pub(crate) waits: bool,
}

/// A target's key, and a field.
pub(crate) type Claim = (String, &'static str);

/// What one gateway gets of a policy.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pub(crate) items: Items,
    /// Services that are asked about requests.
    pub(crate) uses: BTreeSet<BackendUnit>,
}

/// What a policy's status says of one ancestor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ancestor {
    /// The Gateway, where the ancestor is one of ours.
    pub(crate) gateway: Option<Name>,
    /// Why the policy is not in force there as it is written; empty when it is.
    pub(crate) problems: BTreeSet<(&'static str, String)>,
    /// How many fields it has on targets there.
    fields: usize,
    /// Those of them that an older policy has in its place, as messages.
    overridden: Vec<String>,
}

/// Translates a policy.
pub(crate) fn translate(policy: &TrafficPolicy, view: &View<'_>) -> PolicyState {
    let spec = &policy.spec;
    let refs = spec.target_refs.as_deref().unwrap_or_default();
    let selectors = spec.target_selectors.as_deref().unwrap_or_default();
    let created = policy.metadata.creation_timestamp.as_ref().map(|time| time.0);
    translate_as(&Name::of(policy), created, refs, selectors, &|scope| specs(policy, scope, view), view)
}

/// Translates a policy that does not fit our types: its targets, as far as they can be read, refuse everything.
pub(crate) fn translate_unreadable(name: &Name, policy: &Unreadable, view: &View<'_>) -> PolicyState {
    let refs: Vec<TargetRef> = readable(&policy.raw, "/spec/targetRefs");
    let selectors: Vec<TargetSelector> = readable(&policy.raw, "/spec/targetSelectors");
    let reason = format!("the object does not fit the types of this release: {}", policy.reason);
    translate_as(name, None, &refs, &selectors, &|_| spec::refused(name, "spec", &reason), view)
}

/// What a filter that names a policy means: all its fields, with what is wrong with them.
pub(crate) fn as_filter(name: &Name, view: &View<'_>) -> Option<Vec<Field>> {
    Some(match view.traffic_policy(name)? {
        Ok(policy) => specs(policy, Scope::Http, view).into_iter().map(Field::elsewhere).collect(),
        Err(reason) => {
            spec::refused(name, "spec", &format!("the object does not fit the types of this release: {reason}"))
        }
    })
}

/// The items of a list that can be read, each by itself: one of a newer release must not hide the others.
fn readable<T: DeserializeOwned>(raw: &Value, pointer: &str) -> Vec<T> {
    let items = raw.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| T::deserialize(item).ok()).collect()
}

fn translate_as(
    name: &Name,
    created: Option<Timestamp>,
    refs: &[TargetRef],
    selectors: &[TargetSelector],
    specs: &dyn Fn(Scope) -> Vec<Field>,
    view: &View<'_>,
) -> PolicyState {
    let mut state = PolicyState { created, ..PolicyState::default() };
    let mut made: BTreeMap<Name, (Vec<Resource>, BTreeSet<BackendUnit>)> = BTreeMap::new();
    for resolved in targets::resolve(name, refs, selectors, view) {
        match resolved {
            Resolved::Found { gateways, target, key, scope } => {
                let fields: Vec<Field> = specs(scope).into_iter().map(|field| field.on(&target, scope)).collect();
                let older: Vec<Option<Name>> =
                    fields.iter().map(|field| state.claim(name, field, &key, view)).collect();
                for gateway in gateways {
                    let ancestor = state.ancestor(&gateway);
                    let (resources, uses) = made.entry(gateway).or_default();
                    for (field, older) in fields.iter().zip(&older) {
                        ancestor.tell(field, older.as_ref());
                        if let (Some(spec), None) = (&field.spec, older) {
                            resources.push(resource(name, field, spec, &target, &key));
                            uses.extend(field.uses.clone());
                        }
                    }
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
    let share = |(resources, uses)| Share { items: items(resources), uses };
    state.shares = made.into_iter().map(|(gateway, parts)| (gateway, share(parts))).collect();
    state
}

fn resource(
    policy: &Name,
    field: &Field,
    spec: &v1::PolicySpec,
    target: &v1::policy::Target,
    target_key: &str,
) -> Resource {
    let source = policy.to_ref(ObjectKind::TrafficPolicy.kind());
    Resource::Policy(v1::Policy {
        key: key::policy(&source, field.name, target_key),
        source_kind: source.kind,
        source_namespace: source.namespace,
        source_name: source.name,
        spec: Some(spec.clone()),
        target: Some(target.clone()),
    })
}

impl PolicyState {
    fn ancestor(&mut self, gateway: &Name) -> &mut Ancestor {
        let ancestor = self.ancestors.entry(ancestor(gateway)).or_default();
        ancestor.gateway = Some(gateway.clone());
        ancestor
    }

    /// Claims a field of which a target can have one; gives the older policy that has it.
    fn claim(&mut self, policy: &Name, field: &Field, target: &str, view: &View<'_>) -> Option<Name> {
        if !field.is_single() {
            return None;
        }
        let claim = (target.to_owned(), field.name);
        let older = view.older_claim(&claim, policy, self.created);
        self.claims.insert(claim);
        older
    }

    /// What the status says.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.ancestors.iter().filter(|_| !self.waits).map(|(reference, ancestor)| Entry {
            reference: reference.clone(),
            gateway: ancestor.gateway.clone(),
            verdicts: std::iter::once(ancestor.accepted()).chain(ancestor.attached()).collect(),
        })
    }
}

impl Ancestor {
    fn tell(&mut self, field: &Field, older: Option<&Name>) {
        self.problems.extend(field.problem.clone().map(|problem| ("Invalid", problem)));
        self.fields += 1;
        self.overridden.extend(older.map(|older| format!("{} is that of the older TrafficPolicy {older}", field.name)));
    }

    fn accepted(&self) -> Verdict {
        match self.problems.first() {
            None => Verdict::yes("Accepted", "Accepted", "the policy is in force"),
            Some((reason, _)) => {
                let messages: Vec<&str> = self.problems.iter().map(|(_, message)| message.as_str()).collect();
                Verdict::no("Accepted", reason, messages.join("; "))
            }
        }
    }

    /// Whether its fields count; `None` where it has none.
    fn attached(&self) -> Option<Verdict> {
        let told = || self.overridden.join("; ");
        match self.overridden.len() {
            _ if self.fields == 0 => None,
            0 => Some(Verdict::yes("Attached", "Attached", "all its fields count")),
            n if n == self.fields => Some(Verdict::no("Attached", "Overridden", told())),
            _ => Some(Verdict::yes("Attached", "Merged", told())),
        }
    }
}
