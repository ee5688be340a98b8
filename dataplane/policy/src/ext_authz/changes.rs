//! Changes to headers that the service asks for.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::is_framing;

/// A change of one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// In place of what is there.
    Set(HeaderName, HeaderValue),
    /// Beside what is there.
    Add(HeaderName, HeaderValue),
    /// Only where nothing is there.
    AddIfAbsent(HeaderName, HeaderValue),
    /// Only where something is there.
    SetIfPresent(HeaderName, HeaderValue),
    Remove(HeaderName),
}

/// A change of the response, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct ResponseChange {
    pub(crate) origin: Arc<str>,
    pub(crate) change: Change,
}

impl ResponseChange {
    /// Adds a header.
    pub(crate) fn add(origin: &Arc<str>, (name, value): (HeaderName, HeaderValue)) -> ResponseChange {
        ResponseChange { origin: Arc::clone(origin), change: Change::Add(name, value) }
    }

    /// Applies those of one policy.
    pub(crate) fn apply_all(origin: &Arc<str>, all: &[ResponseChange], headers: &mut HeaderMap) {
        let own = all.iter().filter(|change| Arc::ptr_eq(&change.origin, origin));
        own.for_each(|change| change.change.apply(headers));
    }
}

impl Change {
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        match self {
            Change::Set(name, value) => drop(headers.insert(name, value.clone())),
            Change::Add(name, value) => drop(headers.append(name, value.clone())),
            Change::AddIfAbsent(name, value) => drop(headers.entry(name).or_insert(value.clone())),
            Change::SetIfPresent(name, value) if headers.contains_key(name) => {
                drop(headers.insert(name, value.clone()));
            }
            Change::SetIfPresent(..) => {}
            Change::Remove(name) => drop(headers.remove(name)),
        }
    }

    pub(crate) fn size(&self) -> usize {
        let value = match self {
            Change::Set(_, value)
            | Change::Add(_, value)
            | Change::AddIfAbsent(_, value)
            | Change::SetIfPresent(_, value) => value.len(),
            Change::Remove(_) => 0,
        };
        self.name().as_str().len() + value
    }

    pub(crate) fn name(&self) -> &HeaderName {
        match self {
            Change::Set(name, _)
            | Change::Add(name, _)
            | Change::AddIfAbsent(name, _)
            | Change::SetIfPresent(name, _)
            | Change::Remove(name) => name,
        }
    }
}

/// What changes with a request that may pass.
#[derive(Debug, Default)]
pub(super) struct Changes {
    request: Vec<Change>,
    response: Vec<Change>,
    metadata: Map<String, Value>,
}

impl Changes {
    /// Leaves out changes of what frames a message.
    pub(super) fn new(request: Vec<Change>, response: Vec<Change>, metadata: Map<String, Value>) -> Changes {
        let allowed = |changes: Vec<Change>| changes.into_iter().filter(|c| !is_framing(c.name())).collect();
        Changes { request: allowed(request), response: allowed(response), metadata }
    }

    pub(super) fn apply(&self, request: &mut HeaderMap) {
        self.request.iter().for_each(|change| change.apply(request));
    }

    /// What policies after this one, and logs, get to know.
    pub(super) fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    pub(super) fn in_response(&self, origin: &Arc<str>) -> impl Iterator<Item = ResponseChange> {
        self.response.iter().map(|change| ResponseChange { origin: Arc::clone(origin), change: change.clone() })
    }

    /// About so many bytes.
    pub(super) fn size(&self) -> usize {
        self.request.iter().chain(&self.response).map(Change::size).sum::<usize>() + size_of(&self.metadata)
    }
}

/// About so many bytes.
pub(super) fn size_of(metadata: &Map<String, Value>) -> usize {
    if metadata.is_empty() { 0 } else { serde_json::to_string(metadata).map_or(0, |text| text.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_does_what_its_name_says_and_framing_stays() {
        let (name, value) =
            (|n: &'static str| HeaderName::from_static(n), |v: &'static str| HeaderValue::from_static(v));
        let mut headers = HeaderMap::new();
        for there in ["a", "b", "c", "d", "e", "content-length", "host"] {
            headers.insert(name(there), value("old"));
        }
        let changes = Changes::new(
            vec![
                Change::Set(name("a"), value("new")),
                Change::Add(name("b"), value("new")),
                Change::AddIfAbsent(name("c"), value("new")),
                Change::AddIfAbsent(name("x"), value("new")),
                Change::SetIfPresent(name("d"), value("new")),
                Change::SetIfPresent(name("y"), value("new")),
                Change::Remove(name("e")),
                Change::Set(name("content-length"), value("0")),
                Change::Remove(name("host")),
            ],
            vec![],
            Map::new(),
        );
        changes.apply(&mut headers);
        let all = |n: &str| headers.get_all(n).iter().filter_map(|v| v.to_str().ok()).collect::<Vec<_>>().join(" ");
        let found: Vec<_> = ["a", "b", "c", "x", "d", "y", "e", "content-length", "host"].map(all).into();
        assert_eq!(found, ["new", "old new", "old", "new", "new", "", "", "old", "old"]);
    }
}
