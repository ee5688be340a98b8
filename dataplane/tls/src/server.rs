//! TLS of a listener, compiled once and shared by all its connections.

use std::sync::Arc;

use agentgateway_proto::v1::{self, TlsVersion};
use rustls::crypto::ring::Ticketer;
use rustls::pki_types::UnixTime;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, SupportedProtocolVersion};

use crate::client_validation::ClientValidation;
use crate::server_certificates::ServerCertificates;
use crate::{Error, Identity, certified_key, names, provider};

/// What is offered to clients where the configuration names no application protocols: HTTP/2 first.
pub const HTTP_ALPN: &[&str] = &["h2", "http/1.1"];

/// TLS of a listener.
pub struct Server {
    settings: v1::ServerTls,
    config: Arc<ServerConfig>,
    validation: Option<ClientValidation>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("certificates", &self.settings.certificates.len()).finish_non_exhaustive()
    }
}

impl Server {
    /// Compiles settings. `alpn` is offered where they name no application protocol.
    ///
    /// # Errors
    /// Why no connection could be served as they say. A listener must then serve none: what is left of the settings would be
    /// less than what was meant.
    pub fn compile(settings: &v1::ServerTls, alpn: &[&str]) -> Result<Server, Error> {
        let validation = settings.client_validation.as_ref().map(ClientValidation::compile).transpose();
        let validation = validation.map_err(|e| Error::ClientValidation(Box::new(e)))?;
        let verifier =
            validation.as_ref().map_or_else(WebPkiClientVerifier::no_client_auth, ClientValidation::verifier);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions(settings)?)
            .map_err(Error::Settings)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(certificates(&settings.certificates)?));
        config.alpn_protocols = protocols(settings, alpn);
        // Each listener has tickets of its own. One key for all would let a client take a session from a listener that asks
        // for no certificate to one that does.
        config.ticketer = Ticketer::new().map_err(Error::Settings)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Server { settings: settings.clone(), config: Arc::new(config), validation })
    }

    /// Whether it was compiled from the same, so that it and its tickets can stay.
    pub fn is_of(&self, settings: &v1::ServerTls, alpn: &[&str]) -> bool {
        self.settings == *settings && self.config.alpn_protocols == protocols(settings, alpn)
    }

    /// For handshakes.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Whether a connection that was made under `before` may be used further under this: nothing more is asked of clients.
    pub fn accepts_connections_of(&self, before: &Server) -> bool {
        self.settings.client_validation == before.settings.client_validation || self.validation.is_none()
    }

    /// Who the client of a finished handshake is; None when it showed no certificate, or no valid one where that is allowed.
    ///
    /// # Errors
    /// A resumed session's certificate is not valid any more.
    pub fn identity(&self, connection: &ServerConnection) -> Result<Option<Identity>, Error> {
        let Some(validation) = &self.validation else { return Ok(None) };
        let Some((leaf, chain)) = connection.peer_certificates().and_then(<[_]>::split_first) else { return Ok(None) };
        // A full handshake has verified it, unless everybody is let in. A resumed one trusts its ticket, which may be older
        // than the certificate's end.
        let verified = !validation.fallback && connection.handshake_kind() != Some(HandshakeKind::Resumed);
        if !verified && let Err(error) = validation.strict.verify_client_cert(leaf, chain, UnixTime::now()) {
            return if validation.fallback { Ok(None) } else { Err(Error::Settings(error)) };
        }
        Identity::of(leaf).map(Some)
    }
}

fn protocols(settings: &v1::ServerTls, default: &[&str]) -> Vec<Vec<u8>> {
    if settings.alpn.is_empty() {
        default.iter().map(|name| name.as_bytes().to_vec()).collect()
    } else {
        settings.alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
    }
}

fn certificates(certificates: &[v1::Certificate]) -> Result<ServerCertificates, Error> {
    if certificates.is_empty() {
        return Err(Error::NoServerCertificate);
    }
    let each = certificates.iter().enumerate().map(|(at, certificate)| {
        let usable = certified_key(certificate).and_then(|key| {
            let names = key.end_entity_cert().map_err(Error::Unusable).and_then(names::dns_names)?;
            Ok((key, names))
        });
        usable.map_err(|e| Error::OfCertificate { number: at + 1, source: Box::new(e) })
    });
    each.collect::<Result<Vec<_>, _>>().map(ServerCertificates::new)
}

fn versions(settings: &v1::ServerTls) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let bound = |number: i32| TlsVersion::try_from(number).map_err(|_| Error::Versions);
    let (lowest, highest) = (bound(settings.min_version)?, bound(settings.max_version)?);
    let mut allowed = Vec::with_capacity(2);
    if lowest != TlsVersion::Tls13 {
        allowed.push(&rustls::version::TLS12);
    }
    if highest != TlsVersion::Tls12 {
        allowed.push(&rustls::version::TLS13);
    }
    if allowed.is_empty() { Err(Error::Versions) } else { Ok(allowed) }
}

#[cfg(test)]
mod tests;
