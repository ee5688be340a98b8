//! Routes of all kinds: to which listeners one attaches, and what its rules become there.
//!
//! What differs by kind is behind [`RouteKind`]: reading the object, and its rules. Attachment, references, conflicts and
//! statuses are the same for all.

mod attach;
mod backends;
mod claims;
mod filters;
mod grpc;
mod http;
mod parent;
mod resources;
mod rule;
mod session;
mod status;
mod stream;

use std::collections::{BTreeMap, BTreeSet};

use agentgateway_collections::{SmallSet, SortedMap};
use agentgateway_crds::ParentReference;
use kube::Resource;

use crate::Name;
use crate::conditions::Verdict;
use crate::object::{ObjectKey, ObjectKind};
use crate::unit::{BackendUnit, Items, items};
use crate::view::View;
use crate::world::World;
use attach::Attachment;
use rule::Rule;

pub(crate) use backends::Referrer;
pub(crate) use claims::{Claim, Claims, losers};
pub(crate) use parent::AsStatus;
pub(crate) use status::status;

/// A kind of route.
trait RouteKind: Resource<DynamicType = ()> {
    const KIND: ObjectKind;

    /// What the route attaches to.
    fn parents(&self) -> Vec<ParentReference>;

    /// The host names that it serves; empty is all that its listeners have.
    fn hostnames(&self) -> &[String];

    /// Whether it asks for default Gateways.
    fn wants_default_gateways(&self) -> bool;

    /// Its rules, as all listeners get them.
    fn rules(&self, name: &Name, view: &View<'_>) -> Vec<Rule>;
}

/// What a route became.
#[derive(Debug, Default)]
pub(crate) struct RouteState {
    /// What each gateway gets of it.
    pub(crate) shares: SortedMap<Name, Share>,
    /// The parents that are ours, in the order of the spec.
    pub(crate) parents: Vec<Parent>,
    /// Names of its rules.
    pub(crate) rule_names: SmallSet<String>,
    /// What it claims on each listener, by the listener's key; an HTTPRoute and a GRPCRoute cannot both have one host.
    pub(crate) claims: SortedMap<String, Claim>,
}

/// What one gateway gets of a route.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pub(crate) items: Items,
    pub(crate) uses: SmallSet<BackendUnit>,
    /// The listeners that count the route as attached: who declares each, and its name.
    pub(crate) listeners: SmallSet<(ObjectKey, String)>,
}

/// A parent, and what its entry in the status says.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    pub(crate) reference: ParentReference,
    pub(crate) gateway: Name,
    pub(crate) verdicts: Vec<Verdict>,
}

/// Translates a route; `None` when there is none.
pub(crate) fn translate(key: &ObjectKey, world: &World, view: &View<'_>) -> Option<RouteState> {
    let name = &key.name;
    let state = match key.kind {
        ObjectKind::HttpRoute => world.http_routes.get(name).map(|r| translate_as(r.as_ref(), key, view)),
        ObjectKind::GrpcRoute => world.grpc_routes.get(name).map(|r| translate_as(r.as_ref(), key, view)),
        ObjectKind::TlsRoute => world.tls_routes.get(name).map(|r| translate_as(r.as_ref(), key, view)),
        ObjectKind::TcpRoute => world.tcp_routes.get(name).map(|r| translate_as(r.as_ref(), key, view)),
        ObjectKind::UdpRoute => world.udp_routes.get(name).map(|r| translate_as(r.as_ref(), key, view)),
        _ => None,
    };
    let Some(unreadable) = world.unreadable.get(key) else { return state };
    let mut state = state.unwrap_or_default();
    state.parents = unreadable_parents(key, &unreadable.raw, &unreadable.reason, view);
    Some(state)
}

fn translate_as<R: RouteKind>(route: &R, key: &ObjectKey, view: &View<'_>) -> RouteState {
    let name = &key.name;
    let references = route.parents();
    let parents: Vec<_> = ours(name, &references, view).collect();
    let mut state = RouteState::default();
    if parents.is_empty() {
        return state;
    }
    let rules = route.rules(name, view);
    state.rule_names = rules.iter().map(|rule| rule.name.clone()).filter(|name| !name.is_empty()).collect();
    let on_rules = rule::verdicts(&rules, route.wants_default_gateways());
    let accepted = on_rules.iter().any(|v| v.condition == "Accepted" && v.holds);
    let mut served: BTreeMap<Name, BTreeMap<String, Attachment<'_>>> = BTreeMap::new();
    for (reference, owner) in parents {
        let Some(parent) = view.parent(&owner) else { continue };
        let attached = attach::attach(reference, route.hostnames(), key, &owner, parent, view);
        let created = route.meta().creation_timestamp.as_ref().map(|time| time.0);
        state.claims.extend(attached.claims.into_iter().map(|(listener, hosts)| (listener, (created, hosts))));
        let mut verdicts = on_rules.clone();
        match attached.to {
            Err((reason, message)) => {
                verdicts.retain(|v| v.condition == "ResolvedRefs");
                verdicts.push(Verdict::no("Accepted", reason, message));
            }
            Ok(attachments) => {
                if accepted {
                    let names = attachments.iter().map(|a| (owner.clone(), a.listener.name.clone()));
                    state.shares.update(parent.gateway.clone(), |share| share.listeners.extend(names));
                }
                for attachment in attachments.into_iter().filter(|attachment| attachment.served) {
                    let on_gateway = served.entry(parent.gateway.clone()).or_default();
                    on_gateway.insert(attachment.listener.key.clone(), attachment);
                }
            }
        }
        verdicts.sort_by_key(|v| v.condition);
        // Kept for each of many routes.
        verdicts.shrink_to_fit();
        state.parents.push(Parent { reference: reference.clone(), gateway: parent.gateway.clone(), verdicts });
    }
    let created = route.meta().creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    for (gateway, attachments) in served {
        let made = attachments.values().flat_map(|attachment| resources::on(key, created, &rules, attachment));
        let items = items(made);
        let used = rules.iter().flat_map(|rule| rule.used.iter().cloned());
        state.shares.update(gateway, |share| {
            if !items.is_empty() {
                share.uses = used.collect();
            }
            share.items = items;
        });
    }
    state.parents.shrink_to_fit();
    state.shares.retain(|_, share| !share.items.is_empty() || !share.listeners.is_empty());
    state
}

/// A route whose newest state does not fit our types: its parents, if they can be read, are told.
fn unreadable_parents(key: &ObjectKey, raw: &serde_json::Value, reason: &str, view: &View<'_>) -> Vec<Parent> {
    let references = raw.pointer("/spec/parentRefs").cloned().unwrap_or_default();
    let references: Vec<ParentReference> = serde_json::from_value(references).unwrap_or_default();
    let message = format!("the object does not fit the types of this release and is not used in this form: {reason}");
    let verdict = Verdict::no("Accepted", "UnsupportedValue", message);
    let told = ours(&key.name, &references, view).filter_map(|(reference, owner)| {
        let gateway = view.parent(&owner)?.gateway.clone();
        Some(Parent { reference: reference.clone(), gateway, verdicts: vec![verdict.clone()] })
    });
    told.collect()
}

/// The parents that are Gateways and ListenerSets of ours.
fn ours<'a>(
    route: &'a Name,
    references: &'a [ParentReference],
    view: &'a View<'_>,
) -> impl Iterator<Item = (&'a ParentReference, ObjectKey)> {
    references.iter().filter_map(|reference| {
        let group = reference.group.as_deref().unwrap_or(agentgateway_crds::GATEWAY_GROUP);
        let kind = match (group, reference.kind.as_deref().unwrap_or("Gateway")) {
            (agentgateway_crds::GATEWAY_GROUP, "Gateway") => ObjectKind::Gateway,
            (agentgateway_crds::GATEWAY_GROUP, "ListenerSet") => ObjectKind::ListenerSet,
            _ => return None,
        };
        let namespace = reference.namespace.clone().unwrap_or_else(|| route.namespace.clone());
        let owner = ObjectKey { kind, name: Name::new(namespace, reference.name.clone()) };
        view.parent(&owner).is_some().then_some((reference, owner))
    })
}

impl RouteState {
    /// Whether policies see the same in both.
    pub(crate) fn looks_like(&self, other: &RouteState) -> bool {
        let gateways = |state: &RouteState| state.parents.iter().map(|p| p.gateway.clone()).collect::<BTreeSet<_>>();
        self.rule_names == other.rule_names && gateways(self) == gateways(other)
    }
}
