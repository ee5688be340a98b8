//! Who a verified client certificate is for.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Error;

/// The names in a certificate that was verified. Names of one that was not must never be kept as this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The subject, such as `CN=client, O=Example`; empty when the certificate has none.
    pub subject: String,
    /// DNS names and URIs of its subject alternative names, in their order by kind.
    pub names: Vec<String>,
    /// The one URI with the scheme `spiffe`; none when there are several (X.509-SVID §2 allows one).
    pub spiffe: Option<String>,
}

impl Identity {
    /// The names in a certificate.
    ///
    /// # Errors
    /// It is not X.509.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Identity, Error> {
        let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|e| Error::Certificate(e.to_string()))?;
        let uris: Vec<String> = parsed.valid_uri_names().map(str::to_owned).collect();
        let mut ids = uris.iter().filter(|uri| uri.starts_with("spiffe://"));
        let spiffe = match (ids.next(), ids.next()) {
            (Some(id), None) => Some(id.clone()),
            _ => None,
        };
        let subject =
            X509Certificate::from_der(certificate).map_or_else(|_| String::new(), |(_, c)| c.subject().to_string());
        let mut names: Vec<String> = parsed.valid_dns_names().map(str::to_owned).collect();
        names.extend(uris);
        Ok(Identity { subject, names, spiffe })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Authority;

    #[test]
    fn names_are_read_and_a_second_spiffe_id_makes_none() {
        let authority = Authority::new();
        let leaf = authority.leaf_for("client", &["a.example"], &["spiffe://td/ns/a/sa/b", "https://a.example/x"]);
        let identity = Identity::of(&leaf.der()).expect("reads");
        assert_eq!(identity.names, ["a.example", "spiffe://td/ns/a/sa/b", "https://a.example/x"]);
        assert_eq!(identity.spiffe.as_deref(), Some("spiffe://td/ns/a/sa/b"));
        assert_eq!(identity.subject, "CN=client");
        let two = authority.leaf_for("client", &[], &["spiffe://td/a", "spiffe://td/b"]);
        assert_eq!(Identity::of(&two.der()).expect("reads").spiffe, None);
        assert!(Identity::of(&CertificateDer::from(vec![1, 2, 3])).is_err());
    }
}
