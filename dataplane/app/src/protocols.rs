//! The protocols that backends can speak, put together for the pipeline.

use std::sync::Arc;

use agentgateway_mcp::{Limits, McpFactory, SessionKey};
use agentgateway_pipeline::protocol::{ProtocolBackend, ProtocolFactory};
use agentgateway_proto::v1;
use agentgateway_upstream::Cluster;
use anyhow::Context;
use prometheus_client::registry::Registry;

/// Compiles backends of all protocols, and ends what they run.
#[derive(Clone)]
pub(crate) struct Protocols {
    mcp: McpFactory,
}

impl Protocols {
    /// Must be called inside of the background runtime.
    pub(crate) fn new(registry: &mut Registry, session_key: Option<SessionKey>) -> anyhow::Result<Protocols> {
        let mcp = McpFactory::new(Limits::default(), session_key).context("cannot make a key for MCP sessions")?;
        mcp.metrics().register(registry);
        Ok(Protocols { mcp })
    }

    /// Ends sessions and child processes.
    pub(crate) async fn shutdown(&self, patience: std::time::Duration) {
        self.mcp.shutdown(patience).await;
    }
}

impl ProtocolFactory for Protocols {
    fn compile(
        &self,
        backend: &v1::Backend,
        clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Arc<dyn ProtocolBackend>, String> {
        match &backend.kind {
            Some(v1::backend::Kind::Mcp(_)) => self.mcp.compile(backend, clusters),
            _ => Err("the backend speaks no protocol that this release knows".to_owned()),
        }
    }
}
