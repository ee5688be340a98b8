//! Policies: what is done to a request besides routing it, compiled once into a chain that a request walks.
//!
//! A policy that cannot be applied becomes a deny, and [`Chain::errors`] says why. One file holds one policy: how it is
//! compiled, what it does to a request and to a response, and its tests.

mod a2a;
mod api_key;
mod authorization;
mod backend_auth;
mod basic_auth;
mod body;
mod buffer;
mod chain;
mod concurrency;
mod context;
mod cors;
mod credentials;
mod csrf;
mod deny;
mod direct_response;
mod error;
mod ext_authz;
mod ext_proc;
mod fault;
mod global_rate_limit;
mod hash;
mod headers;
mod jwt;
mod limits;
mod mcp;
mod observe;
mod path;
mod pool;
mod rate_limit;
mod reach;
mod redirect;
mod reply;
mod request_limits;
mod retry;
mod rewrite;
mod rules;
mod session;
mod settings;
mod state;
mod transformation;

pub use a2a::A2aRules;
pub use backend_auth::{BackendAuthentication, PayloadHash, Signer};
pub use body::{Read, Reading, Refused};
pub use chain::{Attached, Chain, InForce};
pub use concurrency::{InFlight, Permits};
pub use context::{Asked, RequestContext};
pub use credentials::{Credentials, Scheme};
pub use error::PolicyError;
pub use ext_proc::picker::{EndpointPicker, NotPicked};
pub use hash::HashPolicies;
pub use jwt::RemoteKeys;
pub use mcp::McpRules;
pub use observe::{Observers, Told, Witness};
pub use pool::Pool;
pub use rate_limit::{TokenCharge, admit_tokens, limits_tokens};
pub use reach::{Reach, Services};
pub use reply::{Reason, Reply};
pub use retry::Retry;
pub use session::{Carrier, SessionPersistence};
pub use settings::{Exchange, Mirror};
pub use state::{LimitCounters, State};

pub use agentgateway_expression::{HttpInput, McpItem};

#[cfg(test)]
mod testing;
