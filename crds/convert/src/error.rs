//! Why a configuration cannot be converted, and in which field.

use agentgateway_types::Path;

/// Why a configuration cannot be converted. Paths start at the object that was given to the conversion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field's value cannot be used.
    #[error("{path}: {reason}")]
    Invalid {
        /// The field.
        path: Path,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A field is not set, and must be.
    #[error("{path}: must be set")]
    Missing {
        /// The field.
        path: Path,
    },
    /// Not exactly one member of a union is set.
    #[error("{path}: exactly one of {members} must be set")]
    NotOne {
        /// The union.
        path: Path,
        /// Its members.
        members: &'static str,
    },
}

impl Error {
    /// The field.
    pub fn path(&self) -> &Path {
        match self {
            Error::Invalid { path, .. } | Error::Missing { path } | Error::NotOne { path, .. } => path,
        }
    }

    /// What is wrong with the field, without its path.
    pub fn reason(&self) -> String {
        match self {
            Error::Invalid { reason, .. } => reason.clone(),
            Error::Missing { .. } => "must be set".to_owned(),
            Error::NotOne { members, .. } => format!("exactly one of {members} must be set"),
        }
    }

    /// This error, as seen from an object that holds the converted one at `outer`.
    #[must_use]
    pub fn within(self, outer: Path) -> Error {
        match self {
            Error::Invalid { path, reason } => Error::Invalid { path: outer.join(path), reason },
            Error::Missing { path } => Error::Missing { path: outer.join(path) },
            Error::NotOne { path, members } => Error::NotOne { path: outer.join(path), members },
        }
    }

    pub(crate) fn invalid(path: Path, reason: impl Into<String>) -> Error {
        Error::Invalid { path, reason: reason.into() }
    }
}

/// Adds where an object is to the errors of its conversion.
pub(crate) trait Within<T> {
    fn within(self, outer: impl FnOnce() -> Path) -> Result<T, Error>;
}

impl<T> Within<T> for Result<T, Error> {
    fn within(self, outer: impl FnOnce() -> Path) -> Result<T, Error> {
        self.map_err(|error| error.within(outer()))
    }
}
