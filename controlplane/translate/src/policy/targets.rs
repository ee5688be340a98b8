//! What a TrafficPolicy applies to: Gateways and their listeners, HTTPRoutes and their rules, Backends.

use std::collections::BTreeSet;

use agentgateway_convert::policy::Scope;
use agentgateway_crds::{GATEWAY_GROUP, GROUP, PolicyAncestorRef, TargetRef, TargetSelector};
use agentgateway_proto::{key, v1};

use crate::Name;
use crate::object::ObjectKind;
use crate::view::View;

/// What a target of a policy is.
pub(super) enum Resolved {
    /// It exists; the policy goes to these gateways, which may be none.
    Found {
        gateways: BTreeSet<Name>,
        target: v1::policy::Target,
        /// The target's part of the policy resource's key.
        key: String,
        scope: Scope,
    },
    /// The object exists, but the listener or rule does not.
    NoSection { gateways: BTreeSet<Name>, message: String },
    /// There is no such object.
    Missing { reference: PolicyAncestorRef, message: String },
}

/// Finds all targets of a policy; each once, also when several references and selectors find it.
pub(super) fn resolve(
    policy: &Name,
    refs: &[TargetRef],
    selectors: &[TargetSelector],
    view: &View<'_>,
) -> Vec<Resolved> {
    let mut seen: BTreeSet<(ObjectKind, Name, Option<String>)> = BTreeSet::new();
    let mut resolved = Vec::new();
    for reference in refs {
        let name = Name::new(policy.namespace.clone(), reference.name.clone());
        let section = reference.section_name.clone();
        let kind = kind(&reference.group, &reference.kind).filter(|kind| view.exists(*kind, &name));
        match kind {
            Some(kind) if seen.insert((kind, name.clone(), section.clone())) => {
                resolved.extend(resolve_one(kind, &name, section.as_deref(), view));
            }
            Some(_) => {}
            None => resolved.push(missing(reference, &name)),
        }
    }
    for selector in selectors {
        let Some(kind) = kind(&selector.group, &selector.kind) else { continue };
        for name in view.labelled(kind, &policy.namespace, &selector.match_labels) {
            let section = selector.section_name.clone();
            if seen.insert((kind, name.clone(), section.clone())) {
                resolved.extend(resolve_one(kind, &name, section.as_deref(), view));
            }
        }
    }
    resolved
}

fn kind(group: &str, kind: &str) -> Option<ObjectKind> {
    match (group, kind) {
        (GATEWAY_GROUP, "Gateway") => Some(ObjectKind::Gateway),
        (GATEWAY_GROUP, "HTTPRoute") => Some(ObjectKind::HttpRoute),
        // Manifests in the wild write a Backend with Gateway API's group.
        (GATEWAY_GROUP | GROUP, "Backend") => Some(ObjectKind::Backend),
        _ => None,
    }
}

fn resolve_one(kind: ObjectKind, name: &Name, section: Option<&str>, view: &View<'_>) -> Option<Resolved> {
    match kind {
        ObjectKind::Gateway => on_gateway(name, section, view),
        ObjectKind::HttpRoute => on_route(name, section, view),
        _ => on_backend(name, view),
    }
}

fn on_gateway(name: &Name, section: Option<&str>, view: &View<'_>) -> Option<Resolved> {
    // A Gateway of another controller: nothing to do, and nothing to say about it.
    let plan = view.plan(name)?;
    let gateways = BTreeSet::from([name.clone()]);
    let Some(section) = section else {
        let printed = name.to_string();
        let target = v1::policy::Target::Gateway(printed.clone());
        return Some(Resolved::Found { gateways, target, key: format!("Gateway/{printed}"), scope: Scope::Http });
    };
    Some(match plan.listeners.iter().find(|l| l.name == section) {
        Some(listener) => {
            let target = v1::policy::Target::ListenerKey(listener.key.clone());
            Resolved::Found { gateways, target, key: listener.key.clone(), scope: Scope::Http }
        }
        None => Resolved::NoSection { gateways, message: format!("Gateway {name} has no listener {section}") },
    })
}

fn on_route(name: &Name, section: Option<&str>, view: &View<'_>) -> Option<Resolved> {
    let state = view.route(name)?;
    let gateways: BTreeSet<Name> = state.parents.iter().map(|parent| parent.gateway.clone()).collect();
    if let Some(section) = section.filter(|section| !state.rule_names.contains(*section)) {
        return Some(Resolved::NoSection { gateways, message: format!("HTTPRoute {name} has no rule {section}") });
    }
    let rule_name = section.unwrap_or_default().to_owned();
    let kind = ObjectKind::HttpRoute.kind().to_owned();
    let key = format!("{kind}/{}/{}/{rule_name}", name.namespace, name.name);
    let route = v1::RouteTarget { kind, namespace: name.namespace.clone(), name: name.name.clone(), rule_name };
    Some(Resolved::Found { gateways, target: v1::policy::Target::Route(route), key, scope: Scope::Http })
}

fn on_backend(name: &Name, view: &View<'_>) -> Option<Resolved> {
    let state = view.backend(name)?;
    let scope = if state.mcp { Scope::McpItems } else { Scope::Http };
    let key = key::backend(&name.to_ref(ObjectKind::Backend.kind()));
    let target = v1::policy::Target::BackendKey(key.clone());
    Some(Resolved::Found { gateways: view.users(name), target, key, scope })
}

fn missing(reference: &TargetRef, name: &Name) -> Resolved {
    Resolved::Missing {
        reference: PolicyAncestorRef {
            group: Some(reference.group.clone()),
            kind: Some(reference.kind.clone()),
            namespace: Some(name.namespace.clone()),
            name: name.name.clone(),
            section_name: reference.section_name.clone(),
            port: None,
        },
        message: format!("{} {name} does not exist", reference.kind),
    }
}
