//! Certificates, private keys and bundles of authorities, from PEM.

use std::sync::Arc;

use agentgateway_proto::v1;
use bytes::Bytes;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::Error;

/// A certificate chain with its private key, checked to belong together.
///
/// # Errors
/// Either does not decode, is of a kind that is not supported, or the key is not the certificate's.
pub fn certified_key(certificate: &v1::Certificate) -> Result<Arc<CertifiedKey>, Error> {
    let chain = certificates(&certificate.chain)?;
    let key = PrivateKeyDer::from_pem_slice(&certificate.private_key).map_err(|error| match error {
        pem::Error::NoItemsFound => Error::NoKey,
        _ => Error::Pem,
    })?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map(Arc::new).map_err(Error::Unusable)
}

/// The authorities of all bundles.
///
/// # Errors
/// A bundle is empty or does not decode.
pub fn authorities(bundles: &[Bytes]) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for bundle in bundles {
        for certificate in certificates(bundle)? {
            store.add(certificate).map_err(Error::Authority)?;
        }
    }
    Ok(store)
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|_| Error::Pem)?;
    if all.is_empty() { Err(Error::NoCertificate) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> v1::Certificate {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("a certificate");
        v1::Certificate { chain: made.cert.pem().into(), private_key: made.signing_key.serialize_pem().into() }
    }

    #[test]
    fn a_pair_is_usable_and_strangers_are_not() {
        let (one, two) = (pair(), pair());
        assert!(certified_key(&one).is_ok());
        let mixed = v1::Certificate { chain: one.chain.clone(), private_key: two.private_key };
        assert!(matches!(certified_key(&mixed), Err(Error::Unusable(_))));
        let without_key = v1::Certificate { chain: one.chain.clone(), private_key: one.chain.clone() };
        assert!(matches!(certified_key(&without_key), Err(Error::NoKey)));
        let junk = v1::Certificate { chain: Bytes::from_static(b"junk"), private_key: one.private_key };
        assert!(matches!(certified_key(&junk), Err(Error::NoCertificate)));
    }

    #[test]
    fn bundles_are_read_whole_and_empty_ones_refused() {
        let both = [pair().chain, pair().chain].concat();
        assert_eq!(authorities(&[both.into()]).expect("two").len(), 2);
        assert!(matches!(authorities(&[Bytes::new()]), Err(Error::NoCertificate)));
    }

    #[test]
    fn no_key_is_printed() {
        let printed = format!("{:?}", pair());
        assert!(!printed.contains("PRIVATE"), "{printed}");
    }
}
