//! What policies may use while they look at a request: the worker's connections, and the backends of the configuration that
//! the request sees.

use std::sync::Arc;

use agentgateway_policy::Services;
use agentgateway_upstream::{Cluster, Upstream};

use crate::snapshot::Snapshot;
use crate::worker::Worker;

/// For what a protocol backend asks of policies: with the configuration in force at this moment.
pub struct WorkerServices<'a> {
    worker: &'a Worker,
    snapshot: Arc<Snapshot>,
}

impl Worker {
    /// What policies may use.
    pub fn services(&self) -> WorkerServices<'_> {
        WorkerServices { worker: self, snapshot: self.snapshot() }
    }
}

impl Services for WorkerServices<'_> {
    fn upstream(&self) -> &Upstream {
        &self.worker.upstream
    }

    fn cluster(&self, key: &str) -> Option<Arc<Cluster>> {
        RequestServices { worker: self.worker, snapshot: &self.snapshot }.cluster(key)
    }

    fn random_below(&self, n: u64) -> u64 {
        self.worker.random_below(n)
    }
}

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
