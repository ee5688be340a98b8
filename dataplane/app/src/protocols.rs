//! The protocols that backends can speak, put together for the pipeline.

use std::sync::Arc;
use std::time::Duration;

use agentgateway_mcp::{Limits, McpFactory};
use agentgateway_pipeline::protocol::{ProtocolBackend, ProtocolFactory};
use agentgateway_proto::v1;
use agentgateway_upstream::Cluster;
use anyhow::Context;
use prometheus_client::registry::Registry;

/// How long child processes may take to end.
const END: Duration = Duration::from_secs(8);

/// Compiles backends of all protocols.
#[derive(Clone)]
pub(crate) struct Protocols {
    mcp: McpFactory,
}

impl Protocols {
    /// For this process; must be called inside of the background runtime.
    pub(crate) fn new(registry: &mut Registry) -> anyhow::Result<Self> {
        let mcp = McpFactory::new(Limits::default(), None).context("cannot make MCP sessions")?;
        mcp.metrics().register(registry);
        Ok(Protocols { mcp })
    }

    /// Ends what outlives a request: sessions and child processes.
    pub(crate) async fn end(&self) {
        self.mcp.shutdown(END).await;
    }
}

impl ProtocolFactory for Protocols {
    fn compile(
        &self,
        backend: &v1::Backend,
        clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Arc<dyn ProtocolBackend>, String> {
        self.mcp.compile(backend, clusters)
    }
}
