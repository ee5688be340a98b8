//! A2A behind a route: an agent whose calls are authorized and counted, and whose card leads clients to the gateway (A2A 0.3.0 and
//! 1.0, over JSON-RPC and HTTP+JSON).
//!
//! An agent is plain HTTP for the pipeline; what is looked at here is a request before it goes out (`inspect`) and its answer
//! (`exchange`, `card`). Messages are read as they arrive (`json`, `message`) as far as rules and metrics ask, and go on byte for
//! byte.

mod address;
mod call;
mod card;
mod cards;
mod collect;
mod exchange;
mod fault;
mod inspect;
mod json;
mod limits;
mod log;
mod message;
mod metrics;
mod observe;
mod operation;
mod paths;

pub use inspect::A2aFactory;
pub use metrics::Metrics;
