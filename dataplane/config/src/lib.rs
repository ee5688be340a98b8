//! Reads the proxy's YAML file into resources.
//!
//! text -> tree with positions -> user types (unknown fields refused) -> resources. Every error names file, line, column
//! and the path of the field.

mod document;
mod error;
mod keys;
mod resources;

use std::path::Path;

use agentgateway_proto::resource::Resource;
use agentgateway_types::file::{File, ProcessConfig};
use agentgateway_types::strict;

pub use error::{LoadError, Problem};

use document::Document;

/// Larger files are refused.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Unknown fields that one error lists.
const MAX_LISTED: usize = 20;

/// A file that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// Everything it configures, ended by the Generation.
    pub resources: Vec<Resource>,
    /// Settings of the process.
    pub process: ProcessConfig,
    /// What is allowed and most likely not meant.
    pub warnings: Vec<Problem>,
}

/// Reads a file. Key files that it names are read too, relative to the working directory.
///
/// # Errors
/// The file cannot be read, or something in it cannot be used; then nothing of it is.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let name = path.display().to_string();
    let read = |source| LoadError::Read { file: name.clone(), source };
    let size = std::fs::metadata(path).map_err(read)?.len();
    if size > MAX_FILE_BYTES {
        return Err(LoadError::TooLarge { file: name, bytes: size, limit: MAX_FILE_BYTES });
    }
    let bytes = std::fs::read(path).map_err(read)?;
    let text = String::from_utf8(bytes).map_err(|_| LoadError::Encoding { file: name.clone() })?;
    parse(&name, &text)
}

/// As [`load`], of text that comes from `name`.
///
/// # Errors
/// As [`load`].
pub fn parse(name: &str, text: &str) -> Result<Loaded, LoadError> {
    let invalid = |problems| LoadError::Invalid { problems };
    let document = Document::parse(name, text).map_err(|problem| invalid(vec![problem]))?;
    let read: strict::Strict<File> = strict::read(document.value.clone())
        .map_err(|e| invalid(vec![document.problem(&e.path, e.reason)]))?;
    if !read.unknown.is_empty() {
        let problems = read.unknown.iter().take(MAX_LISTED);
        return Err(invalid(problems.map(|path| document.problem(path, document.unknown_field(path))).collect()));
    }
    let mut warnings = Vec::new();
    let mut warn = |path: &agentgateway_types::Path, text: &str| warnings.push(document.problem(path, text.to_owned()));
    let resources = resources::resources(&read.value, &mut warn)
        .map_err(|(path, reason)| invalid(vec![document.problem(&path, reason)]))?;
    Ok(Loaded { resources, process: read.value.config, warnings })
}

/// JSON schema of the file, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(File).to_value()
}

#[cfg(test)]
mod tests;
