//! The pipeline: configuration compiled into snapshots, connections, and the walk of a request through policies, routing and
//! backends. What is not HTTP (TCP, TLS, UDP) is carried to its backend unread.
//!
//! [`store::Store`] turns resources into immutable [`snapshot::Snapshot`]s; [`worker`] threads accept connections and
//! load one snapshot per request. What is spoken behind a route other than plain HTTP plugs in by [`protocol`].

mod connection;
pub mod discard;
mod error;
mod forward;
pub mod limits;
pub mod listen;
pub mod protocol;
mod reply;
mod request;
pub mod snapshot;
pub mod store;
mod tracked;
mod udp;
pub mod worker;

pub use error::Error;
