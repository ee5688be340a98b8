//! The YAML file of a proxy that runs without a control plane: from bytes to the resources that a control plane would send.
//!
//! File, line, column and field path stand in every message. The way is: text -> a tree with positions ([`tree`]) -> the
//! user-facing types ([`de`]) -> resources ([`resources`]), through the one conversion that Kubernetes objects take too. A
//! file with an error gives nothing at all, so that a proxy starts or reloads as a whole or not.

mod de;
mod diagnostic;
mod environment;
mod hostname;
mod limits;
mod process;
mod resources;
mod schema;
mod tree;

use std::path::{Path, PathBuf};

use agentgateway_proto::resource::Resource;
use agentgateway_types::file::{File, ProcessConfig};
use agentgateway_types::strict;

pub use diagnostic::{ConfigError, Diagnostic};
pub use environment::Environment;
pub use schema::schema;

use limits::MAX_FILE_BYTES;

/// A file that was read.
#[derive(Debug)]
pub struct Loaded {
    /// What it configures, ended by the Generation.
    pub resources: Vec<Resource>,
    /// Settings of the process.
    pub process: ProcessConfig,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Diagnostic>,
    /// Other files that it names; a change of one is a change of the configuration.
    pub files: Vec<PathBuf>,
}

/// Reads the file at `path`. Files that it names are relative to the working directory.
///
/// # Errors
/// Everything that is wrong with the file, each with its place.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, ConfigError> {
    let name = path.display().to_string();
    let unreadable = |reason: String| ConfigError::from(Diagnostic::of_file(&name, reason));
    let size = std::fs::metadata(path).map_err(|e| unreadable(format!("cannot be read: {e}")))?.len();
    if size > MAX_FILE_BYTES {
        return Err(unreadable(format!("has {size} bytes; at most {MAX_FILE_BYTES} are allowed")));
    }
    let bytes = std::fs::read(path).map_err(|e| unreadable(format!("cannot be read: {e}")))?;
    parse(&bytes, &name, environment)
}

/// Reads a file's content. `name` stands for the file in messages.
///
/// # Errors
/// As [`load`].
pub fn parse(bytes: &[u8], name: &str, environment: &Environment) -> Result<Loaded, ConfigError> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        let reason = format!("has {} bytes; at most {MAX_FILE_BYTES} are allowed", bytes.len());
        return Err(Diagnostic::of_file(name, reason).into());
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = bytes.get(..e.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        Diagnostic::of_file(name, format!("is not UTF-8 (line {line})"))
    })?;
    let tree = tree::parse(text).map_err(|e| Diagnostic::at(name, e.position, None, e.message))?;
    let mut report = diagnostic::Report::new(name, &tree);
    let read: strict::Strict<File> = match strict::read(de::Deserializer::new(&tree)) {
        Ok(read) => read,
        Err(error) => {
            report.error(&error.path, de::explain(&error.reason));
            return Err(report.into_error());
        }
    };
    for path in &read.unknown {
        report.unknown(path, schema::unknown_field(path));
    }
    process::check(&read.value.config, &mut report);
    let made = resources::make(&read.value, environment, &mut report);
    if report.has_errors() {
        return Err(report.into_error());
    }
    Ok(Loaded {
        resources: made.resources,
        process: read.value.config,
        warnings: report.into_warnings(),
        files: made.files,
    })
}

#[cfg(test)]
mod tests;
