//! The few structures of DER (X.690) of which public keys are made, as JWKs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// 1.2.840.113549.1.1.1
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.101.112
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// Reads elements one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next element, which must have this tag.
    fn element(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            rest = after;
            // Four bytes of length are more than any file may have.
            if digits.is_empty() || digits.len() > 4 {
                return None;
            }
            digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
        };
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        (found == tag).then_some(content)
    }

    /// A number without sign, without leading zeros.
    fn number(&mut self) -> Option<&'a [u8]> {
        let bytes = self.element(INTEGER)?;
        if bytes.first().is_none_or(|b| b & 0x80 != 0) {
            return None;
        }
        let start = bytes.iter().position(|b| *b != 0)?;
        bytes.get(start..)
    }

    /// A bit string of whole bytes.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let (unused, bytes) = self.element(BIT_STRING)?.split_first()?;
        (*unused == 0).then_some(bytes)
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `RSAPublicKey` (RFC 8017 A.1.1).
pub(super) fn rsa_public_key(der: &[u8]) -> Result<Value, String> {
    let parse = || {
        let mut key = Reader(Reader(der).element(SEQUENCE)?);
        Some(json!({"kty": "RSA", "n": encode(key.number()?), "e": encode(key.number()?)}))
    };
    parse().ok_or_else(|| "an RSA public key is malformed".into())
}

/// `SubjectPublicKeyInfo` (RFC 5280 §4.1).
pub(super) fn subject_public_key(der: &[u8]) -> Result<Value, String> {
    let parse = || {
        let mut info = Reader(Reader(der).element(SEQUENCE)?);
        let mut algorithm = Reader(info.element(SEQUENCE)?);
        Some((algorithm.element(OBJECT_ID)?, algorithm.element(OBJECT_ID), info.bytes()?))
    };
    let (algorithm, curve, key) = parse().ok_or("a public key is malformed")?;
    match (algorithm, curve) {
        (RSA, _) => rsa_public_key(key),
        (EC, Some(P256)) => point("P-256", key, 32),
        (EC, Some(P384)) => point("P-384", key, 48),
        (EC, _) => Err("a public key is on a curve that is not supported; P-256 and P-384 are".into()),
        (ED25519, _) if key.len() == 32 => Ok(json!({"kty": "OKP", "crv": "Ed25519", "x": encode(key)})),
        _ => Err("a public key is of a type that is not supported; RSA, EC and Ed25519 are".into()),
    }
}

/// An uncompressed point (SEC 1 §2.3.3).
fn point(curve: &str, bytes: &[u8], length: usize) -> Result<Value, String> {
    let coordinates = bytes.strip_prefix(&[4]).filter(|rest| rest.len() == 2 * length);
    let Some((x, y)) = coordinates.map(|rest| rest.split_at(length)) else {
        return Err("a public key is a point that is not written in full; use openssl's -conv_form uncompressed".into());
    };
    Ok(json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)}))
}
