//! The status of a route of any kind.

use agentgateway_crds::{ParentReference, RouteParentStatus, RouteStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::Parent;
use crate::Name;
use crate::conditions::{Moment, Verdict, merge};

const OURS: [&str; 4] = ["Accepted", "PartiallyInvalid", "Programmed", "ResolvedRefs"];
/// Most entries in a route's status.
const MOST_PARENTS: usize = 32;

/// The status of a route that holds `held`: the entries of other controllers as they are, and ours. `rejected` gives what the
/// proxies of a gateway say of the route.
pub(crate) fn status(
    held: &RouteStatus,
    parents: &[Parent],
    controller: &str,
    rejected: impl Fn(&Name) -> Vec<String>,
    given: Option<&RouteStatus>,
    at: Moment<'_>,
) -> RouteStatus {
    let conditions = |status: &RouteStatus, reference: &ParentReference| -> Vec<Condition> {
        let ours = |entry: &&RouteParentStatus| {
            entry.controller_name == controller && same_parent(&entry.parent_ref, reference)
        };
        status.parents.iter().find(ours).map(|entry| entry.conditions.clone()).unwrap_or_default()
    };
    let entry = |parent: &Parent| {
        let mut verdicts = parent.verdicts.clone();
        let rejected = rejected(&parent.gateway);
        if !rejected.is_empty() {
            verdicts.push(Verdict::no("Programmed", "Invalid", rejected.join("; ")));
        }
        let given = given.map(|given| conditions(given, &parent.reference)).unwrap_or_default();
        RouteParentStatus {
            conditions: merge(&conditions(held, &parent.reference), &given, &verdicts, &OURS, at),
            controller_name: controller.to_owned(),
            parent_ref: parent.reference.clone(),
        }
    };
    let others = held.parents.iter().filter(|entry| entry.controller_name != controller).cloned();
    RouteStatus { parents: others.chain(parents.iter().map(entry)).take(MOST_PARENTS).collect() }
}

/// Whether two references are the same: the API server writes out what the user leaves to defaults.
fn same_parent(a: &ParentReference, b: &ParentReference) -> bool {
    let kind = |r: &ParentReference| r.kind.clone().unwrap_or_else(|| "Gateway".to_owned());
    let group = |r: &ParentReference| r.group.clone().unwrap_or_else(|| agentgateway_crds::GATEWAY_GROUP.to_owned());
    kind(a) == kind(b)
        && group(a) == group(b)
        && (&a.name, &a.namespace, &a.port, &a.section_name) == (&b.name, &b.namespace, &b.port, &b.section_name)
}
