//! What a TrafficPolicy applies to: Gateways, ListenerSets and their listeners, HTTPRoutes, GRPCRoutes and their rules,
//! Services and their ports, Backends.

use std::collections::BTreeSet;

use agentgateway_convert::policy::Scope;
use agentgateway_crds::{GATEWAY_GROUP, GROUP, PolicyAncestorRef, TargetRef, TargetSelector};
use agentgateway_proto::{key, v1};

use crate::Name;
use crate::object::{ObjectKey, ObjectKind};
use crate::service;
use crate::unit::{BackendUnit, Speech};
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
    /// The object exists, but the listener, rule or port does not.
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
        (GATEWAY_GROUP, "ListenerSet") => Some(ObjectKind::ListenerSet),
        (GATEWAY_GROUP, "HTTPRoute") => Some(ObjectKind::HttpRoute),
        (GATEWAY_GROUP, "GRPCRoute") => Some(ObjectKind::GrpcRoute),
        ("", "Service") => Some(ObjectKind::Service),
        // Manifests in the wild write a Backend with Gateway API's group.
        (GATEWAY_GROUP | GROUP, "Backend") => Some(ObjectKind::Backend),
        _ => None,
    }
}

fn resolve_one(kind: ObjectKind, name: &Name, section: Option<&str>, view: &View<'_>) -> Vec<Resolved> {
    let object = ObjectKey { kind, name: name.clone() };
    match kind {
        ObjectKind::Gateway | ObjectKind::ListenerSet => on_listeners(&object, section, view),
        ObjectKind::HttpRoute | ObjectKind::GrpcRoute => on_route(&object, section, view).into_iter().collect(),
        ObjectKind::Service => on_service(&object, section, view),
        _ => on_backend(&object, view).into_iter().collect(),
    }
}

fn on_listeners(object: &ObjectKey, section: Option<&str>, view: &View<'_>) -> Vec<Resolved> {
    // One of another controller: nothing to do, and nothing to say about it.
    let Some(parent) = view.parent(object) else { return Vec::new() };
    let gateways = BTreeSet::from([parent.gateway.clone()]);
    if object.kind == ObjectKind::Gateway && section.is_none() {
        let printed = object.name.to_string();
        let target = v1::policy::Target::Gateway(printed.clone());
        return vec![Resolved::Found { gateways, target, key: format!("Gateway/{printed}"), scope: Scope::Http }];
    }
    let meant = parent.listeners.iter().filter(|l| section.is_none_or(|section| l.name == section));
    let found: Vec<Resolved> = meant
        .map(|listener| {
            let target = v1::policy::Target::ListenerKey(listener.key.clone());
            Resolved::Found { gateways: gateways.clone(), target, key: listener.key.clone(), scope: Scope::Http }
        })
        .collect();
    match section {
        Some(section) if found.is_empty() => {
            vec![Resolved::NoSection { gateways, message: format!("{object} has no listener {section}") }]
        }
        _ => found,
    }
}

fn on_route(object: &ObjectKey, section: Option<&str>, view: &View<'_>) -> Option<Resolved> {
    let state = view.route(object)?;
    let gateways: BTreeSet<Name> = state.parents.iter().map(|parent| parent.gateway.clone()).collect();
    if let Some(section) = section.filter(|section| !state.rule_names.contains(*section)) {
        return Some(Resolved::NoSection { gateways, message: format!("{object} has no rule {section}") });
    }
    let rule_name = section.unwrap_or_default().to_owned();
    let (kind, name) = (object.kind.kind().to_owned(), &object.name);
    let key = format!("{kind}/{}/{}/{rule_name}", name.namespace, name.name);
    let route = v1::RouteTarget { kind, namespace: name.namespace.clone(), name: name.name.clone(), rule_name };
    Some(Resolved::Found { gateways, target: v1::policy::Target::Route(route), key, scope: Scope::Http })
}

/// Each port in use is a backend of its own, and may be several: as gRPC, as an MCP server.
fn on_service(object: &ObjectKey, section: Option<&str>, view: &View<'_>) -> Vec<Resolved> {
    let service = view.service(&object.name);
    let meant = |port: u16| {
        section.is_none_or(|section| service.and_then(|service| service::port_name(service, port)) == Some(section))
    };
    let used: Vec<_> = view.users(object).collect();
    let mcp: BTreeSet<u16> = used
        .iter()
        .filter_map(|(unit, _)| match unit {
            BackendUnit::Port(_, port, Speech::Mcp) => Some(*port),
            _ => None,
        })
        .collect();
    let mut everybody = BTreeSet::new();
    let mut found = Vec::new();
    for (unit, gateways) in used {
        everybody.extend(gateways.iter().cloned());
        let scope = match unit {
            BackendUnit::Port(_, port, speech) if meant(*port) => match speech {
                // What is behind the MCP backend that the policy applies to.
                Speech::Plain if mcp.contains(port) => continue,
                Speech::Plain | Speech::Grpc => Scope::Http,
                Speech::Mcp => Scope::McpItems,
                Speech::A2a => Scope::A2aCalls,
                // Nobody reads requests there.
                Speech::Udp => continue,
            },
            BackendUnit::Port(..) | BackendUnit::Object(_) | BackendUnit::Pool(_) => continue,
        };
        let key = unit.key();
        let target = v1::policy::Target::BackendKey(key.clone());
        found.push(Resolved::Found { gateways: gateways.iter().cloned().collect(), target, key, scope });
    }
    match section {
        Some(section) if !service.is_some_and(|service| service::has_port_named(service, section)) => {
            vec![Resolved::NoSection { gateways: everybody, message: format!("{object} has no port {section}") }]
        }
        _ => found,
    }
}

fn on_backend(object: &ObjectKey, view: &View<'_>) -> Option<Resolved> {
    let state = view.backend(&object.name)?;
    let scope = match (state.mcp, state.a2a) {
        (true, _) => Scope::McpItems,
        (false, true) => Scope::A2aCalls,
        (false, false) => Scope::Http,
    };
    let key = key::backend(&object.name.to_ref(object.kind.kind()));
    let target = v1::policy::Target::BackendKey(key.clone());
    let gateways = view.users(object).flat_map(|(_, gateways)| gateways.iter().cloned()).collect();
    Some(Resolved::Found { gateways, target, key, scope })
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
