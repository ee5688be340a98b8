//! The protocols that backends can speak, put together for the pipeline.

use std::sync::Arc;

use agentgateway_pipeline::protocol::{ProtocolBackend, ProtocolFactory};
use agentgateway_proto::v1;
use agentgateway_upstream::Cluster;
use prometheus_client::registry::Registry;

/// Compiles backends of all protocols.
struct Protocols {}

/// The factory for this process.
pub(crate) fn factory(_registry: &mut Registry, _background: &tokio::runtime::Handle) -> Arc<dyn ProtocolFactory> {
    Arc::new(Protocols {})
}

impl ProtocolFactory for Protocols {
    fn compile(
        &self,
        _backend: &v1::Backend,
        _clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Arc<dyn ProtocolBackend>, String> {
        Err("MCP comes next".to_owned())
    }
}
