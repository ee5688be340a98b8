//! Policies: what is done to a request besides routing it. One file a policy.

mod authorization;
mod backend_auth;
mod cors;
mod ext_authz;
mod headers;
mod jwt;
mod mirror;
mod rate_limit;
mod rbac;
mod retry;
mod rewrite;
mod session_persistence;
mod timeout;

pub use authorization::{Authorization, Rule};
pub use backend_auth::{BackendAuth, Passthrough};
pub use cors::Cors;
pub use ext_authz::{ExtAuthz, ExtAuthzProtocol, ForwardBody, GrpcExtAuthz, HttpExtAuthz};
pub use headers::{Header, HeaderModifier};
pub use jwt::{JwtAuth, JwtMode, JwtProvider, KeySet};
pub use mirror::{Fraction, RequestMirror};
pub use rate_limit::{LocalRateLimit, RateLimit, TokenBucket};
pub use rbac::{Rbac, RbacAction, RbacPolicy};
pub use retry::Retry;
pub use rewrite::{PathModifier, RequestRedirect, UrlRewrite};
pub use session_persistence::{CookieConfig, CookieLifetime, SessionPersistence, SessionType};
pub use timeout::Timeout;
