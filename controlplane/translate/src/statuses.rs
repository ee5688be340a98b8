//! Statuses: what each object's should be, and whether it is worth a write.

use std::sync::Arc;

use agentgateway_crds::{Backend, BackendStatus, PolicyStatus, RouteStatus, TrafficPolicy};
use gateway_api::apis::experimental::gateways::{Gateway, GatewayStatus};
use gateway_api::apis::experimental::httproutes::HttpRoute;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use serde_json::Value;

use crate::conditions::{Moment, same};
use crate::made::Made;
use crate::object::{ObjectKey, ObjectKind, Unreadable};
use crate::output::{Status, StatusUpdate};
use crate::route::AsStatus;
use crate::unit::BackendUnit;
use crate::world::World;
use crate::{Name, Settings, backend, gateway, names, policy, route};

/// The status of an object, if it has to be written. `touched` tells that the object came in just now: what it holds is then
/// the truth, and not what was given out before.
pub(crate) fn update(
    key: &ObjectKey,
    touched: bool,
    settings: &Settings,
    world: &World,
    made: &mut Made,
    now: &Time,
) -> Option<StatusUpdate> {
    let Some((held, wanted)) = compute(key, settings, world, made, now) else {
        made.given.remove(key);
        return None;
    };
    // A route or policy that is of no gateway of ours has no entry of ours. That is written only to take one back.
    let nothing_to_say = held.is_none() && wanted.is_empty() && made.given.get(key).is_none_or(Status::is_empty);
    if nothing_to_say || held.as_ref().is_some_and(|held| says_the_same(held, &wanted)) {
        made.given.remove(key);
        return None;
    }
    if !touched && made.given.get(key).is_some_and(|given| says_the_same(given, &wanted)) {
        return None;
    }
    made.given.insert(key.clone(), wanted.clone());
    Some(StatusUpdate { key: key.clone(), resource_version: resource_version(key, world), status: wanted })
}

/// All that was given out and has not come back.
pub(crate) fn pending(world: &World, made: &Made) -> Vec<StatusUpdate> {
    let update = |(key, status): (&ObjectKey, &Status)| StatusUpdate {
        key: key.clone(),
        resource_version: resource_version(key, world),
        status: status.clone(),
    };
    made.given.iter().map(update).collect()
}

/// What the object holds, and what it should hold; `None` when there is nothing for us to say.
fn compute(
    key: &ObjectKey,
    settings: &Settings,
    world: &World,
    made: &Made,
    now: &Time,
) -> Option<(Option<Status>, Status)> {
    let name = &key.name;
    let unreadable = world.unreadable.get(key);
    let reason = unreadable.map(|u| u.reason.as_str());
    let given = made.given.get(key);
    let controller = settings.controller_name.as_str();
    // Not all of what a proxy refuses is of one gateway's object: routes, backends and policies ask each gateway.
    let rejected = |gateway: &Name| -> Vec<String> {
        let parts = made.gateways.get(gateway).and_then(|g| g.rejections.get(key)).into_iter().flatten();
        parts.map(|part| format!("the proxy of Gateway {gateway} refuses {}", part.reason)).collect()
    };
    match key.kind {
        ObjectKind::GatewayClass => {
            let class = world.classes.get(name)?;
            if class.spec.controller_name != settings.controller_name {
                return None;
            }
            let given = given.and_then(|g| if let Status::GatewayClass(s) = g { Some(s) } else { None });
            let wanted = gateway::class_status(class, given, now);
            Some((class.status.clone().map(Status::GatewayClass), Status::GatewayClass(wanted)))
        }
        ObjectKind::Gateway => {
            let (object, state) = (world.gateways.get(name)?, made.gateways.get(name)?);
            let service = world.services.get(&Name::new(name.namespace.clone(), names::deployed(&name.name)));
            let given = given.and_then(|g| if let Status::Gateway(s) = g { Some(s) } else { None });
            let wanted = gateway::status(object, state, service.map(Arc::as_ref), reason, given, now);
            Some((object.status.clone().map(Status::Gateway), Status::Gateway(wanted)))
        }
        ObjectKind::HttpRoute => {
            let object =
                world.routes.get(name).cloned().or_else(|| unreadable.map(|u| Arc::new(unreadable_route(u))))?;
            let given = given.and_then(|g| if let Status::Route(s) = g { Some(s) } else { None });
            let parents = made.routes.get(name).map(|state| state.parents.as_slice()).unwrap_or_default();
            let held = object.status.as_ref().map(AsStatus::as_status);
            let at = Moment { now, generation: object.metadata.generation };
            let wanted = route::status(
                held.as_ref().unwrap_or(&RouteStatus::default()),
                parents,
                controller,
                rejected,
                given,
                at,
            );
            Some((held.map(Status::Route), Status::Route(wanted)))
        }
        ObjectKind::Backend => {
            let object =
                world.backends.get(name).cloned().or_else(|| unreadable.map(|u| Arc::new(unreadable_backend(u))))?;
            let given = given.and_then(|g| if let Status::Backend(s) = g { Some(s) } else { None });
            let state = made.backends.get(&BackendUnit::Object(name.clone()));
            let rejected: Vec<String> = made.gateways.keys().flat_map(rejected).collect();
            let wanted = backend::status(&object, state, reason, &rejected, given, now);
            Some((object.status.clone().map(Status::Backend), Status::Backend(wanted)))
        }
        ObjectKind::TrafficPolicy => {
            let object =
                world.policies.get(name).cloned().or_else(|| unreadable.map(|u| Arc::new(unreadable_policy(u))))?;
            let given = given.and_then(|g| if let Status::Policy(s) = g { Some(s) } else { None });
            let ancestors = made.policies.get(name).map(|state| state.ancestors.clone()).unwrap_or_default();
            let wanted = policy::status(&object, &ancestors, controller, rejected, given, now);
            Some((object.status.clone().map(Status::Policy), Status::Policy(wanted)))
        }
        _ => None,
    }
}

/// Whether two statuses say the same: conditions and listeners may be in any order, as the API server merges them.
fn says_the_same(a: &Status, b: &Status) -> bool {
    match (a, b) {
        (Status::GatewayClass(a), Status::GatewayClass(b)) => {
            let conditions = |s: &gateway_api::apis::experimental::gatewayclasses::GatewayClassStatus| {
                s.conditions.clone().unwrap_or_default()
            };
            same(&conditions(a), &conditions(b)) && a.supported_features == b.supported_features
        }
        (Status::Gateway(a), Status::Gateway(b)) => same_gateway(a, b),
        (Status::Route(a), Status::Route(b)) => same_route(a, b),
        (Status::Backend(a), Status::Backend(b)) => same_backend(a, b),
        (Status::Policy(a), Status::Policy(b)) => same_policy(a, b),
        _ => false,
    }
}

fn same_gateway(a: &GatewayStatus, b: &GatewayStatus) -> bool {
    let (ours, theirs) = (a.listeners.as_deref().unwrap_or_default(), b.listeners.as_deref().unwrap_or_default());
    let listeners = ours.len() == theirs.len()
        && ours.iter().all(|one| {
            theirs.iter().any(|other| {
                let kinds = one.supported_kinds.as_deref().unwrap_or_default()
                    == other.supported_kinds.as_deref().unwrap_or_default();
                let names = one.name == other.name && one.attached_routes == other.attached_routes;
                names && kinds && same(&one.conditions, &other.conditions)
            })
        });
    let conditions = |s: &GatewayStatus| s.conditions.clone().unwrap_or_default();
    let addresses = |s: &GatewayStatus| s.addresses.clone().unwrap_or_default();
    listeners && same(&conditions(a), &conditions(b)) && addresses(a) == addresses(b)
}

fn same_route(a: &RouteStatus, b: &RouteStatus) -> bool {
    a.parents.len() == b.parents.len()
        && a.parents.iter().zip(&b.parents).all(|(one, other)| {
            one.parent_ref == other.parent_ref
                && one.controller_name == other.controller_name
                && same(&one.conditions, &other.conditions)
        })
}

fn same_backend(a: &BackendStatus, b: &BackendStatus) -> bool {
    same(&a.conditions, &b.conditions)
}

fn same_policy(a: &PolicyStatus, b: &PolicyStatus) -> bool {
    a.ancestors.len() == b.ancestors.len()
        && a.ancestors.iter().zip(&b.ancestors).all(|(one, other)| {
            one.ancestor_ref == other.ancestor_ref
                && one.controller_name == other.controller_name
                && same(&one.conditions, &other.conditions)
        })
}

fn resource_version(key: &ObjectKey, world: &World) -> Option<String> {
    if let Some(unreadable) = world.unreadable.get(key) {
        return unreadable.meta.resource_version.clone();
    }
    let name = &key.name;
    let meta: Option<&ObjectMeta> = match key.kind {
        ObjectKind::GatewayClass => world.classes.get(name).map(|o| &o.metadata),
        ObjectKind::Gateway => world.gateways.get(name).map(|o: &Arc<Gateway>| &o.metadata),
        ObjectKind::HttpRoute => world.routes.get(name).map(|o| &o.metadata),
        ObjectKind::Backend => world.backends.get(name).map(|o| &o.metadata),
        ObjectKind::TrafficPolicy => world.policies.get(name).map(|o| &o.metadata),
        _ => None,
    };
    meta.and_then(|m| m.resource_version.clone())
}

/// What is left of an object that does not fit its type and never did: its metadata and the status that others wrote.
fn unreadable_route(object: &Unreadable) -> HttpRoute {
    HttpRoute { metadata: object.meta.clone(), status: raw_status(object), ..HttpRoute::default() }
}

fn unreadable_backend(object: &Unreadable) -> Backend {
    Backend { metadata: object.meta.clone(), status: raw_status(object), ..Backend::default() }
}

fn unreadable_policy(object: &Unreadable) -> TrafficPolicy {
    TrafficPolicy { metadata: object.meta.clone(), status: raw_status(object), ..TrafficPolicy::default() }
}

fn raw_status<T: serde::de::DeserializeOwned>(object: &Unreadable) -> Option<T> {
    let status: &Value = object.raw.get("status")?;
    serde_json::from_value(status.clone()).ok()
}
