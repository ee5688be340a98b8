//! Policies: what is done to a request besides routing it, compiled once into a chain that a request walks.
//!
//! A policy that protects and cannot be applied becomes a deny, and [`Chain::errors`] says why. One file holds one policy:
//! how it is compiled, what it does to a request and to a response, and its tests.

mod chain;
mod context;
mod deny;
mod error;
mod mcp;
mod reason;
mod state;

pub use chain::{Attached, Chain};
pub use context::RequestContext;
pub use error::PolicyError;
pub use mcp::McpRules;
pub use state::State;

pub use agentgateway_expression::{HttpInput, McpItem};

use bytes::Bytes;

/// An answer that a policy gives instead of the backend.
#[derive(Debug)]
pub struct Reply {
    /// What the client gets.
    pub response: http::Response<Bytes>,
    /// Why, for the access log; never sent to the client.
    pub reason: Reason,
}

/// Why a policy answered, as access logs and metrics name it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A policy that protects could not be applied.
    Denied(std::sync::Arc<str>),
    /// A CORS preflight request, which the gateway answers itself.
    Preflight,
    /// No token, or one that does not hold.
    Unauthenticated(&'static str),
    /// An authorization rule refused, or none allowed.
    Unauthorized(std::sync::Arc<str>),
    /// A local rate limit is used up.
    RateLimited(std::sync::Arc<str>),
    /// A redirect filter.
    Redirect,
    /// The request cannot be rewritten as the policy says.
    Malformed(&'static str),
}
