//! The one place where each user-facing policy, match and backend becomes its message.
//!
//! What the schema of the user-facing types cannot say, or what reaches here without a schema's check (the YAML file), is
//! checked here, and an [`Error`] names the field. Expressions are not compiled here: that is `agentgateway-expression`.

mod check;
mod error;
mod jwks;

pub mod backend;
mod bind_limits;
pub mod inference;
pub mod matches;
pub mod policy;
pub mod reserved;
pub mod tls;

pub use bind_limits::bind_limits;
pub use error::Error;
