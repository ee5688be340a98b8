//! Conditions of routes.

use agentgateway_proto::v1;
use agentgateway_types::Path;
use agentgateway_types::file::{KeyedMatch, PathMatch, RouteMatch};

use crate::check;
use crate::error::{Error, Within};

/// A match; without a path it takes every path.
pub fn route_match(matched: &RouteMatch) -> Result<v1::RouteMatch, Error> {
    let path = match &matched.path {
        Some(path) => path_match(path).within(|| Path::of("path"))?,
        None => v1::route_match::Path::Prefix("/".to_owned()),
    };
    let method = match &matched.method {
        Some(method) => check::method(Path::of("method"), method)?,
        None => String::new(),
    };
    let headers = each(&matched.headers, "headers", |m| {
        check::header_name(Path::of("name"), &m.name).map(|name| name.to_ascii_lowercase())
    })?;
    let query = each(&matched.query, "query", |m| Ok(m.name.clone()))?;
    Ok(v1::RouteMatch { path: Some(path), method, headers, query })
}

fn path_match(path: &PathMatch) -> Result<v1::route_match::Path, Error> {
    match (&path.exact, &path.path_prefix, &path.regex) {
        (Some(exact), None, None) => check::absolute_path(Path::of("exact"), exact).map(v1::route_match::Path::Exact),
        (None, Some(prefix), None) => {
            check::absolute_path(Path::of("pathPrefix"), prefix).map(v1::route_match::Path::Prefix)
        }
        (None, None, Some(regex)) => check::regex(Path::of("regex"), regex).map(v1::route_match::Path::Regex),
        _ => Err(Error::NotOne { path: Path::root(), members: "exact, pathPrefix and regex" }),
    }
}

fn each(
    matches: &[KeyedMatch],
    field: &str,
    name: impl Fn(&KeyedMatch) -> Result<String, Error>,
) -> Result<Vec<v1::KeyedMatch>, Error> {
    let mut converted: Vec<v1::KeyedMatch> = Vec::with_capacity(matches.len());
    for (i, m) in matches.iter().enumerate() {
        let at = || Path::of(field).index(i);
        let name = name(m).within(at)?;
        let value = match (&m.exact, &m.regex) {
            (Some(exact), None) => v1::keyed_match::Value::Exact(exact.clone()),
            (None, Some(regex)) => v1::keyed_match::Value::Regex(check::regex(Path::of("regex"), regex).within(at)?),
            _ => return Err(Error::NotOne { path: at(), members: "exact and regex" }),
        };
        // Gateway API: of several conditions on one name the first counts, the others are ignored.
        if !converted.iter().any(|c| c.name == name) {
            converted.push(v1::KeyedMatch { name, value: Some(value) });
        }
    }
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_written_takes_every_path() {
        let converted = route_match(&RouteMatch::default()).expect("converts");
        assert_eq!(converted.path, Some(v1::route_match::Path::Prefix("/".into())));
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let header = KeyedMatch { name: "a".into(), regex: Some("(".into()), ..KeyedMatch::default() };
        let matched = RouteMatch { headers: vec![header], ..RouteMatch::default() };
        let error = route_match(&matched).expect_err("no such expression");
        assert_eq!(error.path().to_string(), "headers[0].regex");
    }

    #[test]
    fn first_condition_on_a_header_counts() {
        let header = |name: &str, value: &str| KeyedMatch {
            name: name.into(),
            exact: Some(value.into()),
            ..KeyedMatch::default()
        };
        let matched = RouteMatch { headers: vec![header("A", "1"), header("a", "2")], ..RouteMatch::default() };
        let converted = route_match(&matched).expect("converts");
        assert_eq!(converted.headers.len(), 1);
        assert_eq!(converted.headers[0].value, Some(v1::keyed_match::Value::Exact("1".into())));
    }
}
