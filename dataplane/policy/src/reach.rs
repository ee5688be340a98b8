//! What policies can reach besides the head of a request: its body, and other services.

use std::sync::Arc;

use agentgateway_upstream::{Body, Cluster, Upstream};

/// What the pipeline offers to policies that ask other services.
pub trait Services {
    /// Connections of this thread.
    fn upstream(&self) -> &Upstream;

    /// The backend of plain HTTP or gRPC with this key, as it is configured at this moment.
    fn cluster(&self, key: &str) -> Option<Arc<Cluster>>;

    /// A number below `n`, which is not 0.
    fn random_below(&self, n: u64) -> u64;
}

/// What a policy can reach while it looks at a request.
pub struct Reach<'a> {
    /// Other services.
    pub services: &'a dyn Services,
    /// The body, unread; None where it is gone.
    pub body: &'a mut Option<Body>,
}
