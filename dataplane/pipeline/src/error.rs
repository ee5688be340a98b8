//! What goes wrong after a request was routed, as data.

use std::borrow::Cow;

use agentgateway_upstream::{Blame, Kind};
use http::StatusCode;

/// A request that could not be answered by its backend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The way to the backend, or the backend.
    #[error(transparent)]
    Upstream(#[from] agentgateway_upstream::Error),
    /// Anything else that a protocol has to say.
    #[error("{message}")]
    Protocol {
        /// Who is at fault.
        blame: Blame,
        /// What the client is answered.
        status: StatusCode,
        /// A word for the access log.
        reason: &'static str,
        /// For the operator.
        message: Cow<'static, str>,
    },
}

impl Error {
    /// What the client is answered.
    pub fn status(&self) -> StatusCode {
        match self {
            Error::Upstream(e) => e.status(),
            Error::Protocol { status, .. } => *status,
        }
    }

    /// Whether surely no byte of the request left the gateway.
    pub fn is_unsent(&self) -> bool {
        let Error::Upstream(error) = self else { return false };
        error.retry_safe || matches!(error.kind, Kind::NoEndpoints | Kind::Resolve | Kind::Connect | Kind::Overloaded)
    }

    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Upstream(e) => e.blame(),
            Error::Protocol { blame, .. } => *blame,
        }
    }

    /// A word for the access log.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Upstream(e) => e.reason(),
            Error::Protocol { reason, .. } => reason,
        }
    }
}
