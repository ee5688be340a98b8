//! What policies may use while they look at a request: the worker's connections, and the backends of the configuration that
//! the request sees.

use std::sync::Arc;

use agentgateway_policy::Services;
use agentgateway_upstream::{Cluster, Upstream};

use crate::snapshot::Snapshot;
use crate::worker::Worker;

/// For one request.
pub(crate) struct RequestServices<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) snapshot: &'a Snapshot,
}

impl Services for RequestServices<'_> {
    fn upstream(&self) -> &Upstream {
        &self.worker.upstream
    }

    fn cluster(&self, key: &str) -> Option<Arc<Cluster>> {
        self.snapshot.cluster(key)
    }

    fn random_below(&self, n: u64) -> u64 {
        self.worker.random_below(n)
    }
}
