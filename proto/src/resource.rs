//! One resource of any kind, with its key, encoding and version.

use prost::Message;
use prost::bytes::Bytes;

use crate::kind::Kind;
use crate::v1;

/// One resource of any kind.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    missing_docs,
    clippy::large_enum_variant,
    reason = "one variant per kind; stored behind Arc where many are kept"
)]
pub enum Resource {
    Endpoint(v1::Endpoint),
    Backend(v1::Backend),
    Policy(v1::Policy),
    Route(v1::Route),
    TcpRoute(v1::TcpRoute),
    UdpRoute(v1::UdpRoute),
    Listener(v1::Listener),
    Bind(v1::Bind),
    Generation(v1::Generation),
}

/// Key under which the one [`Generation`](v1::Generation) of a snapshot travels.
pub const GENERATION_KEY: &str = "generation";

/// Why bytes are not a resource.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The type URL names no kind of this release.
    #[error("unknown type URL {0:?}: the peer is of another release")]
    UnknownType(String),
    /// The bytes do not follow the message's schema.
    #[error("{kind} does not decode: {source}")]
    Malformed {
        /// Name of the message.
        kind: &'static str,
        /// What the decoder found.
        source: prost::DecodeError,
    },
}

impl Resource {
    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Resource::Endpoint(_) => Kind::Endpoint,
            Resource::Backend(_) => Kind::Backend,
            Resource::Policy(_) => Kind::Policy,
            Resource::Route(_) => Kind::Route,
            Resource::TcpRoute(_) => Kind::TcpRoute,
            Resource::UdpRoute(_) => Kind::UdpRoute,
            Resource::Listener(_) => Kind::Listener,
            Resource::Bind(_) => Kind::Bind,
            Resource::Generation(_) => Kind::Generation,
        }
    }

    /// The identity within its kind.
    pub fn key(&self) -> &str {
        match self {
            Resource::Endpoint(r) => &r.key,
            Resource::Backend(r) => &r.key,
            Resource::Policy(r) => &r.key,
            Resource::Route(r) => &r.key,
            Resource::TcpRoute(r) => &r.key,
            Resource::UdpRoute(r) => &r.key,
            Resource::Listener(r) => &r.key,
            Resource::Bind(r) => &r.key,
            Resource::Generation(_) => GENERATION_KEY,
        }
    }

    /// Protobuf encoding; equal resources have equal bytes, because maps are ordered.
    pub fn encode(&self) -> Bytes {
        match self {
            Resource::Endpoint(r) => r.encode_to_vec(),
            Resource::Backend(r) => r.encode_to_vec(),
            Resource::Policy(r) => r.encode_to_vec(),
            Resource::Route(r) => r.encode_to_vec(),
            Resource::TcpRoute(r) => r.encode_to_vec(),
            Resource::UdpRoute(r) => r.encode_to_vec(),
            Resource::Listener(r) => r.encode_to_vec(),
            Resource::Bind(r) => r.encode_to_vec(),
            Resource::Generation(r) => r.encode_to_vec(),
        }
        .into()
    }

    /// Decodes the message of `kind`.
    pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Resource, DecodeError> {
        let malformed = |source| DecodeError::Malformed { kind: kind.message(), source };
        Ok(match kind {
            Kind::Endpoint => Resource::Endpoint(Message::decode(bytes).map_err(malformed)?),
            Kind::Backend => Resource::Backend(Message::decode(bytes).map_err(malformed)?),
            Kind::Policy => Resource::Policy(Message::decode(bytes).map_err(malformed)?),
            Kind::Route => Resource::Route(Message::decode(bytes).map_err(malformed)?),
            Kind::TcpRoute => Resource::TcpRoute(Message::decode(bytes).map_err(malformed)?),
            Kind::UdpRoute => Resource::UdpRoute(Message::decode(bytes).map_err(malformed)?),
            Kind::Listener => Resource::Listener(Message::decode(bytes).map_err(malformed)?),
            Kind::Bind => Resource::Bind(Message::decode(bytes).map_err(malformed)?),
            Kind::Generation => Resource::Generation(Message::decode(bytes).map_err(malformed)?),
        })
    }
}

/// The version of a resource: a hash of its bytes, so equal in all replicas and after restarts. Travels as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version([u8; 16]);

impl Version {
    /// Of a resource's encoding.
    pub fn of(encoded: &[u8]) -> Version {
        let mut half = [0; 16];
        blake3::Hasher::new().update(encoded).finalize_xof().fill(&mut half);
        Version(half)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl PartialEq<str> for Version {
    fn eq(&self, other: &str) -> bool {
        let digit = |at: usize| other.as_bytes().get(at).and_then(|d| char::from(*d).to_digit(16));
        other.len() == 32
            && self.0.iter().enumerate().all(|(i, byte)| {
                digit(2 * i) == Some(u32::from(byte >> 4)) && digit(2 * i + 1) == Some(u32::from(byte & 15))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_equal_to_its_text_alone() {
        let version = Version::of(b"x");
        assert_eq!(version, *version.to_string().as_str());
        assert_eq!(version.to_string(), blake3::hash(b"x").to_hex().as_str()[..32]);
        for other in ["", "0", &"0".repeat(32), &"x".repeat(32), &format!("{version}0")] {
            assert_ne!(version, *other);
        }
    }

    #[test]
    fn every_kind_round_trips() {
        let all = [
            Resource::Endpoint(v1::Endpoint { key: "k".into(), ..Default::default() }),
            Resource::Backend(v1::Backend { key: "k".into(), ..Default::default() }),
            Resource::Policy(v1::Policy { key: "k".into(), ..Default::default() }),
            Resource::Route(v1::Route { key: "k".into(), ..Default::default() }),
            Resource::TcpRoute(v1::TcpRoute { key: "k".into(), ..Default::default() }),
            Resource::UdpRoute(v1::UdpRoute { key: "k".into(), ..Default::default() }),
            Resource::Listener(v1::Listener { key: "k".into(), ..Default::default() }),
            Resource::Bind(v1::Bind { key: "k".into(), ..Default::default() }),
            Resource::Generation(v1::Generation { hash: "h".into(), resources: 1 }),
        ];
        assert_eq!(all.len(), Kind::PUSH_ORDER.len());
        for r in all {
            assert_eq!(Resource::decode(r.kind(), &r.encode()).expect("decodes"), r);
            assert_eq!(Kind::from_type_url(r.kind().type_url()), Some(r.kind()));
        }
    }
}
