//! Large bodies are read and written beside the workers.

use std::sync::OnceLock;

use agentgateway_policy::Pool;

use crate::limits::MAX_INLINE_BODY;

/// Threads for large bodies, started with the first of them.
#[derive(Debug, Default)]
pub(crate) struct Offload(OnceLock<Pool>);

impl Offload {
    /// What `job` makes of `size` bytes; `None` when too much waits already.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        size: usize,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if size <= MAX_INLINE_BODY {
            return Some(job());
        }
        self.0.get_or_init(|| Pool::start("llm")).run(job).await
    }
}
