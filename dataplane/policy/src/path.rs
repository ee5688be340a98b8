//! Replacement of a path or of the prefix that a route matched, by the rules of Gateway API's HTTPPathModifier.

use agentgateway_proto::v1::{self, path_modifier::Kind};
use http::uri::PathAndQuery;

/// A replacement of the path.
#[derive(Debug)]
pub(crate) enum PathModifier {
    Full(Box<str>),
    /// Without the slash at its end, so that what follows the prefix can be appended as it is.
    Prefix(Box<str>),
}

impl PathModifier {
    pub(crate) fn compile(spec: &v1::PathModifier) -> Result<PathModifier, String> {
        let (kind, path) = match &spec.kind {
            Some(Kind::ReplaceFull(path)) => {
                (PathModifier::Full(if path.is_empty() { "/" } else { path }.into()), path)
            }
            Some(Kind::ReplacePrefix(path)) => (PathModifier::Prefix(path.trim_end_matches('/').into()), path),
            None => return Err("it names no replacement of the path that this proxy knows".into()),
        };
        if !path.is_empty()
            && (!path.starts_with('/') || path.contains(['?', '#']) || path.parse::<PathAndQuery>().is_err())
        {
            return Err(format!("{path:?} is not a path"));
        }
        Ok(kind)
    }

    /// The new path; none where a prefix is to be replaced and the route did not match by one.
    pub(crate) fn apply(&self, path: &str, matched_prefix: Option<&str>) -> Option<String> {
        match self {
            PathModifier::Full(new) => Some(new.to_string()),
            PathModifier::Prefix(new) => {
                let rest = path.strip_prefix(matched_prefix?.trim_end_matches('/'))?;
                let path = format!("{new}{rest}");
                Some(if path.is_empty() { "/".to_owned() } else { path })
            }
        }
    }
}

/// `path` with the query of the request's URI.
pub(crate) fn with_query(mut path: String, query: Option<&str>) -> String {
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(new: &str) -> PathModifier {
        PathModifier::compile(&v1::PathModifier { kind: Some(Kind::ReplacePrefix(new.into())) }).expect("compiles")
    }

    #[test]
    fn prefixes_are_replaced_as_the_table_of_the_specification_says() {
        for (path, matched, new, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo", "/", "/xyz", "/xyz/foo"),
            ("/", "/", "/xyz", "/xyz/"),
            ("/", "/", "/", "/"),
            ("/foo//bar", "/foo", "/xyz", "/xyz//bar"),
        ] {
            assert_eq!(prefix(new).apply(path, Some(matched)).as_deref(), Some(expected), "{path} {matched} {new}");
        }
    }

    #[test]
    fn a_prefix_needs_a_match_by_prefix() {
        assert_eq!(prefix("/x").apply("/foo", None), None);
    }

    #[test]
    fn a_full_path_replaces_everything() {
        let full = |p: &str| PathModifier::compile(&v1::PathModifier { kind: Some(Kind::ReplaceFull(p.into())) });
        assert_eq!(full("/new").expect("compiles").apply("/a/b", None).as_deref(), Some("/new"));
        assert_eq!(full("").expect("compiles").apply("/a/b", None).as_deref(), Some("/"));
        for bad in ["x", "/a?b", "/a#b", "/a b"] {
            assert!(full(bad).is_err(), "{bad}");
        }
        assert!(PathModifier::compile(&v1::PathModifier { kind: None }).is_err());
    }
}
