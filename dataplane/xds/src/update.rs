//! What the proxy gets and what it answers.

use std::time::SystemTime;

use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use tokio::sync::oneshot;

/// Where an update comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The control plane, now.
    ControlPlane,
    /// The kept snapshot, written at this time.
    Kept(SystemTime),
}

/// One resource that the proxy could not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its kind.
    pub kind: Kind,
    /// Its key.
    pub key: String,
    /// Why, for the operator; no secrets.
    pub reason: String,
}

/// One generation: the difference from the one before. To be applied as a whole, then answered.
pub struct ConfigUpdate {
    /// New resources and new versions, in an order in which nothing refers to what comes later.
    pub changed: Vec<Resource>,
    /// What is gone.
    pub removed: Vec<(Kind, String)>,
    /// Hash that names the generation.
    pub generation: String,
    /// Where it comes from.
    pub origin: Origin,
    pub(crate) answer: oneshot::Sender<Vec<Rejected>>,
}

impl ConfigUpdate {
    /// Says that the generation is in use, and which resources of it could not be applied. Without this answer the client
    /// stops.
    pub fn answer(self, rejected: Vec<Rejected>) {
        // The client is gone only when the process ends.
        let _ = self.answer.send(rejected);
    }
}

// Counts only: resources may hold secrets.
impl std::fmt::Debug for ConfigUpdate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigUpdate")
            .field("generation", &self.generation)
            .field("origin", &self.origin)
            .field("changed", &self.changed.len())
            .field("removed", &self.removed.len())
            .finish()
    }
}
