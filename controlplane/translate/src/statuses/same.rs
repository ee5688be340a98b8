//! Whether two statuses say the same: conditions and listeners may be in any order, as the API server merges them.

use agentgateway_crds::{InferencePoolStatus, PolicyStatus, RouteStatus};
use gateway_api::apis::experimental::gateways::{GatewayStatus, GatewayStatusListeners};
use gateway_api::apis::experimental::listenersets::{ListenerSetStatus, ListenerSetStatusListeners};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::conditions::same;
use crate::output::Status;

pub(super) fn says_the_same(a: &Status, b: &Status) -> bool {
    match (a, b) {
        (Status::GatewayClass(a), Status::GatewayClass(b)) => {
            same_optional(a.conditions.as_deref(), b.conditions.as_deref())
                && a.supported_features == b.supported_features
        }
        (Status::Gateway(a), Status::Gateway(b)) => same_gateway(a, b),
        (Status::ListenerSet(a), Status::ListenerSet(b)) => same_set(a, b),
        (Status::Route(a), Status::Route(b)) => same_route(a, b),
        (Status::Backend(a), Status::Backend(b)) => same(&a.conditions, &b.conditions),
        (Status::Extension(a), Status::Extension(b)) => same(&a.conditions, &b.conditions),
        (Status::Pool(a), Status::Pool(b)) => same_pool(a, b),
        (Status::Policy(a), Status::Policy(b)) => same_policy(a, b),
        _ => false,
    }
}

fn same_optional(a: Option<&[Condition]>, b: Option<&[Condition]>) -> bool {
    same(a.unwrap_or_default(), b.unwrap_or_default())
}

/// Whether two lists have the same entries, in any order.
fn same_listeners<T>(a: Option<&Vec<T>>, b: Option<&Vec<T>>, same: impl Fn(&T, &T) -> bool) -> bool {
    let (a, b) = (a.map(Vec::as_slice).unwrap_or_default(), b.map(Vec::as_slice).unwrap_or_default());
    a.len() == b.len() && a.iter().all(|one| b.iter().any(|other| same(one, other)))
}

fn same_gateway(a: &GatewayStatus, b: &GatewayStatus) -> bool {
    let listener = |one: &GatewayStatusListeners, other: &GatewayStatusListeners| {
        one.supported_kinds.as_deref().unwrap_or_default() == other.supported_kinds.as_deref().unwrap_or_default()
            && (&one.name, one.attached_routes) == (&other.name, other.attached_routes)
            && same(&one.conditions, &other.conditions)
    };
    same_listeners(a.listeners.as_ref(), b.listeners.as_ref(), listener)
        && same_optional(a.conditions.as_deref(), b.conditions.as_deref())
        && a.addresses.as_deref().unwrap_or_default() == b.addresses.as_deref().unwrap_or_default()
        && a.attached_listener_sets == b.attached_listener_sets
}

fn same_set(a: &ListenerSetStatus, b: &ListenerSetStatus) -> bool {
    let listener = |one: &ListenerSetStatusListeners, other: &ListenerSetStatusListeners| {
        one.supported_kinds.as_deref().unwrap_or_default() == other.supported_kinds.as_deref().unwrap_or_default()
            && (&one.name, one.attached_routes) == (&other.name, other.attached_routes)
            && same(&one.conditions, &other.conditions)
    };
    same_listeners(a.listeners.as_ref(), b.listeners.as_ref(), listener)
        && same_optional(a.conditions.as_deref(), b.conditions.as_deref())
}

fn same_route(a: &RouteStatus, b: &RouteStatus) -> bool {
    a.parents.len() == b.parents.len()
        && a.parents.iter().zip(&b.parents).all(|(one, other)| {
            one.parent_ref == other.parent_ref
                && one.controller_name == other.controller_name
                && same(&one.conditions, &other.conditions)
        })
}

fn same_pool(a: &InferencePoolStatus, b: &InferencePoolStatus) -> bool {
    a.parents.len() == b.parents.len()
        && a.parents.iter().zip(&b.parents).all(|(one, other)| {
            one.parent_ref == other.parent_ref
                && one.controller_name == other.controller_name
                && same(&one.conditions, &other.conditions)
        })
}

fn same_policy(a: &PolicyStatus, b: &PolicyStatus) -> bool {
    a.ancestors.len() == b.ancestors.len()
        && a.ancestors.iter().zip(&b.ancestors).all(|(one, other)| {
            one.ancestor_ref == other.ancestor_ref
                && one.controller_name == other.controller_name
                && same(&one.conditions, &other.conditions)
        })
}
