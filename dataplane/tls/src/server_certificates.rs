//! Which of a listener's certificates a client is shown.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A listener's certificates, by the names in them.
pub(crate) struct ServerCertificates {
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By the part after "*.".
    wildcard: HashMap<Box<str>, Vec<usize>>,
    /// In the order of the configuration.
    all: Vec<Arc<CertifiedKey>>,
}

impl std::fmt::Debug for ServerCertificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerCertificates").field("count", &self.all.len()).finish_non_exhaustive()
    }
}

impl ServerCertificates {
    /// Each with the DNS names in it; a certificate without one is shown to those whose name none of them has.
    pub(crate) fn new(certificates: Vec<(Arc<CertifiedKey>, Vec<String>)>) -> Self {
        let mut made = ServerCertificates { exact: HashMap::new(), wildcard: HashMap::new(), all: Vec::new() };
        for (at, (key, names)) in certificates.into_iter().enumerate() {
            made.all.push(key);
            for name in names {
                let name = name.to_ascii_lowercase();
                match name.strip_prefix("*.") {
                    Some(suffix) => made.wildcard.entry(suffix.into()).or_default().push(at),
                    None => made.exact.entry(name.into()).or_default().push(at),
                }
            }
        }
        made
    }

    /// Certificates for a name, best first: those that have it, those that have it by a wildcard (one label, RFC 6125 §6.4.3),
    /// then all, because the one in the first place is better than an alert to clients that do not check.
    fn candidates<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<CertifiedKey>> {
        let parent = name.split_once('.').map_or("", |(_, parent)| parent);
        let listed = |places: Option<&'a Vec<usize>>| places.into_iter().flatten().filter_map(|at| self.all.get(*at));
        listed(self.exact.get(name)).chain(listed(self.wildcard.get(parent))).chain(&self.all)
    }
}

impl ResolvesServerCert for ServerCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        // A listener may have an RSA and an ECDSA certificate for one name; the client says what it can verify.
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.candidates(&name).find(fits).or_else(|| self.candidates(&name).next()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certified_key;
    use crate::testing::Authority;

    #[test]
    fn the_best_name_wins_and_the_first_is_for_everybody_else() {
        let authority = Authority::new();
        let keys: Vec<_> =
            (0..3).map(|_| certified_key(&authority.leaf(&["x.example"]).pem()).expect("usable")).collect();
        let certificates = ServerCertificates::new(vec![
            (Arc::clone(&keys[0]), vec!["other.example".into()]),
            (Arc::clone(&keys[1]), vec!["*.Example.com".into()]),
            (Arc::clone(&keys[2]), vec!["a.example.com".into()]),
        ]);
        for (name, expected) in
            [("a.example.com", 2), ("b.example.com", 1), ("c.b.example.com", 0), ("other.example", 0), ("", 0)]
        {
            let found = certificates.candidates(name).next().expect("one");
            assert!(Arc::ptr_eq(found, &keys[expected]), "{name}");
        }
    }
}
