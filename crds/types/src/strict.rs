//! Deserialising with unknown fields collected and every error located: what the file loader does.

use serde::de::{Deserialize, Deserializer};

use crate::path::{Path, Segment};

/// A value and the fields of the document that no type knows.
#[derive(Debug)]
pub struct Strict<T> {
    /// The value, read as if the unknown fields were not there.
    pub value: T,
    /// Paths of the unknown fields, in the document's order.
    pub unknown: Vec<Path>,
}

/// A field that does not deserialise.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FieldError {
    /// Where it is.
    pub path: Path,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads a `T` and lists the unknown fields; fails at the first field that does not deserialise.
pub fn read<'de, T, D>(deserializer: D) -> Result<Strict<T>, FieldError>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let located = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    let mut collect = |path: serde_ignored::Path<'_>| unknown.push(from_ignored(&path));
    let result = T::deserialize(serde_ignored::Deserializer::new(located, &mut collect));
    match result {
        Ok(value) => Ok(Strict { value, unknown }),
        Err(error) => Err(FieldError { path: from_tracked(&track.path()), reason: error.to_string() }),
    }
}

fn from_ignored(path: &serde_ignored::Path<'_>) -> Path {
    match path {
        serde_ignored::Path::Root => Path::root(),
        serde_ignored::Path::Seq { parent, index } => from_ignored(parent).index(*index),
        serde_ignored::Path::Map { parent, key } => from_ignored(parent).key(key.as_str()),
        serde_ignored::Path::Some { parent }
        | serde_ignored::Path::NewtypeStruct { parent }
        | serde_ignored::Path::NewtypeVariant { parent } => from_ignored(parent),
    }
}

fn from_tracked(path: &serde_path_to_error::Path) -> Path {
    path.iter().fold(Path::root(), |at, segment| match segment {
        serde_path_to_error::Segment::Seq { index } => at.index(*index),
        serde_path_to_error::Segment::Map { key } => at.key(key.as_str()),
        serde_path_to_error::Segment::Enum { variant } => at.key(variant.as_str()),
        serde_path_to_error::Segment::Unknown => at,
    })
}

/// The steps of a path as an RFC 6901 pointer, for looking a field up in a JSON value.
pub fn pointer(path: &Path) -> String {
    path.segments().iter().fold(String::new(), |at, segment| match segment {
        Segment::Key(key) => at + "/" + &key.replace('~', "~0").replace('/', "~1"),
        Segment::Index(index) => format!("{at}/{index}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::File;

    #[test]
    fn lists_every_unknown_field_with_its_path() {
        let text = "binds:\n- port: 1\n  prot: 2\n  listeners:\n  - routes:\n    - policies: {cors: {origins: []}}\n";
        let read: Strict<File> = read(serde_norway::Deserializer::from_str(text)).expect("reads");
        let paths: Vec<_> = read.unknown.iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["binds[0].prot", "binds[0].listeners[0].routes[0].policies.cors.origins"]);
        assert_eq!(pointer(&read.unknown[0]), "/binds/0/prot");
    }

    #[test]
    fn names_the_field_that_does_not_deserialise() {
        let text = "binds:\n- port: 1\n  listeners:\n  - routes:\n    - backends:\n      - weight: many\n";
        let error = read::<File, _>(serde_norway::Deserializer::from_str(text)).expect_err("a word is no weight");
        assert_eq!(error.path.to_string(), "binds[0].listeners[0].routes[0].backends[0].weight");
    }
}
