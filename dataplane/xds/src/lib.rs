//! The discovery client: keeps a proxy's configuration equal to what the control plane has for its gateway.
//!
//! It delivers whole generations, so that no request ever sees half a change, answers for what the proxy could not apply,
//! and keeps the last good snapshot in a file, from which a restarted proxy starts without a control plane.

mod backoff;
pub mod client;
pub mod config;
mod connect;
pub mod kept;
mod requests;
mod status;
mod stream;
mod transaction;
pub mod update;

pub use client::{Started, start};
pub use config::ClientConfig;
pub use status::Status;
pub use update::{ConfigUpdate, Origin, Rejected};
