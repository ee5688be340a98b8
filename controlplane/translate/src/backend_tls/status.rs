//! What the status of a BackendTLSPolicy says: for each Gateway that uses one of its targets, whether it is in force there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, best, policy};
use crate::Name;
use crate::conditions::Verdict;
use crate::object::{ObjectKey, ObjectKind};
use crate::policy::{Entry, ancestor};
use crate::service;
use crate::unit::{BackendUnit, Speech};
use crate::view::View;

/// What a BackendTLSPolicy became: its conditions by Gateway. What it does is part of the backends that it applies to.
#[derive(Debug, Default)]
pub(crate) struct TlsPolicyState {
    ancestors: BTreeMap<Name, Vec<Verdict>>,
}

impl TlsPolicyState {
    /// What the status says.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.ancestors.iter().map(|(gateway, verdicts)| Entry {
            reference: ancestor(gateway),
            gateway: Some(gateway.clone()),
            verdicts: verdicts.clone(),
        })
    }
}

/// Finds out where a policy is in force.
pub(crate) fn translate(candidate: Candidate<'_>, targets: &BTreeSet<ObjectKey>, view: &View<'_>) -> TlsPolicyState {
    let mut found: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
    for target in targets {
        for section in sections(&candidate, target) {
            let gateways = users(target, section.as_deref(), view);
            let rivals = view.tls_policies(target).filter(|rival| rival.targets(target, section.as_deref()));
            let winner = best(rivals).map(|winner| winner.name().clone());
            let lost = winner.filter(|winner| winner != candidate.name()).map(|winner| {
                let section = section.as_ref().map(|s| format!(", {s}")).unwrap_or_default();
                format!("on {target}{section} the older BackendTLSPolicy {winner} counts")
            });
            for gateway in gateways {
                found.entry(gateway).or_default().extend(lost.clone());
            }
        }
    }
    if found.is_empty() {
        return TlsPolicyState::default();
    }
    let (accepted, resolved) = match candidate {
        Candidate::Readable(name, policy) => {
            let converted = policy::convert(name, policy, view);
            (converted.accepted, converted.resolved)
        }
        Candidate::Unreadable(_, unreadable) => {
            let message = format!("the object does not fit the types of this release: {}", unreadable.reason);
            (Err(("Invalid", message)), Ok(()))
        }
    };
    let verdicts = |conflicts: BTreeSet<String>| {
        let accepted = match &accepted {
            _ if !conflicts.is_empty() => {
                let conflicts: Vec<String> = conflicts.into_iter().collect();
                Verdict::no("Accepted", "Conflicted", conflicts.join("; "))
            }
            Ok(()) => Verdict::yes("Accepted", "Accepted", "the policy is in force"),
            Err((reason, message)) => Verdict::no("Accepted", reason, format!("no connection is made: {message}")),
        };
        let resolved = match &resolved {
            Ok(()) => Verdict::yes("ResolvedRefs", "ResolvedRefs", "all references are resolved"),
            Err((reason, message)) => Verdict::no("ResolvedRefs", reason, message),
        };
        vec![accepted, resolved]
    };
    TlsPolicyState { ancestors: found.into_iter().map(|(gateway, lost)| (gateway, verdicts(lost))).collect() }
}

/// The sections of a target that a policy names; none is the whole.
fn sections(candidate: &Candidate<'_>, target: &ObjectKey) -> BTreeSet<Option<String>> {
    let Candidate::Readable(_, policy) = candidate else { return BTreeSet::from([None]) };
    let same = policy.spec.target_refs.iter().filter(|t| {
        (t.group.as_str(), t.kind.as_str(), &t.name) == (target.kind.group(), target.kind.kind(), &target.name.name)
    });
    same.map(|t| t.section_name.clone().filter(|section| !section.is_empty())).collect()
}

/// The gateways that reach a target in a way that a policy has to do with.
fn users(target: &ObjectKey, section: Option<&str>, view: &View<'_>) -> BTreeSet<Name> {
    let concerned = |unit: &BackendUnit| match unit {
        BackendUnit::Object(_) => true,
        BackendUnit::Pool(_) => false,
        BackendUnit::Port(name, port, Speech::Plain | Speech::Grpc) => section.is_none_or(|section| {
            view.service(name).and_then(|service| service::port_name(service, *port)) == Some(section)
        }),
        BackendUnit::Port(..) => false,
    };
    debug_assert!(matches!(target.kind, ObjectKind::Service | ObjectKind::Backend));
    view.users(target).filter(|(unit, _)| concerned(unit)).flat_map(|(_, gateways)| gateways.iter().cloned()).collect()
}
