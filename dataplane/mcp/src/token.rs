//! The session id: an encrypted and authenticated token that holds what another process with the same key needs to go
//! on with the session.
//!
//! Form: base64url of a nonce (12 bytes), then AES-256-GCM over the session's identity (16 bytes), the caller's (16
//! bytes), the time of issue (8 bytes, seconds since the epoch, big endian) and the JSON of [`Contents`]. A process
//! that knows the session reads no more than the first two.

use std::net::SocketAddr;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::limits;

const NONCE: usize = 12;
/// Bytes before the JSON.
const PREFIX: usize = 40;
const CONTEXT: &[u8] = b"agentgateway mcp session v1";
const STATE_CONTEXT: &[u8] = b"agentgateway mcp request state v1";

/// A session id that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Random identity of the session.
    pub(crate) id: [u8; 16],
    /// Digest of the caller's identity.
    pub(crate) identity: [u8; 16],
    /// Seconds since the epoch at which the session began.
    pub(crate) issued: u64,
    plain: Vec<u8>,
}

impl Opened {
    fn read(plain: Vec<u8>) -> Option<Self> {
        let (id, rest) = plain.split_first_chunk()?;
        let (identity, rest) = rest.split_first_chunk()?;
        let (issued, _) = rest.split_first_chunk()?;
        Some(Self { id: *id, identity: *identity, issued: u64::from_be_bytes(*issued), plain })
    }

    /// What another process needs.
    pub(crate) fn contents(&self) -> Option<Contents> {
        serde_json::from_slice(self.plain.get(PREFIX..)?).ok()
    }
}

/// What a session id holds for other processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// Key of the backend that the session belongs to.
    #[serde(rename = "b")]
    pub(crate) backend: String,
    /// Negotiated protocol version.
    #[serde(rename = "v")]
    pub(crate) version: String,
    /// The client's name and capabilities, as it sent them.
    #[serde(rename = "c")]
    pub(crate) client: Box<RawValue>,
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) targets: Vec<TargetContents>,
}

/// The session at one target.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(crate) struct TargetContents {
    #[serde(rename = "n")]
    pub(crate) name: String,
    /// The target's own session id, where it gave one.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    #[serde(rename = "v")]
    pub(crate) version: String,
    /// Bits of [`crate::capabilities::Features`].
    #[serde(rename = "f")]
    pub(crate) features: u16,
    /// The endpoint that holds the target's session.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<SocketAddr>,
}

/// Seals and opens session ids.
pub(crate) struct Sealer {
    cipher: Aes256Gcm,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

/// A key that replicas share.
#[derive(Clone)]
pub struct SessionKey([u8; 32]);

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKey")
    }
}

/// What was to become a key can be guessed.
#[derive(Debug, thiserror::Error)]
#[error("it has {0} bytes, and needs at least 32; make one with: openssl rand -hex 32")]
pub struct ShortKey(usize);

impl SessionKey {
    /// A key made from a secret of any form.
    ///
    /// # Errors
    /// The secret has less than 32 bytes.
    pub fn from_material(material: &[u8]) -> Result<Self, ShortKey> {
        if material.len() < 32 {
            return Err(ShortKey(material.len()));
        }
        Ok(Self(blake3::derive_key("agentgateway mcp session key v1", material)))
    }
}

/// The system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes from the system: {0}")]
pub struct NoRandom(String);

pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| NoRandom(e.to_string()))?;
    Ok(bytes)
}

impl Sealer {
    /// With `key`, which the replicas share, or else a random one.
    pub(crate) fn new(key: Option<SessionKey>) -> Result<Self, NoRandom> {
        let key = match key {
            Some(key) => key.0,
            None => random()?,
        };
        Ok(Self { cipher: Aes256Gcm::new(&key.into()) })
    }

    /// The state of a waiting call, for its caller.
    pub(crate) fn seal_state(&self, call: &[u8; 16], session: &[u8; 16]) -> Result<String, NoRandom> {
        let nonce: [u8; NONCE] = random()?;
        let plain = [&call[..], session].concat();
        let payload = Payload { msg: &plain, aad: STATE_CONTEXT };
        let sealed = self.cipher.encrypt(Nonce::from_slice(&nonce), payload).unwrap_or_default();
        Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// The call and the session that a state was made for; nothing when it was not made with this key.
    pub(crate) fn open_state(&self, state: &str) -> Option<([u8; 16], [u8; 16])> {
        let bytes = URL_SAFE_NO_PAD.decode(state).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE)?;
        let plain = self.cipher.decrypt(Nonce::from_slice(nonce), Payload { msg: sealed, aad: STATE_CONTEXT }).ok()?;
        let (call, session) = plain.split_first_chunk()?;
        Some((*call, session.try_into().ok()?))
    }

    /// The session id of `id`, issued now to `identity`. One that would be too long for a header leaves the targets'
    /// part out: a process that resumes it then begins a new session at each target.
    pub(crate) fn seal(
        &self,
        id: &[u8; 16],
        identity: &[u8; 16],
        issued: u64,
        contents: &Contents,
    ) -> Result<String, NoRandom> {
        let prefix = [&id[..], identity, &issued.to_be_bytes()].concat();
        let token = self.seal_any(&prefix, contents)?;
        if token.len() <= limits::TOKEN_BYTES {
            return Ok(token);
        }
        self.seal_any(&prefix, &Contents { targets: Vec::new(), ..contents.clone() })
    }

    fn seal_any(&self, prefix: &[u8], contents: &Contents) -> Result<String, NoRandom> {
        let nonce: [u8; NONCE] = random()?;
        // Serialising these types and encrypting in memory cannot fail; an empty token is refused when it is opened.
        let plain = [prefix, &serde_json::to_vec(contents).unwrap_or_default()].concat();
        let sealed =
            self.cipher.encrypt(Nonce::from_slice(&nonce), Payload { msg: &plain, aad: CONTEXT }).unwrap_or_default();
        let mut bytes = nonce.to_vec();
        bytes.extend_from_slice(&sealed);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a session id holds; nothing when it was not sealed with this key, or was changed.
    pub(crate) fn open(&self, token: &[u8]) -> Option<Opened> {
        if token.len() > limits::TOKEN_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE)?;
        let plain = self.cipher.decrypt(Nonce::from_slice(nonce), Payload { msg: sealed, aad: CONTEXT }).ok()?;
        Opened::read(plain)
    }

    /// A short digest of a session's identity, for logs: it finds the lines of one session and opens nothing.
    pub(crate) fn log_hash(id: &[u8; 16]) -> String {
        let digest = blake3::derive_key("agentgateway mcp session log v1", id);
        digest[..6].iter().map(|b| format!("{b:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(targets: usize) -> Contents {
        Contents {
            backend: "Backend/mcp/github".into(),
            version: "2025-06-18".into(),
            client: RawValue::from_string(r#"{"capabilities":{"roots":{}}}"#.into()).unwrap(),
            targets: (0..targets)
                .map(|n| TargetContents {
                    name: format!("target-{n}"),
                    session: Some("0123456789abcdef".repeat(4)),
                    version: "2025-06-18".into(),
                    features: 3,
                    endpoint: Some("10.0.0.1:80".parse().unwrap()),
                })
                .collect(),
        }
    }

    fn seal(sealer: &Sealer, targets: usize) -> String {
        sealer.seal(&[7; 16], &[9; 16], 1_700_000_000, &contents(targets)).unwrap()
    }

    #[test]
    fn round_trip() {
        let sealer = Sealer::new(SessionKey::from_material(&[1; 32]).ok()).unwrap();
        let token = seal(&sealer, 2);
        assert!(token.bytes().all(|b| b.is_ascii_graphic()));
        let opened = Sealer::new(SessionKey::from_material(&[1; 32]).ok()).unwrap().open(token.as_bytes()).unwrap();
        assert_eq!((opened.id, opened.identity, opened.issued), ([7; 16], [9; 16], 1_700_000_000));
        let read = opened.contents().unwrap();
        assert_eq!(read.targets, contents(2).targets);
        assert_eq!(read.client.get(), contents(2).client.get());
        assert_ne!(token, seal(&sealer, 2), "nonces differ");
    }

    #[test]
    fn foreign_and_tampered() {
        let sealer = Sealer::new(None).unwrap();
        let token = seal(&sealer, 1);
        assert!(Sealer::new(None).unwrap().open(token.as_bytes()).is_none());
        for at in 0..token.len() - 1 {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(sealer.open(&bytes).is_none(), "at {at}");
        }
        for token in ["", "AAAA", "!", &"A".repeat(9_000)] {
            assert!(sealer.open(token.as_bytes()).is_none());
        }
    }

    #[test]
    fn too_many_targets_for_a_header() {
        let sealer = Sealer::new(None).unwrap();
        let token = seal(&sealer, 200);
        assert!(token.len() <= limits::TOKEN_BYTES);
        assert!(sealer.open(token.as_bytes()).unwrap().contents().unwrap().targets.is_empty());
    }
}
