//! Certificates of clients: who must show one, and which are valid.

use std::sync::Arc;

use agentgateway_proto::v1::{self, client_validation::Mode};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error as TlsError, SignatureScheme};

use crate::{Error, authorities, provider};

/// What is asked of clients.
#[derive(Clone, Debug)]
pub(crate) struct ClientValidation {
    /// Accepts valid certificates alone.
    pub(crate) strict: Arc<dyn ClientCertVerifier>,
    /// Whether clients without a valid one are served.
    pub(crate) fallback: bool,
}

impl ClientValidation {
    pub(crate) fn compile(settings: &v1::ClientValidation) -> Result<ClientValidation, Error> {
        let store = authorities(&settings.authorities)?;
        if store.is_empty() {
            return Err(Error::NoAuthority);
        }
        let strict = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider());
        // Modes that this release does not know read as the strict one.
        let fallback = settings.mode() == Mode::AllowInsecureFallback;
        let strict = strict.build().map_err(|_| Error::NoAuthority)?;
        Ok(ClientValidation { strict, fallback })
    }

    /// What takes part in handshakes.
    pub(crate) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        if self.fallback { Arc::new(Fallback(Arc::clone(&self.strict))) } else { Arc::clone(&self.strict) }
    }
}

/// Asks for a certificate and lets everybody in; whether it was valid is found out afterwards. Who shows one must still prove
/// to have its key.
#[derive(Debug)]
struct Fallback(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Fallback {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A client with a certificate of another authority may show it: it is served either way.
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, TlsError> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, TlsError> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
