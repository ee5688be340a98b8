//! Pools of self-hosted model servers: each request goes where it is served soonest.
//!
//! The picker runs inside of the proxy: no call to another process, no callback for each piece of a body. What it chooses by
//! ([`picker`]) is a function of the endpoints' states, which are read from their metrics beside the requests.

mod answer;
mod backend;
pub mod exposition;
mod external;
mod flow;
pub mod limits;
mod metrics;
mod objectives;
pub mod picker;
mod pool;
pub mod prefix;
pub mod prompt;
mod readers;
mod rewrite;
mod serve;
pub mod server;
mod state;

pub use backend::InferenceFactory;
