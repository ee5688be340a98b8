//! The routes of one host name, by path.

use std::sync::Arc;

use http::{HeaderMap, Method};

use regex::Regex;

use crate::matcher::{CompileError, PathMatch, RouteMatch, anchored};
use crate::path;
use crate::paths::Paths;
use crate::router::Precedence;

/// One route: its conditions and what is found when they hold.
#[derive(Clone, Debug)]
struct Entry<T> {
    precedence: Precedence,
    matched: Arc<RouteMatch>,
    target: T,
}

impl<T> Entry<T> {
    /// Smaller is tried first.
    fn rank(&self) -> impl Ord + '_ {
        let m = &self.matched;
        (m.method.is_none(), usize::MAX - m.headers.len(), usize::MAX - m.query.len(), &self.precedence)
    }
}

#[derive(Clone, Debug)]
struct RegexEntry<T> {
    pattern: Box<str>,
    regex: Regex,
    entries: Arc<[Entry<T>]>,
}

/// The routes of one host name.
#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    exact: Paths<Arc<[Entry<T>]>>,
    /// By normalised prefix.
    prefixes: Paths<Arc<[Entry<T>]>>,
    /// How many prefixes have each depth, up to the deepest, which bounds the search.
    depths: Vec<u32>,
    /// Longest pattern first.
    regexes: imbl::Vector<RegexEntry<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { exact: Paths::default(), prefixes: Paths::default(), depths: Vec::new(), regexes: imbl::Vector::new() }
    }
}

impl<T: Clone> Table<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.regexes.is_empty()
    }

    pub(crate) fn insert(
        &mut self,
        matched: Arc<RouteMatch>,
        precedence: Precedence,
        target: T,
    ) -> Result<(), CompileError> {
        matched.path.check()?;
        let entry = Entry { precedence, matched: Arc::clone(&matched), target };
        match &matched.path {
            PathMatch::Exact(exact) => {
                let bucket = with_entry(self.exact.get(exact.as_str()), entry);
                self.exact.insert(exact, bucket);
            }
            PathMatch::Prefix(prefix) => {
                let prefix = path::normalize_prefix(prefix);
                let known = self.prefixes.get(prefix);
                if known.is_none() {
                    let depth = path::depth(prefix);
                    self.depths.resize(self.depths.len().max(depth + 1), 0);
                    if let Some(count) = self.depths.get_mut(depth) {
                        *count += 1;
                    }
                }
                let bucket = with_entry(known, entry);
                self.prefixes.insert(prefix, bucket);
            }
            PathMatch::Regex(pattern) => self.insert_regex(pattern, entry)?,
        }
        Ok(())
    }

    fn insert_regex(&mut self, pattern: &str, entry: Entry<T>) -> Result<(), CompileError> {
        if let Some(known) = self.regexes.iter_mut().find(|r| *r.pattern == *pattern) {
            known.entries = with_entry(Some(&known.entries), entry);
            return Ok(());
        }
        let regex = anchored(pattern)?;
        let before =
            self.regexes.iter().take_while(|r| (r.pattern.len(), &*r.pattern) > (pattern.len(), pattern)).count();
        self.regexes.insert(before, RegexEntry { pattern: pattern.into(), regex, entries: Arc::new([entry]) });
        Ok(())
    }

    /// Removes the route that was inserted with this path and precedence.
    pub(crate) fn remove(&mut self, path_match: &PathMatch, precedence: &Precedence) {
        match path_match {
            PathMatch::Exact(exact) => {
                let Some(bucket) = self.exact.get(exact.as_str()) else { return };
                match without_entry(bucket, precedence) {
                    Some(rest) => self.exact.insert(exact, rest),
                    None => self.exact.remove(exact),
                }
            }
            PathMatch::Prefix(prefix) => {
                let prefix = path::normalize_prefix(prefix);
                let Some(bucket) = self.prefixes.get(prefix) else { return };
                match without_entry(bucket, precedence) {
                    Some(rest) => {
                        self.prefixes.insert(prefix, rest);
                    }
                    None => {
                        self.prefixes.remove(prefix);
                        self.forget_depth(path::depth(prefix));
                    }
                }
            }
            PathMatch::Regex(pattern) => {
                let Some(at) = self.regexes.iter().position(|r| *r.pattern == **pattern) else { return };
                let Some(entry) = self.regexes.get_mut(at) else { return };
                match without_entry(&entry.entries, precedence) {
                    Some(rest) => entry.entries = rest,
                    None => {
                        self.regexes.remove(at);
                    }
                }
            }
        }
    }

    fn forget_depth(&mut self, depth: usize) {
        if let Some(count) = self.depths.get_mut(depth) {
            *count = count.saturating_sub(1);
        }
        while self.depths.last() == Some(&0) {
            self.depths.pop();
        }
    }

    pub(crate) fn find(&self, path: &str, query: Option<&str>, method: &Method, headers: &HeaderMap) -> Option<&T> {
        let first =
            |entries: &Arc<[Entry<T>]>| entries.iter().position(|e| e.matched.others_hold(method, headers, query));
        if !self.exact.is_empty()
            && let Some(bucket) = self.exact.get(path)
            && let Some(at) = first(bucket)
        {
            return bucket.get(at).map(|e| &e.target);
        }
        for candidate in &self.regexes {
            if candidate.regex.is_match(path)
                && let Some(at) = first(&candidate.entries)
            {
                return candidate.entries.get(at).map(|e| &e.target);
            }
        }
        let deepest = self.depths.len().checked_sub(1)?;
        for prefix in path::prefixes(path, deepest) {
            if let Some(bucket) = self.prefixes.get(prefix)
                && let Some(at) = first(bucket)
            {
                return bucket.get(at).map(|e| &e.target);
            }
        }
        None
    }
}

fn with_entry<T: Clone>(bucket: Option<&Arc<[Entry<T>]>>, entry: Entry<T>) -> Arc<[Entry<T>]> {
    let mut entries: Vec<Entry<T>> =
        bucket.map(|b| b.iter().filter(|e| e.precedence != entry.precedence).cloned().collect()).unwrap_or_default();
    let at = entries.partition_point(|e| e.rank() < entry.rank());
    entries.insert(at, entry);
    entries.into()
}

/// None when nothing is left.
fn without_entry<T: Clone>(bucket: &Arc<[Entry<T>]>, precedence: &Precedence) -> Option<Arc<[Entry<T>]>> {
    let rest: Vec<Entry<T>> = bucket.iter().filter(|e| e.precedence != *precedence).cloned().collect();
    if rest.is_empty() { None } else { Some(rest.into()) }
}
