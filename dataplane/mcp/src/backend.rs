//! The MCP backend kind: compiled targets, and their place in the HTTP pipeline.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agentgateway_pipeline::protocol::{BackendRequest, ProtocolBackend, ProtocolFactory};
use agentgateway_pipeline::{Error, worker::Worker};
use agentgateway_proto::{key, v1};
use agentgateway_upstream::{Body, Cluster};
use futures::future::LocalBoxFuture;
use http::Response;

use crate::downstream::{self, Inbound};
use crate::limits::Limits;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::naming::Naming;
use crate::shared::{Io, Net, Shared};
use crate::target::Target;
use crate::token::{NoRandom, SessionKey};

/// An MCP backend, compiled.
#[derive(Debug)]
pub(crate) struct McpBackend {
    pub(crate) key: Arc<str>,
    pub(crate) targets: Vec<Arc<Target>>,
    pub(crate) naming: Naming,
    /// A target that fails lets handshakes and lists fail.
    pub(crate) fails_closed: bool,
}

impl McpBackend {
    pub(crate) fn compile(
        metrics: &Metrics,
        backend: &v1::Backend,
        clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Self, String> {
        let Some(v1::backend::Kind::Mcp(mcp)) = &backend.kind else {
            return Err("it is not an MCP backend".into());
        };
        let names: Vec<&str> = mcp.targets.iter().map(|t| t.name.as_str()).collect();
        let naming = Naming::of(&names, mcp.prefix_mode())?;
        let fails_closed = mcp.failure_mode() == v1::McpFailureMode::McpFailureClosed;
        let printed = key::print_backend(backend);
        let targets = mcp.targets.iter().enumerate().map(|(index, spec)| {
            let counters = metrics.target(&printed, &spec.name);
            Target::compile(index, spec, clusters, counters).map(Arc::new)
        });
        Ok(Self { key: backend.key.as_str().into(), targets: targets.collect::<Result<_, _>>()?, naming, fails_closed })
    }
}

/// Makes MCP backends; holds the sessions of all of them.
#[derive(Debug, Clone)]
pub struct McpFactory {
    shared: Arc<Shared>,
}

impl McpFactory {
    /// With the key under which session ids are sealed, which the replicas of a proxy share; without one, ids
    /// end with the process. Must be called inside of the background runtime, where idle sessions are looked after.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn new(limits: Limits, session_key: Option<SessionKey>) -> Result<Self, NoRandom> {
        let shared = Shared::new(limits, session_key)?;
        tokio::spawn(Arc::clone(&shared).sweep());
        Ok(Self { shared })
    }

    /// The counters, to be registered.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Ends all sessions and child processes, and waits for these at most `patience`.
    pub async fn shutdown(&self, patience: Duration) {
        self.shared.stop.cancel();
        for session in self.shared.table.drain() {
            drop(session.end());
        }
        self.shared.count_sessions();
        self.shared.tasks.close();
        if tokio::time::timeout(patience, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("some MCP processes did not end in time");
        }
    }
}

impl ProtocolFactory for McpFactory {
    fn compile(
        &self,
        backend: &v1::Backend,
        clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Arc<dyn ProtocolBackend>, String> {
        let compiled = McpBackend::compile(&self.shared.metrics, backend, clusters)?;
        Ok(Arc::new(Served { backend: Arc::new(compiled), shared: Arc::clone(&self.shared) }))
    }
}

/// A backend with the sessions that it serves.
#[derive(Debug)]
struct Served {
    backend: Arc<McpBackend>,
    shared: Arc<Shared>,
}

impl ProtocolBackend for Served {
    fn handle(
        self: Arc<Self>,
        request: BackendRequest,
        worker: Rc<Worker>,
    ) -> LocalBoxFuture<'static, Result<Response<Body>, Error>> {
        Box::pin(async move {
            let io = Io { shared: Arc::clone(&self.shared), net: worker as Rc<dyn Net> };
            let BackendRequest { head, body, context, policies, .. } = request;
            let mut log = Log::new(context.telemetry.clone());
            let inbound = Inbound { head, context, policies };
            Ok(downstream::handle(io, Arc::clone(&self.backend), inbound, body, &mut log).await)
        })
    }
}
