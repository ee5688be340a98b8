//! The routes of one listener, by host name.

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::host::HostMap;
use crate::matcher::{CompileError, PathMatch, RouteMatch};
use crate::table::Table;

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
    /// Behind a pointer: nodes of the map hold their values in place, most of them empty.
    hosts: HostMap<Arc<Table<T>>>,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Router { hosts: HostMap::default() }
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
        let mut table = self.hosts.get(hostname).map(|table| Table::clone(table)).unwrap_or_default();
        table.insert(matched, precedence, target)?;
        self.hosts.insert(hostname, Arc::new(table));
        Ok(())
    }

    /// Removes what was inserted with this host name, path and precedence.
    pub fn remove(&mut self, hostname: &str, path: &PathMatch, precedence: &Precedence) {
        let Some(mut table) = self.hosts.get(hostname).map(|table| Table::clone(table)) else { return };
        table.remove(path, precedence);
        if table.is_empty() {
            self.hosts.remove(hostname);
        } else {
            self.hosts.insert(hostname, Arc::new(table));
        }
    }

    /// The route of a request. `host` is lower case and without port; `path` begins with '/'.
    pub fn find(
        &self,
        host: &str,
        path: &str,
        query: Option<&str>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<&T> {
        self.hosts.matching(host).find_map(|table| table.find(path, query, method, headers))
    }
}
