//! Certificates for tests.

use std::sync::Arc;

use agentgateway_proto::v1;
use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, ServerConnection};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

pub(crate) struct Leaf {
    pem: String,
    key: String,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = params("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn bundle(&self) -> Bytes {
        self.pem.clone().into()
    }

    pub(crate) fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_for(names.first().copied().unwrap_or("leaf"), names, &[])
    }

    pub(crate) fn leaf_for(&self, subject: &str, names: &[&str], uris: &[&str]) -> Leaf {
        self.make(params(subject), names, uris)
    }

    pub(crate) fn expired(&self, names: &[&str]) -> Leaf {
        let mut params = params("expired");
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        self.make(params, names, &[])
    }

    fn make(&self, mut params: CertificateParams, names: &[&str], uris: &[&str]) -> Leaf {
        let dns = names.iter().map(|n| SanType::DnsName((*n).try_into().expect("a name")));
        let uris = uris.iter().map(|u| SanType::URI((*u).try_into().expect("a URI")));
        params.subject_alt_names = dns.chain(uris).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let pem = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Leaf { pem, key: key.serialize_pem() }
    }
}

impl Leaf {
    pub(crate) fn pem(&self) -> v1::Certificate {
        v1::Certificate { chain: self.pem.clone().into(), private_key: self.key.clone().into() }
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM")
    }
}

/// Runs a handshake in memory; gives both ends, or the first error and who found it.
pub(crate) fn handshake(
    server: &Arc<rustls::ServerConfig>,
    client: &Arc<ClientConfig>,
    name: rustls::pki_types::ServerName<'static>,
) -> Result<(ServerConnection, ClientConnection), (&'static str, rustls::Error)> {
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a server");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a client");
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("writes");
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).expect("reads");
            server.process_new_packets().map_err(|e| ("server", e))?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("writes");
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).expect("reads");
            client.process_new_packets().map_err(|e| ("client", e))?;
        }
        if !server.is_handshaking() && !client.is_handshaking() && !client.wants_write() && !server.wants_write() {
            return Ok((server, client));
        }
    }
    panic!("the handshake does not end");
}
