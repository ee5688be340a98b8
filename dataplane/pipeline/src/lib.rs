//! The pipeline: configuration compiled into snapshots, connections, and the walk of a request through policies, routing and
//! backends. What is not HTTP (TCP, TLS, UDP) is carried to its backend unread.
//!
//! [`store::Store`] turns resources into immutable [`snapshot::Snapshot`]s; [`worker`] threads accept connections and
//! load one snapshot per request. What is spoken behind a route other than plain HTTP plugs in by [`protocol`].

mod attempts;
mod authentication;
mod bind_limits;
mod connection;
mod deadline;
pub mod discard;
mod error;
mod exchange;
pub mod forward;
mod forwarded;
mod grpc;
pub mod limits;
pub mod listen;
mod live;
mod mirror;
mod observe;
mod persistence;
pub mod protocol;
mod replay;
mod reply;
mod request;
mod select;
mod services;
pub mod snapshot;
pub mod store;
mod tap;
mod target;
mod tracked;
mod tunnel;
mod udp;
mod upgrade;
pub mod worker;

#[cfg(test)]
mod testing;

pub use error::Error;
pub use forward::remove_hop_by_hop;
pub use services::WorkerServices;
