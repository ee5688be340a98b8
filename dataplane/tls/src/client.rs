//! TLS to a backend, compiled once and shared by all connections to it.

use std::sync::Arc;

use agentgateway_proto::resource::Version;
use agentgateway_proto::v1;
use prost::Message;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use crate::names::{self, Wanted};
use crate::system_roots::system_roots;
use crate::{Error, authorities, certified_key, provider};

/// Application protocols that a backend may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/2 or HTTP/1.1, as it likes.
    AnyHttp,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// None is named: what is spoken is not the gateway's affair.
    Nothing,
}

/// TLS to a backend.
pub struct Client {
    identity: Version,
    server_name: ServerName<'static>,
    any_http: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    nothing: Arc<ClientConfig>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Client {
    /// Compiles settings. `gateway` is the certificate of the gateway, shown where the settings have none.
    ///
    /// # Errors
    /// Why no connection can be made as they say; then none may be made.
    pub fn compile(settings: &v1::BackendTls, gateway: Option<&v1::Certificate>) -> Result<Client, Error> {
        if !settings.refused.is_empty() {
            return Err(Error::Refused(settings.refused.clone()));
        }
        let server_name = names::server_name(&settings.hostname)?;
        let roots = if settings.authorities.is_empty() {
            system_roots()
        } else {
            Arc::new(authorities(&settings.authorities)?)
        };
        if roots.is_empty() {
            return Err(Error::NoAuthority);
        }
        let wanted = settings.subject_alt_names.iter().map(Wanted::compile).collect::<Result<Vec<_>, _>>()?;
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider());
        let chain = chain.build().map_err(|_| Error::NoAuthority)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .map_err(Error::Settings)?;
        let builder = if wanted.is_empty() {
            builder.with_webpki_verifier(chain)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(ByAlternativeNames { roots, chain, wanted }))
        };
        let own = settings.client_certificate.as_ref().or(gateway);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified_key(own)?))),
        };
        // Everything that decides over a connection: one made under other settings is never used for these.
        let mut all = settings.encode_to_vec();
        all.extend(own.map(Message::encode_to_vec).unwrap_or_default());
        let offering = |protocols: &[&str]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
            Arc::new(config)
        };
        Ok(Client {
            identity: Version::of(&all),
            server_name,
            any_http: offering(&["h2", "http/1.1"]),
            http1: offering(&["http/1.1"]),
            http2: offering(&["h2"]),
            nothing: offering(&[]),
        })
    }

    /// Equal for equal settings alone.
    pub fn identity(&self) -> Version {
        self.identity
    }

    /// The name that is sent, and checked unless alternative names are asked for.
    pub fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }

    /// For handshakes.
    pub fn config(&self, offer: Offer) -> &Arc<ClientConfig> {
        match offer {
            Offer::AnyHttp => &self.any_http,
            Offer::Http1 => &self.http1,
            Offer::Http2 => &self.http2,
            Offer::Nothing => &self.nothing,
        }
    }
}

/// Checks the chain as usual, and in the place of the name that was sent those that were asked for.
#[derive(Debug)]
struct ByAlternativeNames {
    roots: Arc<RootCertStore>,
    /// For what concerns neither chain nor name.
    chain: Arc<WebPkiServerVerifier>,
    wanted: Vec<Wanted>,
}

impl ServerCertVerifier for ByAlternativeNames {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        if names::any_is_in(&self.wanted, leaf) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(TlsError::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
