//! The authorities that are trusted where the configuration names none.
//!
//! Those of the machine, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`. An image from scratch has none; there the bundle of
//! Mozilla's list that is built in takes their place, so that a backend on the public internet works without a mount.

use std::sync::{Arc, LazyLock};

use rustls::RootCertStore;

/// Loaded once, when first used: a file of the machine that changes counts from the next start.
pub(crate) fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| Arc::new(load()));
    Arc::clone(&ROOTS)
}

fn load() -> RootCertStore {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (used, skipped) = store.add_parsable_certificates(found.certs);
    for error in &found.errors {
        tracing::debug!(%error, "an authority of this machine cannot be read");
    }
    // Who names a file wants what is in it and nothing else, also where that is nothing.
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    if used == 0 && !named {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        tracing::debug!(authorities = store.len(), "this machine has no authorities; the built-in list is used");
    } else {
        tracing::debug!(authorities = used, skipped, "authorities of this machine are used");
    }
    store
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_authorities_with_or_without_those_of_the_machine() {
        assert!(!system_roots().is_empty());
    }
}
