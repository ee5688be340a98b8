//! Answers that policies give instead of the backend.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::credentials::Scheme;

/// An answer that a policy gives instead of the backend.
#[derive(Debug)]
pub struct Reply {
    /// What the client gets.
    pub response: Response<Bytes>,
    /// Why, for the access log; never sent to the client.
    pub reason: Reason,
}

/// Why a policy answered, as access logs and metrics name it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A policy could not be applied; with what is wrong with it.
    Denied(Arc<str>),
    /// A CORS preflight request, which the gateway answers itself.
    Preflight,
    /// No credential, or one that does not hold; with what is wrong with it.
    Unauthenticated(Scheme, &'static str),
    /// An authorization rule refused, or none allowed; with the policy's source.
    Unauthorized(Arc<str>),
    /// A local rate limit is used up; with the policy's source.
    RateLimited(Arc<str>),
    /// A global rate limit could not be asked for; with the policy's source and what went wrong.
    RateLimitUnavailable(Arc<str>),
    /// Too many requests are being served; with the policy's source.
    ConcurrencyLimited(Arc<str>),
    /// The request is larger than a policy allows.
    TooLarge(&'static str),
    /// External authorization refused; with the policy's source.
    ExternallyDenied(Arc<str>),
    /// External authorization could not be asked; with the policy's source and what went wrong.
    AuthorizationUnavailable(Arc<str>),
    /// A request from another site's page; with the policy's source.
    CrossSite(Arc<str>),
    /// The body cannot be read whole; with what is wrong with it.
    BodyNotBuffered(&'static str),
    /// The request cannot be transformed; with the policy's source and what went wrong.
    NotTransformed(Arc<str>),
    /// A processor answered in the backend's stead; with the policy's source and what it says.
    Processed(Arc<str>),
    /// A processor could not be asked; with the policy's source and what went wrong.
    ProcessingFailed(Arc<str>),
    /// The body cannot be sent to external authorization.
    BodyNotForwarded(&'static str),
    /// A redirect filter.
    Redirect,
    /// An injected fault.
    FaultInjected,
    /// A policy that answers itself.
    DirectResponse,
    /// The request cannot be rewritten as the policy says.
    NotRewritten(&'static str),
}

impl Reason {
    /// One word for metrics and the access log.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::Denied(_) => "policy_denied",
            Reason::Preflight => "cors_preflight",
            Reason::Unauthenticated(scheme, _) => scheme.code(),
            Reason::Unauthorized(_) => "authorization",
            Reason::RateLimited(_) => "rate_limit",
            Reason::RateLimitUnavailable(_) => "rate_limit_error",
            Reason::ConcurrencyLimited(_) => "concurrency_limit",
            Reason::TooLarge(_) => "request_limits",
            Reason::ExternallyDenied(_) => "ext_authz_denied",
            Reason::AuthorizationUnavailable(_) => "ext_authz_error",
            Reason::CrossSite(_) => "csrf",
            Reason::BodyNotBuffered(_) => "buffer",
            Reason::NotTransformed(_) => "transformation",
            Reason::Processed(_) => "ext_proc",
            Reason::ProcessingFailed(_) => "ext_proc_error",
            Reason::BodyNotForwarded(_) => "ext_authz_body",
            Reason::Redirect => "redirect",
            Reason::DirectResponse => "direct_response",
            Reason::FaultInjected => "fault_injected",
            Reason::NotRewritten(_) => "rewrite",
        }
    }

    /// What an operator wants to know beyond the code.
    pub fn detail(&self) -> &str {
        match self {
            Reason::Denied(text)
            | Reason::Unauthorized(text)
            | Reason::RateLimited(text)
            | Reason::RateLimitUnavailable(text)
            | Reason::ConcurrencyLimited(text)
            | Reason::CrossSite(text)
            | Reason::NotTransformed(text)
            | Reason::Processed(text)
            | Reason::ProcessingFailed(text)
            | Reason::ExternallyDenied(text)
            | Reason::AuthorizationUnavailable(text) => text,
            Reason::Unauthenticated(_, text)
            | Reason::NotRewritten(text)
            | Reason::BodyNotBuffered(text)
            | Reason::BodyNotForwarded(text)
            | Reason::TooLarge(text) => text,
            Reason::Preflight | Reason::Redirect | Reason::DirectResponse | Reason::FaultInjected => "",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail() {
            "" => f.write_str(self.code()),
            detail => write!(f, "{}: {detail}", self.code()),
        }
    }
}

impl Reply {
    /// An answer with a short text, or without a body where `text` is empty.
    pub(crate) fn new(status: StatusCode, text: &'static str, reason: Reason) -> Reply {
        let mut response = Response::new(Bytes::from_static(text.as_bytes()));
        *response.status_mut() = status;
        if !text.is_empty() {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        Reply { response, reason }
    }
}
