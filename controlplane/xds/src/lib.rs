//! The discovery server: hands each proxy the snapshot of its gateway, and only what it lacks of it.
//!
//! Owns the streams, the newest snapshot of every gateway and the table of what proxies rejected. It never looks into a
//! resource, but where a proxy of another release would misread one ([`skew`]).

pub mod auth;
mod delta;
pub mod metrics;
mod push;
pub mod registry;
pub mod rejections;
pub mod service;
mod session;
pub mod skew;
mod sotw;

pub use auth::{Allowed, Authenticator, Refusal};
pub use metrics::Metrics;
pub use registry::Registry;
pub use rejections::{Rejection, Rejections};
pub use service::Discovery;
