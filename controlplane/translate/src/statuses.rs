//! Statuses: what each object's should be, and whether it is worth a write.

mod held;
mod same;

use std::sync::Arc;

use agentgateway_crds::PolicyStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::conditions::Moment;
use crate::made::Made;
use crate::object::{ObjectKey, ObjectKind};
use crate::output::{Status, StatusUpdate};
use crate::unit::BackendUnit;
use crate::world::World;
use crate::{Name, Settings, backend, extension, gateway, inference, names, parameters, policy, route};
use same::says_the_same;

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
    let held = held::status(key, world);
    let Some(wanted) = wanted(key, held.as_ref(), settings, world, made, now) else {
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

/// What an object should hold; `None` when there is nothing for us to say.
fn wanted(
    key: &ObjectKey,
    held: Option<&Status>,
    settings: &Settings,
    world: &World,
    made: &Made,
    now: &Time,
) -> Option<Status> {
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
    let meta = unreadable.map(|u| &u.meta).or_else(|| world.meta(key));
    let at = Moment { now, generation: meta.and_then(|meta| meta.generation) };
    match key.kind {
        ObjectKind::GatewayClass => {
            let class = world.classes.get(name).filter(|c| c.spec.controller_name == settings.controller_name)?;
            let given = given.and_then(|g| if let Status::GatewayClass(s) = g { Some(s) } else { None });
            let invalid = parameters::of_class(class, |name| world.parameters.get(name).map(Arc::as_ref)).err();
            Some(Status::GatewayClass(gateway::class_status(class, invalid, world.installed.as_ref(), given, now)))
        }
        ObjectKind::Gateway => {
            let (object, state) = (world.gateways.get(name)?, made.gateways.get(name)?);
            let given = given.and_then(|g| if let Status::Gateway(s) = g { Some(s) } else { None });
            let service = names::service_of_gateway(world, name);
            Some(Status::Gateway(gateway::status(object, state, service, reason, given, now)))
        }
        ObjectKind::ListenerSet => {
            let set = world.listener_sets.get(name)?;
            let parent = world.gateway_of_set(name)?;
            let (object, state) = (world.gateways.get(&parent)?, made.gateways.get(&parent)?);
            let given = given.and_then(|g| if let Status::ListenerSet(s) = g { Some(s) } else { None });
            let programmed = gateway::programmed(object, state, names::service_of_gateway(world, &parent));
            Some(Status::ListenerSet(gateway::listener_set_status(set, state, &programmed, reason, given, now)))
        }
        ObjectKind::Backend => {
            meta?;
            let held = held.and_then(|h| if let Status::Backend(s) = h { Some(s.clone()) } else { None });
            let given = given.and_then(|g| if let Status::Backend(s) = g { Some(s) } else { None });
            let state = made.backends.get(&BackendUnit::Object(name.clone()));
            let rejected: Vec<String> = made.gateways.keys().flat_map(rejected).collect();
            Some(Status::Backend(backend::status(&held.unwrap_or_default(), state, reason, &rejected, given, at)))
        }
        ObjectKind::InferencePool => {
            meta?;
            let held = held.and_then(|h| if let Status::Pool(s) = h { Some(s.clone()) } else { None });
            let given = given.and_then(|g| if let Status::Pool(s) = g { Some(s) } else { None });
            let unit = BackendUnit::Pool(name.clone());
            let (state, gateways) = (made.backends.get(&unit), made.users_of(&unit));
            let held = held.unwrap_or_default();
            Some(Status::Pool(inference::status(&held, state, reason, gateways.into_iter(), controller, given, at)))
        }
        ObjectKind::GatewayExtension => {
            meta?;
            let held = held.and_then(|h| if let Status::Extension(s) = h { Some(s.clone()) } else { None });
            let given = given.and_then(|g| if let Status::Extension(s) = g { Some(s) } else { None });
            let object = world.extensions.get(name).map(Arc::as_ref);
            Some(Status::Extension(extension::status(&held.unwrap_or_default(), object, reason, given, at)))
        }
        ObjectKind::TrafficPolicy | ObjectKind::BackendTlsPolicy => {
            meta?;
            let none = PolicyStatus::default();
            let held = held.and_then(|h| if let Status::Policy(s) = h { Some(s) } else { None }).unwrap_or(&none);
            let given = given.and_then(|g| if let Status::Policy(s) = g { Some(s) } else { None });
            let entries: Vec<policy::Entry> = if key.kind == ObjectKind::TrafficPolicy {
                made.policies.get(name).into_iter().flat_map(|state| state.entries()).collect()
            } else {
                made.tls_policies.get(name).into_iter().flat_map(|state| state.entries()).collect()
            };
            Some(Status::Policy(policy::status(held, entries.into_iter(), controller, rejected, given, at)))
        }
        kind if kind.is_route() => {
            meta?;
            let held = held.and_then(|h| if let Status::Route(s) = h { Some(s.clone()) } else { None });
            let given = given.and_then(|g| if let Status::Route(s) = g { Some(s) } else { None });
            let parents = made.routes.get(key).map(|state| state.parents.as_slice()).unwrap_or_default();
            let held = held.unwrap_or_default();
            Some(Status::Route(route::status(&held, parents, controller, rejected, given, at)))
        }
        _ => None,
    }
}

fn resource_version(key: &ObjectKey, world: &World) -> Option<String> {
    let meta = world.unreadable.get(key).map(|u| &u.meta).or_else(|| world.meta(key));
    meta.and_then(|meta| meta.resource_version.clone())
}
