//! The routes of one listener, by host name.

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::matcher::{CompileError, PathMatch, RouteMatch};
use crate::table::{Map, Table};

/// Which of two routes with equal conditions wins: the smaller. It also identifies a route within its router.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    /// Creation of the route object in seconds since the epoch.
    pub created: i64,
    /// "<namespace>/<name>" of the route object.
    pub object: Arc<str>,
    /// Place of the rule in the object.
    pub rule: u32,
    /// Place of the match in the rule.
    pub matched: u32,
    /// Kind of the route object: an HTTPRoute and a GRPCRoute may have one name.
    pub kind: Arc<str>,
}

/// The routes of one listener.
#[derive(Clone, Debug)]
pub struct Router<T> {
    exact: Map<Table<T>>,
    /// By the part after "*", so with its leading dot.
    wildcard: Map<Table<T>>,
    any: Table<T>,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Router { exact: Map::default(), wildcard: Map::default(), any: Table::default() }
    }
}

impl<T: Clone> Router<T> {
    /// Adds a route under a host name ("" for any, "*.example.com" for a wildcard); replaces the one of equal precedence.
    pub fn insert(
        &mut self,
        hostname: &str,
        matched: Arc<RouteMatch>,
        precedence: Precedence,
        target: T,
    ) -> Result<(), CompileError> {
        let (map, name) = match HostKey::of(hostname) {
            HostKey::Any => return self.any.insert(matched, precedence, target),
            HostKey::Exact(name) => (&mut self.exact, name),
            HostKey::Wildcard(suffix) => (&mut self.wildcard, suffix),
        };
        let mut table = map.get(name.as_str()).cloned().unwrap_or_default();
        table.insert(matched, precedence, target)?;
        map.insert(name.into(), table);
        Ok(())
    }

    /// Removes what was inserted with this host name, path and precedence.
    pub fn remove(&mut self, hostname: &str, path: &PathMatch, precedence: &Precedence) {
        let (map, name) = match HostKey::of(hostname) {
            HostKey::Any => return self.any.remove(path, precedence),
            HostKey::Exact(name) => (&mut self.exact, name),
            HostKey::Wildcard(suffix) => (&mut self.wildcard, suffix),
        };
        let Some(mut table) = map.get(name.as_str()).cloned() else { return };
        table.remove(path, precedence);
        if table.is_empty() {
            map.remove(name.as_str());
        } else {
            map.insert(name.into(), table);
        }
    }

    /// The route of a request. `host` is lower case and without port; `path` begins with '/'.
    pub fn find(&self, host: &str, path: &str, query: Option<&str>, method: &Method, headers: &HeaderMap) -> Option<&T> {
        if !self.exact.is_empty()
            && let Some(table) = self.exact.get(host)
            && let Some(found) = table.find(path, query, method, headers)
        {
            return Some(found);
        }
        if !self.wildcard.is_empty() {
            for suffix in suffixes(host) {
                if let Some(table) = self.wildcard.get(suffix)
                    && let Some(found) = table.find(path, query, method, headers)
                {
                    return Some(found);
                }
            }
        }
        self.any.find(path, query, method, headers)
    }
}

/// Parts of `host` from each dot on, longest first. A host name has at most 253 bytes, which bounds them.
fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    host.bytes().enumerate().filter(|(i, b)| *b == b'.' && *i > 0).map(|(i, _)| &host[i..])
}

enum HostKey {
    Any,
    Exact(String),
    Wildcard(String),
}

impl HostKey {
    fn of(hostname: &str) -> HostKey {
        let lower = hostname.to_ascii_lowercase();
        match lower.strip_prefix('*') {
            _ if lower.is_empty() || lower == "*" => HostKey::Any,
            Some(suffix) => HostKey::Wildcard(suffix.to_owned()),
            None => HostKey::Exact(lower),
        }
    }
}
