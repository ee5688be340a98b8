//! Host names of listeners and routes, and what two of them have in common.

use std::collections::HashSet;

/// Stands for every host, where a host must be named.
pub(crate) const EVERY: &str = "*";

/// Whether this is a host name, or one whose first label is `*`; not an IP address.
pub(crate) fn valid(name: &str) -> bool {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    name.len() <= 253 && bare.split('.').all(label) && name.parse::<std::net::IpAddr>().is_err()
}

/// The host names that a route serves on a listener, the more specific of each pair; `None` when there is none. Empty means
/// all that the listener has.
pub(crate) fn intersect(listener: Option<&str>, route: &[String]) -> Option<Vec<String>> {
    if route.is_empty() {
        return Some(Vec::new());
    }
    let mut common: Vec<String> = Vec::with_capacity(route.len());
    for name in route.iter().map(|n| n.to_ascii_lowercase()) {
        let shared = match listener {
            None => Some(name),
            Some(listener) if covers(listener, &name) => Some(name),
            Some(listener) if covers(&name, listener) => Some(listener.to_owned()),
            Some(_) => None,
        };
        if let Some(shared) = shared
            && !common.contains(&shared)
        {
            common.push(shared);
        }
    }
    (!common.is_empty()).then_some(common)
}

/// Whether all that `inner` matches is matched by `outer`. A wildcard stands for one label or more, never for none.
fn covers(outer: &str, inner: &str) -> bool {
    match outer.strip_prefix('*') {
        Some(suffix) => inner.strip_prefix('*').unwrap_or(inner).ends_with(suffix) && inner.len() >= outer.len(),
        None => outer == inner,
    }
}

/// Host names and wildcards, to be asked whether another one has hosts in common with any of them.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    hosts: HashSet<String>,
    /// All wildcards that would cover one of them.
    above: HashSet<String>,
}

impl Hosts {
    pub(crate) fn add(&mut self, host: &str) {
        self.above.extend(wildcards_above(host));
        self.hosts.insert(host.to_owned());
    }

    /// Whether a host, a wildcard or [`EVERY`] has a host in common with one of these.
    pub(crate) fn intersects(&self, host: &str) -> bool {
        self.hosts.contains(host)
            || self.above.contains(host)
            || wildcards_above(host).any(|wider| self.hosts.contains(&wider))
    }
}

/// The wildcards that cover a host and more.
pub(crate) fn wildcards_above(host: &str) -> impl Iterator<Item = String> + '_ {
    let bare = host.strip_prefix("*.").unwrap_or(host);
    let every = (host != EVERY).then(|| EVERY.to_owned());
    let suffixes = bare.match_indices('.').map(move |(at, _)| format!("*{}", bare.get(at..).unwrap_or_default()));
    suffixes.chain(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(listener: &str, route: &str) -> Option<String> {
        let listener = (!listener.is_empty()).then_some(listener);
        intersect(listener, &[route.to_owned()]).and_then(|names| names.into_iter().next())
    }

    #[test]
    fn the_more_specific_name_is_what_is_common() {
        for (listener, route, expected) in [
            ("", "a.example.com", Some("a.example.com")),
            ("a.example.com", "a.example.com", Some("a.example.com")),
            ("a.example.com", "A.Example.com", Some("a.example.com")),
            ("*.example.com", "a.example.com", Some("a.example.com")),
            ("*.example.com", "a.b.example.com", Some("a.b.example.com")),
            ("*.example.com", "example.com", None),
            ("a.example.com", "*.example.com", Some("a.example.com")),
            ("*.example.com", "*.b.example.com", Some("*.b.example.com")),
            ("*.b.example.com", "*.example.com", Some("*.b.example.com")),
            ("*.example.com", "*.example.com", Some("*.example.com")),
            ("*.example.com", "badexample.com", None),
            ("a.example.com", "b.example.com", None),
        ] {
            assert_eq!(common(listener, route).as_deref(), expected, "{listener} and {route}");
        }
    }

    #[test]
    fn hosts_intersect_by_name_and_by_wildcard() {
        let mut hosts = Hosts::default();
        hosts.add("a.example.com");
        hosts.add("*.b.example.com");
        for (host, expected) in [
            ("a.example.com", true),
            ("*.example.com", true),
            ("x.b.example.com", true),
            ("*.x.b.example.com", true),
            ("*", true),
            ("b.example.com", false),
            ("c.example.com", false),
            ("*.a.example.com", false),
        ] {
            assert_eq!(hosts.intersects(host), expected, "{host}");
        }
        hosts.add(EVERY);
        assert!(hosts.intersects("c.example.com"));
    }

    #[test]
    fn a_route_without_names_serves_those_of_its_listener() {
        assert_eq!(intersect(Some("a.example.com"), &[]), Some(vec![]));
    }

    #[test]
    fn valid_names_are_names_or_wildcards_of_names() {
        for good in ["example.com", "*.example.com", "localhost", "1a.com"] {
            assert!(valid(good), "{good}");
        }
        for bad in ["*", "a.*.com", "*a.com", "10.0.0.1", "a..b", "A.com", "-a.com"] {
            assert!(!valid(bad), "{bad}");
        }
    }
}
