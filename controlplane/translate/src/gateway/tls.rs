//! What a listener that ends TLS shows to clients: certificates, and the versions that its options ask for.

use std::collections::BTreeMap;

use agentgateway_proto::v1::{self, TlsVersion};
use prost::bytes::Bytes;

use super::declared::Listener;
use super::frontend::Validation;
use crate::Name;
use crate::certificate::{self, Problem};
use crate::object::ObjectKey;
use crate::view::View;

/// Options of ours; those of other implementations' domains are theirs.
const OUR_DOMAIN: &str = "gateway.kgateway.dev/";
const MIN_VERSION: &str = "gateway.kgateway.dev/min-tls-version";
const MAX_VERSION: &str = "gateway.kgateway.dev/max-tls-version";

/// A reason for a condition, and a message.
pub(crate) type Why = (&'static str, String);

/// What becomes of a listener's TLS.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Absent when nothing can be served.
    pub(super) tls: Option<v1::ServerTls>,
    /// Why the listener is not accepted.
    pub(super) refused: Option<Why>,
    /// What does not resolve.
    pub(super) unresolved: Vec<Why>,
}

/// The settings of a listener of `owner` that ends TLS. `validation` is what the Gateway asks of clients' certificates.
pub(super) fn server(
    listener: &Listener,
    owner: &ObjectKey,
    validation: Option<&Validation>,
    view: &View<'_>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(config) = &listener.tls else {
        outcome.unresolved.push(("InvalidCertificateRef", "tls: no certificate is named".to_owned()));
        return outcome;
    };
    let from = (owner.kind, owner.name.namespace.as_str());
    let mut certificates = Vec::new();
    for (i, reference) in config.certificates.iter().enumerate() {
        match certificate::key_pair(from, reference, view) {
            Ok(pair) => certificates.push(pair),
            Err(problem) => {
                let reason = match problem {
                    Problem::NotPermitted(_) => "RefNotPermitted",
                    Problem::Kind(_) | Problem::Invalid(_) => "InvalidCertificateRef",
                };
                outcome.unresolved.push((reason, format!("tls.certificateRefs[{i}]: {}", problem.message())));
            }
        }
    }
    if config.certificates.is_empty() {
        outcome.unresolved.push(("InvalidCertificateRef", "tls.certificateRefs: no certificate is named".to_owned()));
    }
    let versions = match versions(&config.options) {
        Ok(versions) => Some(versions),
        Err(message) => {
            outcome.refused = Some(("UnsupportedValue", message));
            None
        }
    };
    let mut client_validation = None;
    if let Some(validation) = validation {
        outcome.unresolved.extend(validation.unresolved.iter().cloned());
        if validation.authorities.is_empty() {
            let message = "spec.tls.frontend: none of the certificates of authorities can be used".to_owned();
            outcome.refused.get_or_insert(("NoValidCACertificate", message));
        }
        client_validation = Some(validation.to_message());
    }
    if let (Some((min_version, max_version)), None, false) = (versions, &outcome.refused, certificates.is_empty()) {
        outcome.tls = Some(v1::ServerTls {
            certificates,
            client_validation,
            alpn: Vec::new(),
            min_version: min_version.into(),
            max_version: max_version.into(),
        });
    }
    outcome
}

fn versions(options: &BTreeMap<String, String>) -> Result<(TlsVersion, TlsVersion), String> {
    for name in options.keys() {
        // Names without a domain are Gateway API's, which defines none.
        let ours = name.starts_with(OUR_DOMAIN) || !name.contains('/');
        if ours && name != MIN_VERSION && name != MAX_VERSION {
            return Err(format!("tls.options: {name} is not supported, {MIN_VERSION} and {MAX_VERSION} are"));
        }
    }
    let version = |name: &str| match options.get(name).map(String::as_str) {
        None => Ok(TlsVersion::Unspecified),
        Some("1.2") => Ok(TlsVersion::Tls12),
        Some("1.3") => Ok(TlsVersion::Tls13),
        Some(other) => Err(format!("tls.options: {name} must be 1.2 or 1.3, not {other:?}")),
    };
    let (min, max) = (version(MIN_VERSION)?, version(MAX_VERSION)?);
    if min == TlsVersion::Tls13 && max == TlsVersion::Tls12 {
        return Err(format!("tls.options: {MIN_VERSION} is above {MAX_VERSION}"));
    }
    Ok((min, max))
}

impl Validation {
    fn to_message(&self) -> v1::ClientValidation {
        let mode = if self.insecure {
            v1::client_validation::Mode::AllowInsecureFallback
        } else {
            v1::client_validation::Mode::AllowValidOnly
        };
        v1::ClientValidation { authorities: self.authorities.clone(), mode: mode.into() }
    }
}

/// The certificate that a Gateway shows to backends, or why there is none that could be shown.
pub(super) fn client(
    gateway: &gateway_api::apis::experimental::gateways::Gateway,
    name: &Name,
    view: &View<'_>,
) -> Option<Result<v1::Certificate, Why>> {
    let tls = gateway.spec.tls.as_ref()?;
    let reference = tls.backend.as_ref()?.client_certificate_ref.as_ref()?;
    let from = crate::object::ObjectKind::Gateway;
    let reference = certificate::Reference {
        group: reference.group.clone().unwrap_or_default(),
        kind: reference.kind.clone().unwrap_or_else(|| crate::object::ObjectKind::Secret.kind().to_owned()),
        name: Name::new(reference.namespace.as_deref().unwrap_or(&name.namespace), reference.name.clone()),
    };
    let made = certificate::key_pair((from, &name.namespace), &reference, view);
    Some(made.map_err(|problem| {
        let reason = match problem {
            Problem::NotPermitted(_) => "RefNotPermitted",
            Problem::Kind(_) | Problem::Invalid(_) => "InvalidClientCertificateRef",
        };
        (reason, format!("spec.tls.backend.clientCertificateRef: {}", problem.message()))
    }))
}

/// Bundles of authorities.
pub(super) type Authorities = Vec<Bytes>;

#[cfg(test)]
mod tests {
    use super::*;

    fn options(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_of_ours_count_and_those_of_others_do_not() {
        let read = |all: &[(&str, &str)]| versions(&options(all));
        assert_eq!(read(&[]), Ok((TlsVersion::Unspecified, TlsVersion::Unspecified)));
        assert_eq!(read(&[(MIN_VERSION, "1.3")]), Ok((TlsVersion::Tls13, TlsVersion::Unspecified)));
        assert_eq!(read(&[("example.com/x", "y")]), Ok((TlsVersion::Unspecified, TlsVersion::Unspecified)));
        for wrong in [
            &[(MIN_VERSION, "1.1")][..],
            &[("gateway.kgateway.dev/ciphers", "x")],
            &[("min-tls-version", "1.3")],
            &[(MIN_VERSION, "1.3"), (MAX_VERSION, "1.2")],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
