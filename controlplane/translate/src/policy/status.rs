//! The status of a TrafficPolicy (GEP-713: conditions by ancestor).

use std::collections::BTreeMap;

use agentgateway_crds::{MOST_ANCESTORS, PolicyAncestor, PolicyAncestorRef, PolicyStatus, TrafficPolicy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Ancestor;
use crate::Name;
use crate::conditions::{Moment, Verdict, merge};

const OURS: [&str; 2] = ["Accepted", "Programmed"];

/// The status: the entries of other controllers as they are, then ours, as many as there is room for. `rejected` gives what
/// the proxies of a gateway say of the policy.
pub(crate) fn status(
    policy: &TrafficPolicy,
    ancestors: &BTreeMap<PolicyAncestorRef, Ancestor>,
    controller: &str,
    rejected: impl Fn(&Name) -> Vec<String>,
    given: Option<&PolicyStatus>,
    now: &Time,
) -> PolicyStatus {
    let held = policy.status.clone().unwrap_or_default().ancestors;
    let at = Moment { now, generation: policy.metadata.generation };
    let conditions = |entries: &[PolicyAncestor], reference: &PolicyAncestorRef| -> Vec<Condition> {
        let entry = entries.iter().find(|e| e.controller_name == controller && e.ancestor_ref == *reference);
        entry.map(|e| e.conditions.clone()).unwrap_or_default()
    };
    let entry = |(reference, ancestor): (&PolicyAncestorRef, &Ancestor)| {
        let mut verdicts = vec![accepted(ancestor)];
        let rejected = ancestor.gateway.as_ref().map(&rejected).unwrap_or_default();
        if !rejected.is_empty() {
            verdicts.push(Verdict::no("Programmed", "Invalid", rejected.join("; ")));
        }
        let given = given.map(|g| conditions(&g.ancestors, reference)).unwrap_or_default();
        PolicyAncestor {
            ancestor_ref: reference.clone(),
            controller_name: controller.to_owned(),
            conditions: merge(&conditions(&held, reference), &given, &verdicts, &OURS, at),
        }
    };
    let others = held.iter().filter(|entry| entry.controller_name != controller).cloned();
    PolicyStatus { ancestors: others.chain(ancestors.iter().map(entry)).take(MOST_ANCESTORS).collect() }
}

fn accepted(ancestor: &Ancestor) -> Verdict {
    match ancestor.problems.first() {
        None => Verdict::yes("Accepted", "Accepted", "the policy is in force"),
        Some((reason, _)) => {
            let messages: Vec<&str> = ancestor.problems.iter().map(|(_, message)| message.as_str()).collect();
            Verdict::no("Accepted", reason, messages.join("; "))
        }
    }
}
