//! What goes wrong on the way to a backend, as data.

use std::borrow::Cow;

use http::StatusCode;

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The one who sent the request.
    Client,
    /// The backend or the way to it.
    Upstream,
    /// The gateway or its configuration.
    Gateway,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The backend has no endpoint that is ready.
    NoEndpoints,
    /// The host name has no address.
    Resolve,
    /// The address is one that backends must not have.
    AddressRefused,
    /// No connection came about.
    Connect,
    /// The endpoint did not show what it must, or does not speak TLS as it should.
    Tls,
    /// The endpoint's connections are all in use.
    Overloaded,
    /// A circuit breaker is open: the backend has as much of something as it may.
    CircuitOpen,
    /// The connection broke before a response came.
    Reset,
    /// The backend does not speak HTTP as it should.
    Protocol,
    /// The client's request body broke off.
    RequestBody,
    /// No answer in time.
    Timeout,
}

/// A failed exchange with a backend.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What happened.
    pub kind: Kind,
    /// Nothing of the request was processed, so another endpoint may be tried.
    pub retry_safe: bool,
    /// For the operator: what happened to which endpoint.
    pub message: Cow<'static, str>,
}

impl Error {
    /// An error that may not be retried.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Error { kind, retry_safe: false, message: message.into() }
    }

    pub(crate) fn retry_safe(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Error { kind, retry_safe: true, message: message.into() }
    }

    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self.kind {
            Kind::RequestBody => Blame::Client,
            Kind::AddressRefused => Blame::Gateway,
            _ => Blame::Upstream,
        }
    }

    /// What the client is answered.
    pub fn status(&self) -> StatusCode {
        match self.kind {
            Kind::NoEndpoints | Kind::Resolve | Kind::Connect | Kind::Overloaded | Kind::CircuitOpen => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Kind::AddressRefused => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::Reset | Kind::Protocol | Kind::Tls => StatusCode::BAD_GATEWAY,
            Kind::RequestBody => StatusCode::BAD_REQUEST,
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// A word for the access log.
    pub fn reason(&self) -> &'static str {
        match self.kind {
            Kind::NoEndpoints => "no_endpoints",
            Kind::Resolve => "dns_failure",
            Kind::AddressRefused => "address_refused",
            Kind::Connect => "connect_failure",
            Kind::Tls => "upstream_tls_failure",
            Kind::Overloaded => "upstream_overloaded",
            Kind::CircuitOpen => "circuit_open",
            Kind::Reset => "upstream_reset",
            Kind::Protocol => "upstream_protocol_error",
            Kind::RequestBody => "request_body_error",
            Kind::Timeout => "upstream_timeout",
        }
    }
}
