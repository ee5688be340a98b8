//! What goes wrong with a request, and how each API says so.

use std::borrow::Cow;

use crate::Dialect;
use crate::fault::{Fault, FaultKind};

/// Why a request cannot be read or translated. All of them are the client's to mend: a `400`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body is no JSON.
    #[error("the body is not valid JSON: {0}")]
    Json(String),
    /// A member has a value that the API does not allow.
    #[error("{field}: {message}")]
    Invalid {
        /// Path of the member, such as `messages[2].content`.
        field: Cow<'static, str>,
        /// What it must be.
        message: String,
    },
    /// The provider's API has no way to say this.
    #[error("{field}: {reason} (this model is served through the {target} API)")]
    Unsupported {
        /// Path of the member.
        field: Cow<'static, str>,
        /// Why.
        reason: &'static str,
        /// What the provider speaks.
        target: Dialect,
    },
    /// An operation that the provider's API does not have.
    #[error("{operation} cannot be done by this model's provider: {reason}")]
    NoOperation {
        /// What was asked for, such as "counting tokens".
        operation: &'static str,
        /// Why.
        reason: &'static str,
    },
}

impl Error {
    pub(crate) fn json(error: serde_json::Error) -> Error {
        Error::Json(error.to_string())
    }

    pub(crate) fn invalid(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Error {
        Error::Invalid { field: field.into(), message: message.into() }
    }

    /// Path of the member that is at fault, where one is.
    pub fn field(&self) -> Option<&str> {
        match self {
            Error::Invalid { field, .. } | Error::Unsupported { field, .. } => Some(field),
            Error::Json(_) | Error::NoOperation { .. } => None,
        }
    }

    /// What the client is told.
    pub fn fault(&self) -> Fault {
        let mut fault = Fault::new(FaultKind::InvalidRequest, self.to_string());
        fault.param = self.field().map(str::to_owned);
        fault
    }
}
