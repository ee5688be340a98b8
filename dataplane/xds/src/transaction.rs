//! Collects the responses of one generation until its mark, and makes the next snapshot of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agentgateway_proto::discovery::DeltaDiscoveryResponse;
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::{Resource, Version};
use agentgateway_proto::snapshot::{Encoded, Snapshot};
use agentgateway_proto::v1;

use crate::update::Rejected;

/// A response that is not answered yet.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) nonce: String,
    pub(crate) kind: Kind,
    pub(crate) keys: BTreeSet<String>,
}

/// The generation in the making.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) received: Vec<Received>,
    changed: BTreeMap<(Kind, String), Arc<Encoded>>,
    removed: BTreeSet<(Kind, String)>,
}

/// A whole generation.
#[derive(Debug)]
pub(crate) struct Complete {
    pub(crate) received: Vec<Received>,
    pub(crate) snapshot: Snapshot,
    pub(crate) changed: Vec<Resource>,
    pub(crate) removed: Vec<(Kind, String)>,
    /// What does not even decode.
    pub(crate) rejected: Vec<Rejected>,
}

/// Why a generation cannot be used; the client begins anew, without what it has.
#[derive(Debug, thiserror::Error)]
#[error("what was received is not what generation {expected} says: begin anew")]
pub(crate) struct Incomplete {
    expected: String,
}

impl Transaction {
    /// Adds a response. Gives the mark's version when this is the end of the generation.
    pub(crate) fn add(&mut self, response: DeltaDiscoveryResponse) -> Option<Version> {
        let kind = Kind::from_type_url(&response.type_url)?;
        let mut mark = None;
        let mut keys = BTreeSet::new();
        for resource in response.resources {
            let bytes = resource.resource.map(|any| any.value).unwrap_or_default();
            if kind == Kind::Generation {
                mark = Some(Version::of(&bytes));
                continue;
            }
            let encoded = Encoded::of(bytes.into());
            let key = (kind, resource.name);
            keys.insert(key.1.clone());
            self.removed.remove(&key);
            self.changed.insert(key, Arc::new(encoded));
        }
        for name in response.removed_resources {
            let key = (kind, name);
            self.changed.remove(&key);
            self.removed.insert(key);
        }
        self.received.push(Received { nonce: response.nonce, kind, keys });
        mark
    }

    /// The generation on top of `held`; with `anew`, everything in `held` that did not come again is removed.
    pub(crate) fn complete(
        self,
        mark: Version,
        held: &Snapshot,
        anew: bool,
        gateway: &str,
    ) -> Result<Complete, Incomplete> {
        let mut edit = if anew { Snapshot::default().edit() } else { held.edit() };
        let mut removed = self.removed;
        for (kind, key) in &removed {
            edit.remove(*kind, key);
        }
        for ((kind, key), encoded) in &self.changed {
            edit.insert_encoded(*kind, key, encoded.clone());
        }
        let snapshot = edit.finish();
        if snapshot.generation().version != mark {
            return Err(Incomplete { expected: mark.to_string() });
        }
        if anew {
            for kind in Kind::PUSH_ORDER {
                let (Some(old), Some(new)) = (held.kind(kind), snapshot.kind(kind)) else { continue };
                removed.extend(old.keys().filter(|k| !new.contains_key(*k)).map(|k| (kind, k.to_string())));
            }
        }
        let (changed, rejected) = decode(self.changed, gateway);
        Ok(Complete {
            received: self.received,
            snapshot,
            changed,
            removed: removed.into_iter().rev().collect(),
            rejected,
        })
    }
}

/// Decodes all; a policy that does not decode could be for anything, so it closes the gateway.
pub(crate) fn decode(encoded: BTreeMap<(Kind, String), Arc<Encoded>>, gateway: &str) -> (Vec<Resource>, Vec<Rejected>) {
    let mut resources = Vec::with_capacity(encoded.len());
    let mut rejected = Vec::new();
    // `Kind` orders as it is pushed, so nothing refers to what comes later.
    for ((kind, key), encoded) in encoded {
        match Resource::decode(kind, &encoded.bytes) {
            Ok(resource) if resource.key() == key => resources.push(resource),
            other => {
                let reason = other.map_or_else(|e| e.to_string(), |r| format!("its own key is {:?}", r.key()));
                if kind == Kind::Policy {
                    resources.push(Resource::Policy(deny_all(&key, &reason, gateway)));
                }
                rejected.push(Rejected { kind, key, reason });
            }
        }
    }
    (resources, rejected)
}

fn deny_all(key: &str, reason: &str, gateway: &str) -> v1::Policy {
    let deny = v1::Deny { reason: reason.to_owned(), policy: key.to_owned() };
    v1::Policy {
        key: key.to_owned(),
        target: Some(v1::policy::Target::Gateway(gateway.to_owned())),
        spec: Some(v1::PolicySpec { kind: Some(v1::policy_spec::Kind::Deny(deny)) }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentgateway_proto::discovery;
    use prost_types::Any;

    fn bind(key: &str, port: u32) -> Resource {
        Resource::Bind(v1::Bind { key: key.into(), port, ..Default::default() })
    }

    fn response(kind: Kind, resources: &[(&str, Vec<u8>)], removed: &[&str]) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse {
            type_url: kind.type_url().into(),
            nonce: "1".into(),
            resources: resources
                .iter()
                .map(|(name, bytes)| discovery::Resource {
                    name: (*name).into(),
                    version: Version::of(bytes).to_string(),
                    resource: Some(Any { type_url: kind.type_url().into(), value: bytes.clone() }),
                })
                .collect(),
            removed_resources: removed.iter().map(|r| (*r).to_owned()).collect(),
            ..Default::default()
        }
    }

    fn mark(snapshot: &Snapshot) -> DeltaDiscoveryResponse {
        response(Kind::Generation, &[("generation", snapshot.generation().bytes.to_vec())], &[])
    }

    #[test]
    fn completes_at_the_mark_only_and_checks_it() {
        let held = Snapshot::of(&[bind("a", 1), bind("b", 2)]);
        let next = Snapshot::of(&[bind("a", 1), bind("c", 3)]);
        let mut transaction = Transaction::default();
        assert_eq!(transaction.add(response(Kind::Bind, &[("c", bind("c", 3).encode().to_vec())], &["b"])), None);
        let end = transaction.add(mark(&next)).expect("the mark");
        let complete = transaction.complete(end, &held, false, "g").expect("complete");
        assert_eq!(complete.changed, [bind("c", 3)]);
        assert_eq!(complete.removed, [(Kind::Bind, "b".to_owned())]);
        assert_eq!(complete.received.len(), 2);

        let mut lacking = Transaction::default();
        let end = lacking.add(mark(&next)).expect("the mark");
        assert!(lacking.complete(end, &held, false, "g").is_err());
    }

    #[test]
    fn anew_removes_what_did_not_come_again() {
        let held = Snapshot::of(&[bind("a", 1), bind("b", 2)]);
        let next = Snapshot::of(&[bind("a", 1)]);
        let mut transaction = Transaction::default();
        transaction.add(response(Kind::Bind, &[("a", bind("a", 1).encode().to_vec())], &[]));
        let end = transaction.add(mark(&next)).expect("the mark");
        let complete = transaction.complete(end, &held, true, "g").expect("complete");
        assert_eq!(complete.removed, [(Kind::Bind, "b".to_owned())]);
    }

    #[test]
    fn a_policy_that_does_not_decode_closes_the_gateway() {
        let broken = Arc::new(Encoded::of(vec![0xff].into()));
        let (resources, rejected) = decode(
            BTreeMap::from([((Kind::Policy, "p".to_owned()), broken.clone()), ((Kind::Route, "r".to_owned()), broken)]),
            "a/b",
        );
        assert_eq!(rejected.len(), 2);
        let [Resource::Policy(policy)] = resources.as_slice() else { panic!("one policy") };
        assert_eq!(policy.target, Some(v1::policy::Target::Gateway("a/b".into())));
    }
}
