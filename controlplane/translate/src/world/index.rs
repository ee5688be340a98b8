//! Which objects name another one, found by the one that they name.

use std::collections::{BTreeSet, HashMap};

use agentgateway_collections::SmallSet;
use agentgateway_crds::GROUP;
use gateway_api::apis::experimental::listenersets::ListenerSet;
use gateway_api::apis::standard::backendtlspolicies::BackendTlsPolicy;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use crate::Name;
use crate::object::{ObjectKey, ObjectKind};

/// Label that names the Service of an EndpointSlice.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

#[derive(Debug, Default)]
pub(super) struct Indexes {
    slices: HashMap<Name, SmallSet<Name>>,
    sets: HashMap<Name, SmallSet<Name>>,
    policies: HashMap<ObjectKey, SmallSet<Name>>,
    targets: HashMap<Name, BTreeSet<ObjectKey>>,
}

impl Indexes {
    pub(super) fn slices(&self, service: &Name) -> impl Iterator<Item = &Name> {
        self.slices.get(service).into_iter().flatten()
    }

    pub(super) fn move_slice(&mut self, slice: &Name, from: Option<&Name>, to: Option<&Name>) {
        shift(&mut self.slices, slice, from, to);
    }

    pub(super) fn sets(&self, gateway: &Name) -> impl Iterator<Item = &Name> {
        self.sets.get(gateway).into_iter().flatten()
    }

    pub(super) fn move_set(&mut self, set: &Name, from: Option<&Name>, to: Option<&Name>) {
        shift(&mut self.sets, set, from, to);
    }

    pub(super) fn policies(&self, target: &ObjectKey) -> impl Iterator<Item = &Name> {
        self.policies.get(target).into_iter().flatten()
    }

    pub(super) fn targets(&self, policy: &Name) -> BTreeSet<ObjectKey> {
        self.targets.get(policy).cloned().unwrap_or_default()
    }

    pub(super) fn set_targets(&mut self, policy: &Name, new: BTreeSet<ObjectKey>) {
        let old = self.targets(policy);
        for gone in old.difference(&new) {
            shift(&mut self.policies, policy, Some(gone), None);
        }
        for added in new.difference(&old) {
            shift(&mut self.policies, policy, None, Some(added));
        }
        if new.is_empty() {
            self.targets.remove(policy);
        } else {
            self.targets.insert(policy.clone(), new);
        }
    }
}

fn shift<K: Clone + Eq + std::hash::Hash>(
    index: &mut HashMap<K, SmallSet<Name>>,
    name: &Name,
    from: Option<&K>,
    to: Option<&K>,
) {
    if let Some(from) = from
        && let Some(names) = index.get_mut(from)
    {
        names.remove(name);
        if names.is_empty() {
            index.remove(from);
        }
    }
    if let Some(to) = to {
        index.entry(to.clone()).or_default().insert(name.clone());
    }
}

/// The Service of a slice.
pub(super) fn service_of(slice: &EndpointSlice) -> Option<Name> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    Some(Name::new(slice.metadata.namespace.clone().unwrap_or_default(), service.clone()))
}

/// The Gateway of a ListenerSet. The API server lets no other kind of parent through, but a folder might.
pub(super) fn gateway_of(set: &ListenerSet) -> Name {
    let parent = &set.spec.parent_ref;
    let own = set.metadata.namespace.clone().unwrap_or_default();
    let namespace = parent.namespace.clone().unwrap_or(own);
    let gateway = parent.kind.as_deref().is_none_or(|kind| kind == ObjectKind::Gateway.kind())
        && parent.group.as_deref().is_none_or(|group| group == agentgateway_crds::GATEWAY_GROUP);
    Name::new(namespace, if gateway { parent.name.as_str() } else { "" })
}

/// What a BackendTLSPolicy applies to, of the kinds that it can apply to.
pub(super) fn targets_of(policy: &BackendTlsPolicy) -> BTreeSet<ObjectKey> {
    let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
    let refs = policy.spec.target_refs.iter();
    refs.filter_map(|target| target_key(namespace, &target.group, &target.kind, &target.name)).collect()
}

/// As [`targets_of`], of one that does not fit its type.
pub(super) fn targets_in(policy: &Name, raw: &Value) -> BTreeSet<ObjectKey> {
    let refs = raw.pointer("/spec/targetRefs").and_then(Value::as_array).into_iter().flatten();
    let text = |target: &Value, field: &str| target.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    refs.filter_map(|t| target_key(&policy.namespace, &text(t, "group"), &text(t, "kind"), &text(t, "name"))).collect()
}

fn target_key(namespace: &str, group: &str, kind: &str, name: &str) -> Option<ObjectKey> {
    let kind = match (group, kind) {
        ("", "Service") => ObjectKind::Service,
        (GROUP, "Backend") => ObjectKind::Backend,
        _ => return None,
    };
    Some(ObjectKey { kind, name: Name::new(namespace, name) })
}
