//! One request of a client inside its session: who asks, with what rights, and over which connections.

use std::sync::Arc;
use std::time::Instant;

use crate::authorize::Authorizer;
use crate::backend::McpBackend;
use crate::fault::Fault;
use crate::link::http::Forwarded;
use crate::protocol::Method;
use crate::session::{Session, Use};
use crate::shared::Io;
use crate::target::Target;

/// Kept by the answer for as long as it streams.
pub(crate) struct Call {
    pub(crate) io: Io,
    pub(crate) backend: Arc<McpBackend>,
    pub(crate) session: Arc<Session>,
    pub(crate) forwarded: Forwarded,
    pub(crate) rules: Authorizer,
    _use: Use,
}

impl Call {
    pub(crate) fn new(
        io: Io,
        backend: Arc<McpBackend>,
        session: Arc<Session>,
        forwarded: Forwarded,
        rules: Authorizer,
    ) -> Self {
        let held = session.hold();
        Self { io, backend, session, forwarded, rules, _use: held }
    }

    pub(crate) fn target(&self, index: usize) -> Option<&Arc<Target>> {
        self.backend.targets.get(index)
    }

    pub(crate) fn federated(&self) -> bool {
        self.backend.naming.is_federated()
    }
}

/// Counts a request to a target. A target that begins or ceases to fail is logged; each single failure is in the access
/// log.
pub(crate) fn observe<T>(target: &Target, method: Method, since: Instant, result: &Result<T, Fault>) {
    target.metrics.request(method, result.is_ok(), since.elapsed());
    match result {
        Ok(_) if target.set_failing(false) => tracing::info!(mcp_target = %target.name, "target answers again"),
        Ok(_) => {}
        Err(fault) if target.set_failing(true) => {
            tracing::warn!(mcp_method = method.as_str(), reason = fault.reason(), "{fault}");
        }
        Err(fault) => tracing::debug!(mcp_method = method.as_str(), reason = fault.reason(), "{fault}"),
    }
}
