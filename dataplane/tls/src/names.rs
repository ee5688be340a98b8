//! The names in certificates, and whether one is among those that are asked for.

use agentgateway_proto::v1::{self, subject_alt_name::Kind};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

use crate::Error;

/// DNS names of a certificate, wildcards included.
pub(crate) fn dns_names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|e| Error::Certificate(e.to_string()))?;
    Ok(parsed.valid_dns_names().map(str::to_owned).collect())
}

/// A name that is asked for.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// As a TLS client would check it: by the certificate's names, wildcards in them included.
    Host(ServerName<'static>),
    /// "example.com" of "*.example.com": that wildcard itself, or a name with one label before it.
    Below(String),
    /// Exactly this.
    Uri(String),
}

impl Wanted {
    pub(crate) fn compile(name: &v1::SubjectAltName) -> Result<Wanted, Error> {
        match &name.kind {
            Some(Kind::Uri(uri)) if !uri.is_empty() => Ok(Wanted::Uri(uri.clone())),
            Some(Kind::Hostname(name)) if !name.is_empty() => match name.strip_prefix("*.") {
                Some(parent) => Ok(Wanted::Below(parent.to_ascii_lowercase())),
                None => server_name(name).map(Wanted::Host),
            },
            _ => Err(Error::SubjectAltName),
        }
    }

    fn is_in(&self, certificate: &CertificateDer<'_>) -> bool {
        match self {
            Wanted::Host(name) => {
                ParsedCertificate::try_from(certificate).is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
            }
            Wanted::Below(parent) => dns_names(certificate).is_ok_and(|names| {
                let below =
                    |name: &String| name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent));
                names.iter().any(below)
            }),
            Wanted::Uri(uri) => webpki::EndEntityCert::try_from(certificate)
                .is_ok_and(|parsed| parsed.valid_uri_names().any(|name| name == uri)),
        }
    }
}

/// Whether the certificate has one of the names.
pub(crate) fn any_is_in(wanted: &[Wanted], certificate: &CertificateDer<'_>) -> bool {
    wanted.iter().any(|name| name.is_in(certificate))
}

/// A host name or an IP address.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned()).map_err(|_| Error::ServerName(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Authority;

    fn has(names: &[&str], uris: &[&str], wanted: Kind) -> bool {
        let leaf = Authority::new().leaf_for("x", names, uris);
        let wanted = Wanted::compile(&v1::SubjectAltName { kind: Some(wanted) }).expect("a name");
        any_is_in(&[wanted], &leaf.der())
    }

    #[test]
    fn hosts_match_as_tls_clients_match_them() {
        let host = |name: &str| Kind::Hostname(name.to_owned());
        assert!(has(&["a.example.com"], &[], host("a.example.com")));
        assert!(has(&["a.example.com"], &[], host("A.Example.com")));
        assert!(has(&["*.example.com"], &[], host("a.example.com")));
        assert!(!has(&["*.example.com"], &[], host("b.a.example.com")));
        assert!(!has(&["a.example.com"], &[], host("b.example.com")));
        assert!(has(&["a.example.com"], &[], host("*.example.com")));
        assert!(has(&["*.example.com"], &[], host("*.example.com")));
        assert!(!has(&["b.a.example.com", "example.com"], &[], host("*.example.com")));
    }

    #[test]
    fn uris_match_exactly() {
        let uri = |name: &str| Kind::Uri(name.to_owned());
        assert!(has(&[], &["spiffe://td/a"], uri("spiffe://td/a")));
        assert!(!has(&["a"], &["spiffe://td/a"], uri("spiffe://td/a/b")));
        assert!(!has(&["a.example"], &[], uri("a.example")));
    }

    #[test]
    fn empty_names_are_refused() {
        for kind in [None, Some(Kind::Uri(String::new())), Some(Kind::Hostname(String::new()))] {
            assert!(Wanted::compile(&v1::SubjectAltName { kind }).is_err());
        }
    }
}
