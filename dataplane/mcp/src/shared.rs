//! What all MCP backends of the process share, and what one worker adds to it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use agentgateway_pipeline::worker::Worker;
use agentgateway_upstream::Upstream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{self, Limits};
use crate::metrics::Metrics;
use crate::modern::parked::Lot;
use crate::table::Table;
use crate::token::{NoRandom, Sealer, SessionKey};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) sealer: Sealer,
    pub(crate) table: Table,
    pub(crate) metrics: Arc<Metrics>,
    /// Calls that wait for a client's answer.
    pub(crate) parked: Lot,
    /// Places for child processes.
    pub(crate) processes: Arc<Semaphore>,
    /// The tasks that own child processes.
    pub(crate) tasks: TaskTracker,
    /// Ends all child processes.
    pub(crate) stop: CancellationToken,
}

impl Shared {
    pub(crate) fn new(limits: Limits, session_key: Option<SessionKey>) -> Result<Arc<Self>, NoRandom> {
        Ok(Arc::new(Self {
            sealer: Sealer::new(session_key)?,
            table: Table::new(limits.sessions),
            metrics: Arc::default(),
            parked: Lot::default(),
            processes: Arc::new(Semaphore::new(limits.processes)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            limits,
        }))
    }

    pub(crate) fn count_sessions(&self) {
        self.metrics.sessions.store(i64::try_from(self.table.len()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Drops idle sessions, until the process stops. Their links end with them: processes are stopped, and servers over
    /// HTTP have an expiry of their own, while the session's id could still be resumed.
    pub(crate) async fn sweep(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(limits::SWEEP) => {}
                () = self.stop.cancelled() => return,
            }
            self.parked.sweep();
            for session in self.table.sweep(self.limits.session_idle) {
                self.metrics.sessions_expired.fetch_add(1, Ordering::Relaxed);
                drop(session.end());
            }
            self.count_sessions();
        }
    }
}

/// What MCP needs of a worker.
pub(crate) trait Net {
    fn upstream(&self) -> &Upstream;
    fn background(&self) -> &tokio::runtime::Handle;
}

impl Net for Worker {
    fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    fn background(&self) -> &tokio::runtime::Handle {
        &self.background
    }
}

/// What a request works with: the process's state and its worker's connections.
#[derive(Clone)]
pub(crate) struct Io {
    pub(crate) shared: Arc<Shared>,
    pub(crate) net: Rc<dyn Net>,
}

impl Io {
    pub(crate) fn upstream(&self) -> &Upstream {
        self.net.upstream()
    }

    pub(crate) fn background(&self) -> &tokio::runtime::Handle {
        self.net.background()
    }
}
