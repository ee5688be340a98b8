//! The translator: keeps the objects, finds out what a change concerns, and translates that again.

use agentgateway_proto::snapshot::Snapshot;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{Change, Name, Output, Rejection, Settings, StatusUpdate};

/// How often objects were translated, since the translator was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Gateways.
    pub gateways: u64,
    /// HTTPRoutes.
    pub routes: u64,
    /// Backends and ports of Services.
    pub backends: u64,
    /// TrafficPolicies.
    pub policies: u64,
}

/// Keeps the objects and what was made of them.
#[derive(Debug)]
pub struct Translator {
    settings: Settings,
}

impl Translator {
    /// A translator that knows no objects.
    pub fn new(settings: Settings) -> Translator {
        Translator { settings }
    }

    /// Takes the changes in, all at once, and says what they change. `now` is the time for conditions that change.
    pub fn apply(&mut self, _changes: impl IntoIterator<Item = Change>, _now: &Time) -> Output {
        Output::default()
    }

    /// Sets what the proxies of a gateway refuse, all of it; it becomes conditions of the objects.
    pub fn set_rejections(&mut self, _gateway: &Name, _rejections: Vec<Rejection>, _now: &Time) -> Output {
        Output::default()
    }

    /// What the proxies of a gateway are to have; `None` when it is not ours.
    pub fn snapshot(&self, _gateway: &Name) -> Option<&Snapshot> {
        None
    }

    /// The gateways of our classes.
    pub fn gateways(&self) -> impl Iterator<Item = &Name> {
        std::iter::empty()
    }

    /// All statuses that were given out and have not come back with their objects yet.
    pub fn pending_statuses(&self) -> Vec<StatusUpdate> {
        Vec::new()
    }

    /// How often objects were translated.
    pub fn counters(&self) -> Counters {
        let _ = &self.settings;
        Counters::default()
    }
}
