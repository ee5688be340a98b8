//! BackendTLSPolicies: how connections to Services and Backends are encrypted, and which policy counts where several apply.

mod policy;
mod status;

use agentgateway_proto::v1;
use gateway_api::apis::standard::backendtlspolicies::BackendTlsPolicy;

use crate::Name;
use crate::object::{ObjectKey, Unreadable};
use crate::view::View;

pub(crate) use policy::held_status;
pub(crate) use status::{TlsPolicyState, translate};

/// A policy, fit for use or not.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Candidate<'a> {
    Readable(&'a Name, &'a BackendTlsPolicy),
    /// One that does not fit its type: what it was written for must not be reached without what it asks for.
    Unreadable(&'a Name, &'a Unreadable),
}

/// How connections to a target are encrypted; `None` when no policy applies. `section` is the name of a port, or of a target
/// of an MCP backend.
pub(crate) fn of(target: &ObjectKey, section: Option<&str>, view: &View<'_>) -> Option<v1::BackendTls> {
    match counts(target, section, view)? {
        Candidate::Readable(name, policy) => Some(policy::convert(name, policy, view).tls),
        Candidate::Unreadable(name, unreadable) => {
            let refused =
                format!("BackendTLSPolicy {name} does not fit the types of this release: {}", unreadable.reason);
            Some(v1::BackendTls { refused, ..v1::BackendTls::default() })
        }
    }
}

/// Whether a policy applies to a target.
pub(crate) fn applies(target: &ObjectKey, section: Option<&str>, view: &View<'_>) -> bool {
    counts(target, section, view).is_some()
}

/// The policy that counts: of the section before that of the whole, then the oldest, then by name.
fn counts<'a>(target: &ObjectKey, section: Option<&str>, view: &View<'a>) -> Option<Candidate<'a>> {
    let section = section.filter(|section| !section.is_empty());
    let candidates: Vec<Candidate<'a>> = view.tls_policies(target).collect();
    let on = |wanted: Option<&str>| best(candidates.iter().copied().filter(|c| c.targets(target, wanted)));
    section.and_then(|section| on(Some(section))).or_else(|| on(None))
}

/// The one that takes precedence among policies of one target and section.
fn best<'a>(candidates: impl Iterator<Item = Candidate<'a>>) -> Option<Candidate<'a>> {
    candidates.min_by_key(|candidate| {
        let (name, created) = match candidate {
            Candidate::Readable(name, policy) => (name, policy.metadata.creation_timestamp.as_ref()),
            Candidate::Unreadable(name, unreadable) => (name, unreadable.meta.creation_timestamp.as_ref()),
        };
        (created.is_none(), created.map(|time| time.0), name.to_string())
    })
}

impl Candidate<'_> {
    pub(crate) fn name(&self) -> &Name {
        match self {
            Candidate::Readable(name, _) | Candidate::Unreadable(name, _) => name,
        }
    }

    /// Whether it names this section of a target, or the whole of it.
    fn targets(&self, target: &ObjectKey, section: Option<&str>) -> bool {
        let is = |group: &str, kind: &str, name: &str, written: Option<&str>| {
            (group, kind, name) == (target.kind.group(), target.kind.kind(), target.name.name.as_str())
                && written.filter(|w| !w.is_empty()) == section
        };
        match self {
            Candidate::Readable(_, policy) => {
                let mut refs = policy.spec.target_refs.iter();
                refs.any(|t| is(&t.group, &t.kind, &t.name, t.section_name.as_deref()))
            }
            Candidate::Unreadable(_, unreadable) => {
                let refs = unreadable.raw.pointer("/spec/targetRefs").and_then(serde_json::Value::as_array);
                refs.into_iter().flatten().any(|t| {
                    let text = |field: &str| t.get(field).and_then(serde_json::Value::as_str);
                    let part = |field: &str| text(field).unwrap_or_default();
                    is(part("group"), part("kind"), part("name"), text("sectionName"))
                })
            }
        }
    }
}
