//! Values by host name: exact, wildcard, or any.

use imbl::shared_ptr::DefaultSharedPtr;

pub(crate) type Map<V> = imbl::GenericHashMap<Box<str>, V, ahash::RandomState, DefaultSharedPtr>;

/// Values by host name pattern ("" for any, "*.example.com" for one or more labels before the suffix). A clone shares all.
#[derive(Clone, Debug)]
pub struct HostMap<V> {
    exact: Map<V>,
    /// By the part after "*", so with its leading dot.
    wildcard: Map<V>,
    any: Option<V>,
}

impl<V> Default for HostMap<V> {
    fn default() -> Self {
        HostMap { exact: Map::default(), wildcard: Map::default(), any: None }
    }
}

impl<V: Clone> HostMap<V> {
    /// The value of exactly this pattern.
    pub fn get(&self, pattern: &str) -> Option<&V> {
        match Pattern::of(pattern) {
            Pattern::Any => self.any.as_ref(),
            Pattern::Exact(name) => self.exact.get(name.as_str()),
            Pattern::Wildcard(suffix) => self.wildcard.get(suffix.as_str()),
        }
    }

    /// Sets the value of a pattern and gives the one it had.
    pub fn insert(&mut self, pattern: &str, value: V) -> Option<V> {
        match Pattern::of(pattern) {
            Pattern::Any => self.any.replace(value),
            Pattern::Exact(name) => self.exact.insert(name.into(), value),
            Pattern::Wildcard(suffix) => self.wildcard.insert(suffix.into(), value),
        }
    }

    /// Removes the value of a pattern.
    pub fn remove(&mut self, pattern: &str) -> Option<V> {
        match Pattern::of(pattern) {
            Pattern::Any => self.any.take(),
            Pattern::Exact(name) => self.exact.remove(name.as_str()),
            Pattern::Wildcard(suffix) => self.wildcard.remove(suffix.as_str()),
        }
    }

    /// The values whose pattern matches `host` (lower case, no port), the most specific first.
    pub fn matching<'a, 'h>(&'a self, host: &'h str) -> impl Iterator<Item = &'a V> + use<'a, 'h, V> {
        let exact = if self.exact.is_empty() { None } else { self.exact.get(host) };
        let longest = if self.wildcard.is_empty() { "" } else { host };
        let wildcards = suffixes(longest).filter_map(|suffix| self.wildcard.get(suffix));
        exact.into_iter().chain(wildcards).chain(self.any.as_ref())
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.exact.values().chain(self.wildcard.values()).chain(self.any.as_ref())
    }
}

/// Parts of `host` from each dot on, longest first. A host name has at most 253 bytes, which bounds them.
fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    host.bytes().enumerate().filter(|(i, b)| *b == b'.' && *i > 0).map(|(i, _)| &host[i..])
}

enum Pattern {
    Any,
    Exact(String),
    Wildcard(String),
}

impl Pattern {
    fn of(pattern: &str) -> Pattern {
        let lower = pattern.to_ascii_lowercase();
        match lower.strip_prefix('*') {
            _ if lower.is_empty() || lower == "*" => Pattern::Any,
            Some(suffix) => Pattern::Wildcard(suffix.to_owned()),
            None => Pattern::Exact(lower),
        }
    }
}
