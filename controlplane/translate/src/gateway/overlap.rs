//! Listeners whose TLS settings a client may confuse (Gateway API, condition OverlappingTLSConfig): on one port, hosts of
//! which one covers the other. A client that has a connection for the one may use it for requests to the other.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::hostname::{EVERY, wildcards_above};

/// The places of those that overlap with another, among `(port, host)` of listeners that end TLS; no host is every host.
pub(super) fn overlapping(listeners: &[(u16, Option<&str>)]) -> BTreeSet<usize> {
    let mut ports: HashMap<u16, Vec<(usize, &str)>> = HashMap::new();
    for (place, (port, host)) in listeners.iter().enumerate() {
        ports.entry(*port).or_default().push((place, host.unwrap_or(EVERY)));
    }
    let mut found = BTreeSet::new();
    for port in ports.values() {
        let hosts: HashSet<&str> = port.iter().map(|(_, host)| *host).collect();
        let mut covering: HashSet<String> = HashSet::new();
        for (place, host) in port {
            let wider: Vec<String> = wildcards_above(host).filter(|w| hosts.contains(w.as_str())).collect();
            if !wider.is_empty() {
                found.insert(*place);
                covering.extend(wider);
            }
        }
        found.extend(port.iter().filter(|(_, host)| covering.contains(*host)).map(|(place, _)| *place));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_overlaps_with_what_it_covers() {
        let on = |host: &'static str| (443, Some(host));
        let listeners =
            [on("foo.example.com"), on("foo.example.org"), on("*.example.com"), (8443, Some("a.example.com"))];
        assert_eq!(overlapping(&listeners), BTreeSet::from([0, 2]));
        assert_eq!(overlapping(&[on("*.b.example.com"), on("*.example.com")]), BTreeSet::from([0, 1]));
        assert_eq!(overlapping(&[on("a.example.com"), (443, None)]), BTreeSet::from([0, 1]));
        assert_eq!(overlapping(&[on("example.com"), on("*.example.com")]), BTreeSet::new());
    }
}
