//! Policies: what is done to a request besides routing it. One file a policy.

mod authorization;
mod backend_auth;
mod cors;
mod headers;
mod jwt;
mod rate_limit;
mod rbac;
mod rewrite;

pub use authorization::{Authorization, Rule};
pub use backend_auth::{BackendAuth, Passthrough};
pub use cors::Cors;
pub use headers::{Header, HeaderModifier};
pub use jwt::{JwtAuth, JwtMode, JwtProvider, KeySet};
pub use rate_limit::{LocalRateLimit, RateLimit, TokenBucket};
pub use rbac::{Rbac, RbacAction, RbacPolicy};
pub use rewrite::{PathModifier, RequestRedirect, UrlRewrite};
