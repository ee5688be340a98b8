//! What a file takes from the machine and the command line: other files, environment variables where a field says so, and
//! which addresses backends may have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::limits::MAX_KEY_FILE_BYTES;

/// The process's surroundings, or those of a test.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// To which paths of key files are relative.
    pub directory: PathBuf,
    /// Whether backends may be on loopback addresses, where the command line says so; it outranks the file.
    pub allow_loopback: Option<bool>,
    /// As `allow_loopback`, for link-local addresses.
    pub allow_link_local: Option<bool>,
    /// None: those of the process.
    variables: Option<BTreeMap<String, String>>,
}

impl Environment {
    /// Of this process.
    pub fn of_process() -> Environment {
        Environment::default()
    }

    /// Of a working directory and variables that are not the process's own.
    pub fn of(directory: &Path, variables: &[(&str, &str)]) -> Environment {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Environment { directory: directory.to_owned(), variables: Some(variables), ..Environment::default() }
    }

    /// The content of a file that the configuration names; its path is added to `read`, also when it cannot be read, so that
    /// it counts once it can.
    pub(crate) fn read(&self, name: &str, read: &mut Vec<PathBuf>) -> Result<Vec<u8>, String> {
        let path = self.directory.join(name);
        read.push(path.clone());
        let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
        let metadata = std::fs::metadata(&path).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(format!("{} is not a file", path.display()));
        }
        let size = metadata.len();
        if size > MAX_KEY_FILE_BYTES {
            return Err(format!("{} has {size} bytes; at most {MAX_KEY_FILE_BYTES} are allowed", path.display()));
        }
        std::fs::read(&path).map_err(unreadable)
    }

    pub(crate) fn variable(&self, name: &str) -> Result<String, String> {
        let value = match &self.variables {
            Some(variables) => variables.get(name).cloned(),
            None => std::env::var_os(name)
                .map(|v| v.into_string().map_err(|_| format!("the environment variable {name} is not UTF-8")))
                .transpose()?,
        };
        value.ok_or_else(|| format!("the environment variable {name} is not set; write $$ for a dollar sign"))
    }

    /// `text` with `$NAME` and `${NAME}` replaced; `$$` is a dollar sign.
    pub(crate) fn expand(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                expanded.push('$');
                rest = after;
                continue;
            }
            let (name, after) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').ok_or("\"${\" without \"}\"")?,
                None => {
                    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                    after.split_at(end)
                }
            };
            let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if !starts_well || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(
                    "\"$\" must be followed by the name of an environment variable; write $$ for a dollar sign".into(),
                );
            }
            expanded.push_str(&self.variable(name)?);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_names_with_and_without_braces() {
        let environment = Environment::of(Path::new(""), &[("A", "1"), ("A_B", "2"), ("SECRET", "a$A")]);
        for (text, expected) in [
            ("plain", Ok("plain")),
            ("$A", Ok("1")),
            ("${A}x$A_B/$A.", Ok("1x2/1.")),
            ("$$A", Ok("$A")),
            ("$SECRET", Ok("a$A")),
            ("$", Err("must be followed by")),
            ("${A", Err("without")),
            ("${}", Err("must be followed by")),
            ("$1", Err("must be followed by")),
            ("${A:-x}", Err("must be followed by")),
            ("$NONE", Err("the environment variable NONE is not set")),
        ] {
            match (environment.expand(text), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{text}: {found}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
