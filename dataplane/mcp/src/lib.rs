//! MCP behind a route: one endpoint for one or several MCP servers, over streamable HTTP, HTTP+SSE or stdio (MCP
//! 2024-11-05 to 2025-11-25).
//!
//! A client's message is parsed as far as its envelope (`jsonrpc`), finds its session (`resume`, `table`), is sent to
//! the target that it is for (`dispatch`, `exchange`), and the target's bytes go back (`reply`). With one target they
//! go unread wherever no rule has to look at them; with several, names, URIs and ids are exchanged in place (`naming`,
//! `view`), and lists are merged (`lists`). A session has one link per target (`connect`, `link`), made when it is
//! needed and made anew when it is lost.

mod answer;
mod authorize;
mod backend;
mod breaker;
mod call;
mod capabilities;
mod connect;
mod dispatch;
mod downstream;
mod exchange;
mod fault;
mod identity;
mod initialize;
mod jsonrpc;
pub mod limits;
mod link;
mod lists;
mod log;
mod metrics;
mod modern;
mod naming;
mod outbox;
mod protocol;
mod reply;
mod resume;
mod rounds;
mod session;
mod shared;
mod splice;
mod sse;
mod stream;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod token;
mod view;
mod wishes;

pub use backend::McpFactory;
pub use limits::Limits;
pub use metrics::Metrics;
pub use token::{NoRandom, SessionKey, ShortKey};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a thread that panicked inside left nothing half done that others could not live with.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
