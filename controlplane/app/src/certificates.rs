//! The control plane's own CA: how it is made, when it is replaced, and the serving certificates made from it.
//!
//! Pure: what is stored where, and what time it is, is the caller's. A CA is replaced long before its end, in steps that are
//! far enough apart for every proxy to know the new one before it is used, and to know the old one as long as it is used.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const CA_LIFE: Duration = DAY.saturating_mul(365);
/// Age at which the next CA is announced.
const CA_REPLACE_AFTER: Duration = DAY.saturating_mul(240);
/// Time for the announced CA to reach every proxy before it signs.
const CA_ANNOUNCE: Duration = DAY;
const SERVING_LIFE: Duration = DAY.saturating_mul(30);
/// Age at which a serving certificate is made anew.
pub(crate) const SERVING_REPLACE_AFTER: Duration = DAY.saturating_mul(10);
/// Clocks of a cluster may differ by this much.
const SKEW: Duration = Duration::from_secs(60 * 60);

/// Why a CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// A certificate or key could not be made or read.
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// What was made is no PEM that rustls takes.
    #[error("cannot use a certificate: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// rustls refuses the key or the certificate.
    #[error("cannot use a certificate: {0}")]
    Tls(#[from] rustls::Error),
}

/// One CA.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Certificate, PEM.
    pub(crate) certificate: String,
    /// Private key, PEM.
    pub(crate) key: String,
    /// Seconds since the epoch.
    pub(crate) created: u64,
}

// The key must never reach a log.
impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("created", &self.created).finish_non_exhaustive()
    }
}

/// The CA in use, the one to come and the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorities {
    /// Signs.
    pub(crate) active: Authority,
    /// Trusted already, signs soon.
    pub(crate) next: Option<Authority>,
    /// Trusted still, PEM, and when it was made.
    pub(crate) previous: Option<(String, u64)>,
}

impl Authority {
    fn new(now: SystemTime) -> Result<Authority, CertificateError> {
        let created = seconds(now);
        let key = KeyPair::generate()?;
        let certificate = ca_params(created).self_signed(&key)?.pem();
        Ok(Authority { certificate, key: key.serialize_pem(), created })
    }

    /// A certificate for a server of these names.
    pub(crate) fn serving(
        &self,
        names: &[String],
        now: SystemTime,
    ) -> Result<rustls::sign::CertifiedKey, CertificateError> {
        let issuer = Issuer::new(ca_params(self.created), KeyPair::from_pem(&self.key)?);
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, "agentgateway control plane");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = (now - SKEW).into();
        params.not_after = (now + SERVING_LIFE).into();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        let chain =
            [certificate.as_bytes()].into_iter().map(CertificateDer::from_pem_slice).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
        Ok(rustls::sign::CertifiedKey::new(chain, key))
    }
}

impl Authorities {
    /// The first CA.
    pub(crate) fn new(now: SystemTime) -> Result<Authorities, CertificateError> {
        Ok(Authorities { active: Authority::new(now)?, next: None, previous: None })
    }

    /// The step that is due, if one is.
    pub(crate) fn advance(&self, now: SystemTime) -> Result<Option<Authorities>, CertificateError> {
        let age = |created: u64| Duration::from_secs(seconds(now).saturating_sub(created));
        if let Some(next) = &self.next {
            if age(next.created) < CA_ANNOUNCE {
                return Ok(None);
            }
            return Ok(Some(Authorities {
                active: next.clone(),
                next: None,
                previous: Some((self.active.certificate.clone(), self.active.created)),
            }));
        }
        if age(self.active.created) >= CA_REPLACE_AFTER {
            return Ok(Some(Authorities { next: Some(Authority::new(now)?), ..self.clone() }));
        }
        if self.previous.as_ref().is_some_and(|(_, created)| age(*created) >= CA_LIFE) {
            return Ok(Some(Authorities { previous: None, ..self.clone() }));
        }
        Ok(None)
    }

    /// All certificates that proxies are to trust, PEM.
    pub(crate) fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|next| next.certificate.as_str());
        let previous = self.previous.as_ref().map(|(certificate, _)| certificate.as_str());
        [Some(self.active.certificate.as_str()), next, previous].into_iter().flatten().collect()
    }
}

fn ca_params(created: u64) -> CertificateParams {
    let created_at = UNIX_EPOCH + Duration::from_secs(created);
    let mut params = CertificateParams::default();
    // The name holds the time, so that two CAs in one bundle differ in more than their keys.
    params.distinguished_name.push(DnType::CommonName, format!("agentgateway discovery CA {created}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (created_at - SKEW).into();
    params.not_after = (created_at + CA_LIFE).into();
    params
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn days(n: u32) -> Duration {
        DAY * n
    }

    /// Whether a client that trusts `bundle` accepts `serving` for `name` at this time.
    fn accepts(bundle: &str, serving: &rustls::sign::CertifiedKey, name: &str, at: SystemTime) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(certificate.expect("PEM")).expect("a CA");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .expect("verifier");
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).expect("name");
        let at = rustls::pki_types::UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).expect("time"));
        use rustls::client::danger::ServerCertVerifier;
        verifier.verify_server_cert(&serving.cert[0], &[], &name, &[], at).is_ok()
    }

    #[test]
    fn a_serving_certificate_is_good_for_its_names_and_its_time() {
        let now = SystemTime::now();
        let ca = Authorities::new(now).expect("CA");
        let serving = ca.active.serving(&["cp.ns.svc".to_owned()], now).expect("serving");
        assert!(accepts(&ca.bundle(), &serving, "cp.ns.svc", now));
        assert!(!accepts(&ca.bundle(), &serving, "other.ns.svc", now));
        assert!(!accepts(&ca.bundle(), &serving, "cp.ns.svc", now + days(31)));
        assert!(!accepts(&Authorities::new(now).expect("CA").bundle(), &serving, "cp.ns.svc", now));
    }

    #[test]
    fn rotation_never_leaves_a_proxy_without_a_ca_that_it_needs() {
        let start = SystemTime::now();
        let names = ["cp".to_owned()];
        let mut ca = Authorities::new(start).expect("CA");
        let first = ca.clone();
        // What a proxy knows is at worst some hours old.
        let mut known = vec![ca.bundle()];
        let mut steps = 0;
        for hour in (0..24 * 700).step_by(6) {
            let now = start + Duration::from_secs(hour * 3_600);
            while let Some(next) = ca.advance(now).expect("advances") {
                ca = next;
                steps += 1;
            }
            known.push(ca.bundle());
            let stale = &known[known.len().saturating_sub(3)];
            let serving = ca.active.serving(&names, now).expect("serving");
            assert!(accepts(stale, &serving, "cp", now), "hour {hour}");
        }
        assert!(steps >= 5, "two whole rotations, {steps} steps");
        assert!(!ca.bundle().contains(&first.active.certificate), "what expired is dropped");
    }

    #[test]
    fn keys_are_not_printed() {
        let ca = Authorities::new(SystemTime::now()).expect("CA");
        assert!(!format!("{ca:?}").contains("PRIVATE"));
    }
}
