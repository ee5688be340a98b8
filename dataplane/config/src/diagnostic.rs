//! Messages about a file, each with its place.

use std::fmt;

use agentgateway_types::Path;

use crate::limits::MAX_ERRORS;
use crate::tree::{Node, Position};

/// One message: `file:line:column: field path: what is wrong`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as it was named.
    pub file: String,
    /// Line and column, both from 1; the column in characters.
    pub place: Option<(usize, usize)>,
    /// The field, such as `binds[0].listeners[0].name`.
    pub path: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if let Some(path) = &self.path {
            write!(f, ": {path}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Diagnostic {
    pub(crate) fn of_file(file: &str, message: String) -> Diagnostic {
        Diagnostic { file: file.to_owned(), place: None, path: None, message }
    }

    pub(crate) fn at(file: &str, position: Position, path: Option<&Path>, message: String) -> Diagnostic {
        let path = path.map(ToString::to_string).filter(|p| !p.is_empty());
        Diagnostic { file: file.to_owned(), place: Some((position.line, position.column)), path, message }
    }
}

/// Everything that is wrong with a file, one message a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// In the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// Errors beyond those listed.
    pub more: usize,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.diagnostics.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more errors", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl From<Diagnostic> for ConfigError {
    fn from(diagnostic: Diagnostic) -> ConfigError {
        ConfigError { diagnostics: vec![diagnostic], more: 0 }
    }
}

/// Messages about a file while it is read.
pub(crate) struct Report<'t> {
    file: &'t str,
    tree: &'t Node,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl<'t> Report<'t> {
    pub(crate) fn new(file: &'t str, tree: &'t Node) -> Report<'t> {
        Report { file, tree, errors: Vec::new(), warnings: Vec::new() }
    }

    /// The value at `path` is wrong.
    pub(crate) fn error(&mut self, path: &Path, message: impl Into<String>) {
        let (value, _) = self.tree.locate(path);
        self.errors.push(Diagnostic::at(self.file, value, Some(path), message.into()));
    }

    /// The field at `path` should not be there.
    pub(crate) fn unknown(&mut self, path: &Path, message: String) {
        let (_, key) = self.tree.locate(path);
        self.errors.push(Diagnostic::at(self.file, key, Some(path), message));
    }

    /// The value at `path` is allowed and probably not meant.
    pub(crate) fn warning(&mut self, path: &Path, message: impl Into<String>) {
        let (value, _) = self.tree.locate(path);
        self.warnings.push(Diagnostic::at(self.file, value, Some(path), message.into()));
    }

    /// The line of the value at `path`, for messages that speak of two places.
    pub(crate) fn line(&self, path: &Path) -> usize {
        self.tree.locate(path).0.line
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    pub(crate) fn into_error(mut self) -> ConfigError {
        self.errors.sort_by_key(|d| d.place);
        let more = self.errors.len().saturating_sub(MAX_ERRORS);
        self.errors.truncate(MAX_ERRORS);
        ConfigError { diagnostics: self.errors, more }
    }

    pub(crate) fn into_warnings(self) -> Vec<Diagnostic> {
        self.warnings
    }
}
