//! The protocols that backends can speak, put together for the pipeline.

use std::sync::Arc;

use agentgateway_inference::InferenceFactory;
use agentgateway_mcp::{Limits, McpFactory, SessionKey};
use agentgateway_pipeline::protocol::{ProtocolBackend, ProtocolFactory};
use agentgateway_proto::v1;
use agentgateway_upstream::{AddressRules, Cluster, EndpointRegistry, Resolver};
use anyhow::Context;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

/// Compiles backends of all protocols, and ends what they run.
#[derive(Clone)]
pub(crate) struct Protocols {
    mcp: McpFactory,
    inference: InferenceFactory,
}

/// What protocols need of the process.
pub(crate) struct Process {
    pub(crate) endpoints: Arc<EndpointRegistry>,
    pub(crate) rules: Arc<AddressRules>,
    pub(crate) resolver: Resolver,
    pub(crate) background: Handle,
    /// Of MCP session ids.
    pub(crate) session_key: Option<SessionKey>,
}

impl Protocols {
    /// Must be called inside of the background runtime.
    pub(crate) fn new(registry: &mut Registry, process: Process) -> anyhow::Result<Protocols> {
        let Process { endpoints, rules, resolver, background, session_key } = process;
        let mcp = McpFactory::new(Limits::default(), session_key).context("cannot make a key for MCP sessions")?;
        mcp.metrics().register(registry);
        let inference = InferenceFactory::new(endpoints, rules, resolver, &background);
        inference.register(registry);
        Ok(Protocols { mcp, inference })
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
            Some(v1::backend::Kind::Inference(_)) => self.inference.compile(backend, clusters),
            _ => Err("the backend speaks no protocol that this release knows".to_owned()),
        }
    }
}
