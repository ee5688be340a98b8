//! The status of a policy of any kind (GEP-713: conditions by ancestor).

use agentgateway_crds::{GATEWAY_GROUP, MOST_ANCESTORS, PolicyAncestor, PolicyAncestorRef, PolicyStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::Name;
use crate::conditions::{Moment, Verdict, merge};
use crate::object::ObjectKind;

const OURS: [&str; 4] = ["Accepted", "Attached", "Programmed", "ResolvedRefs"];

/// What a status says of one ancestor.
pub(crate) struct Entry {
    pub(crate) reference: PolicyAncestorRef,
    /// The Gateway, where the ancestor is one of ours.
    pub(crate) gateway: Option<Name>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// A Gateway as an ancestor.
pub(crate) fn ancestor(gateway: &Name) -> PolicyAncestorRef {
    PolicyAncestorRef {
        group: Some(GATEWAY_GROUP.to_owned()),
        kind: Some(ObjectKind::Gateway.kind().to_owned()),
        namespace: Some(gateway.namespace.clone()),
        name: gateway.name.clone(),
        ..PolicyAncestorRef::default()
    }
}

/// The status of a policy that holds `held`: the entries of other controllers as they are, then ours, as many as there is
/// room for. `rejected` gives what the proxies of a gateway say of the policy.
pub(crate) fn status(
    held: &PolicyStatus,
    entries: impl Iterator<Item = Entry>,
    controller: &str,
    rejected: impl Fn(&Name) -> Vec<String>,
    given: Option<&PolicyStatus>,
    at: Moment<'_>,
) -> PolicyStatus {
    let conditions = |status: &PolicyStatus, reference: &PolicyAncestorRef| -> Vec<Condition> {
        let ours = |entry: &&PolicyAncestor| entry.controller_name == controller && entry.ancestor_ref == *reference;
        status.ancestors.iter().find(ours).map(|entry| entry.conditions.clone()).unwrap_or_default()
    };
    let made = |Entry { reference, gateway, mut verdicts }: Entry| {
        let rejected = gateway.as_ref().map(&rejected).unwrap_or_default();
        if !rejected.is_empty() {
            verdicts.push(Verdict::no("Programmed", "Invalid", rejected.join("; ")));
        }
        let given = given.map(|given| conditions(given, &reference)).unwrap_or_default();
        PolicyAncestor {
            controller_name: controller.to_owned(),
            conditions: merge(&conditions(held, &reference), &given, &verdicts, &OURS, at),
            ancestor_ref: reference,
        }
    };
    let others = held.ancestors.iter().filter(|entry| entry.controller_name != controller).cloned();
    PolicyStatus { ancestors: others.chain(entries.map(made)).take(MOST_ANCESTORS).collect() }
}
