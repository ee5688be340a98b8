//! The newest snapshot of every gateway, and whether the control plane may answer yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use agentgateway_proto::kind::Kind;
use agentgateway_proto::limits::RESOURCE_BYTES;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::snapshot::{Encoded, Snapshot, difference};
use tokio::sync::watch;

use crate::rejections::{Rejection, Rejections, Reporter};
use crate::skew;

/// Name under which the control plane itself stands in the table of rejections.
pub const CONTROL_PLANE: &str = "control plane";

/// Whether streams are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The inputs are not complete yet: streams are accepted and wait.
    Starting,
    /// Every input was seen and translated once.
    Serving,
    /// Streams end, so that proxies go to another replica.
    Stopping,
}

type Published = watch::Sender<Option<Arc<Snapshot>>>;

/// Snapshots by gateway ("namespace/name").
#[derive(Debug)]
pub struct Registry {
    gateways: Mutex<BTreeMap<String, Published>>,
    phase: watch::Sender<Phase>,
    rejections: Arc<Rejections>,
}

impl Registry {
    /// An empty registry in [`Phase::Starting`]; what it must leave out is reported to `rejections`.
    pub fn new(rejections: Arc<Rejections>) -> Registry {
        Registry { gateways: Mutex::default(), phase: watch::Sender::new(Phase::Starting), rejections }
    }

    /// Replaces the snapshot of a gateway.
    pub fn publish(&self, gateway: &str, snapshot: Arc<Snapshot>) {
        let before = self.newest(gateway).unwrap_or_default();
        let (snapshot, oversized) = leave_out_oversized(snapshot, &before);
        for left_out in &oversized {
            tracing::error!(gateway, kind = left_out.kind.message(), key = left_out.key, "{}", left_out.reason);
        }
        self.rejections.replace(&own(gateway), oversized);
        self.with(gateway, |published| {
            published.send_replace(Some(snapshot));
        });
    }

    /// Forgets a gateway that is gone. Its proxies keep what they have until they are stopped.
    pub fn remove(&self, gateway: &str) {
        self.rejections.replace(&own(gateway), Vec::new());
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        if gateways.get(gateway).is_some_and(|published| published.receiver_count() == 0) {
            gateways.remove(gateway);
        } else if let Some(published) = gateways.get(gateway) {
            published.send_replace(None);
        }
    }

    /// Names of the gateways that have a snapshot.
    pub fn gateways(&self) -> Vec<String> {
        let gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        gateways.iter().filter(|(_, p)| p.borrow().is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// The newest snapshot of a gateway.
    pub fn newest(&self, gateway: &str) -> Option<Arc<Snapshot>> {
        let gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        gateways.get(gateway).and_then(|published| published.borrow().clone())
    }

    /// Begins or ends serving.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Whether streams are served.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(crate) fn subscribe(&self, gateway: &str) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.with(gateway, |published| published.subscribe())
    }

    fn with<T>(&self, gateway: &str, use_it: impl FnOnce(&Published) -> T) -> T {
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        use_it(gateways.entry(gateway.to_owned()).or_insert_with(|| watch::Sender::new(None)))
    }
}

fn own(gateway: &str) -> Reporter {
    Reporter { gateway: gateway.to_owned(), proxy: CONTROL_PLANE.to_owned(), stream: 0 }
}

/// Takes out what no response can carry. A policy becomes a deny on its targets: without it they would stand open. What is
/// in `before`, which was published, is small enough.
fn leave_out_oversized(snapshot: Arc<Snapshot>, before: &Snapshot) -> (Arc<Snapshot>, Vec<Rejection>) {
    let mut oversized = Vec::new();
    for kind in Kind::PUSH_ORDER {
        let (Some(new), Some(old)) = (snapshot.kind(kind), before.kind(kind)) else { continue };
        for (key, encoded) in difference(old, new).changed {
            if wire_size(key, encoded) > RESOURCE_BYTES {
                oversized.push((kind, key.clone(), encoded.clone()));
            }
        }
    }
    if oversized.is_empty() {
        return (snapshot, Vec::new());
    }
    let mut edit = snapshot.edit();
    let mut reports = Vec::with_capacity(oversized.len());
    for (kind, key, encoded) in oversized {
        let reason =
            format!("{} bytes are more than the {RESOURCE_BYTES} that a response carries", encoded.bytes.len());
        edit.remove(kind, &key);
        if kind == Kind::Policy
            && let Ok(Resource::Policy(policy)) = Resource::decode(kind, &encoded.bytes)
        {
            edit.insert(&Resource::Policy(skew::denied(policy, &reason)));
        }
        reports.push(Rejection { kind, key: key.to_string(), version: encoded.version.to_string(), reason });
    }
    (Arc::new(edit.finish()), reports)
}

/// Bytes that a resource takes in a response: its own, its key and version, and the tags and type URL around them.
pub(crate) fn wire_size(key: &str, encoded: &Encoded) -> usize {
    const ENVELOPE: usize = 96;
    const VERSION_DIGITS: usize = 32;
    encoded.bytes.len() + key.len() + VERSION_DIGITS + ENVELOPE
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentgateway_proto::v1;

    #[test]
    fn an_oversized_policy_becomes_a_deny_and_other_oversized_resources_are_left_out() {
        let rejections = Arc::new(Rejections::default());
        let registry = Registry::new(rejections.clone());
        let jwt = v1::JwtAuthentication {
            providers: vec![v1::JwtProvider { jwks: "x".repeat(RESOURCE_BYTES), ..Default::default() }],
            ..Default::default()
        };
        let policy = v1::Policy {
            key: "p".into(),
            target: Some(v1::policy::Target::ListenerKey("l".into())),
            spec: Some(v1::PolicySpec { kind: Some(v1::policy_spec::Kind::Jwt(jwt)) }),
            ..Default::default()
        };
        let route = v1::Route { key: "r".into(), rule_name: "y".repeat(RESOURCE_BYTES), ..Default::default() };
        registry.publish("a/b", Arc::new(Snapshot::of(&[Resource::Policy(policy), Resource::Route(route)])));

        let published = registry.newest("a/b").expect("published");
        assert!(published.kind(Kind::Route).expect("kind").is_empty());
        let policy = &published.kind(Kind::Policy).expect("kind")["p"];
        let Ok(Resource::Policy(policy)) = Resource::decode(Kind::Policy, &policy.bytes) else { panic!("a policy") };
        assert_eq!(policy.target, Some(v1::policy::Target::ListenerKey("l".into())));
        assert!(matches!(policy.spec.and_then(|s| s.kind), Some(v1::policy_spec::Kind::Deny(_))));
        assert_eq!(rejections.of_gateway("a/b").len(), 2);

        registry.publish("a/b", Arc::new(Snapshot::default()));
        assert!(rejections.of_gateway("a/b").is_empty());
    }
}
