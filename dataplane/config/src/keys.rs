//! Public keys as users have them (JWK, JWK set or PEM) turned into a JWK set.

use agentgateway_types::policy::KeySet;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};

/// Larger key files are refused.
const MAX_KEY_BYTES: u64 = 1024 * 1024;
/// Members of a JWK that hold private or shared keys (RFC 7518 §6).
const SECRET_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

/// Reads a key set and gives it as a JWK set of public keys, as JSON text.
pub(crate) fn read(set: &KeySet) -> Result<String, String> {
    match (&set.file, &set.inline) {
        (Some(file), _) => {
            let failed = |e: std::io::Error| {
                format!("{file:?} cannot be read: {e}; the path is relative to the folder that the proxy runs in")
            };
            if std::fs::metadata(file).map_err(failed)?.len() > MAX_KEY_BYTES {
                return Err(format!("{file:?} is larger than {MAX_KEY_BYTES} bytes"));
            }
            let text = std::fs::read_to_string(file).map_err(failed)?;
            normalise(&text).map_err(|reason| format!("{file:?}: {reason}"))
        }
        (None, Some(inline)) => normalise(inline),
        (None, None) => Err("names no keys".to_owned()),
    }
}

fn normalise(text: &str) -> Result<String, String> {
    let text = text.trim();
    let keys = if text.starts_with("-----BEGIN") { pem_keys(text)? } else { json_keys(text)? };
    if keys.is_empty() {
        return Err("holds no key".to_owned());
    }
    Ok(json!({ "keys": keys }).to_string())
}

fn json_keys(text: &str) -> Result<Vec<Value>, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|e| format!("is neither a PEM public key nor JSON (JWK or JWK set): {e}"))?;
    let keys = match value {
        Value::Object(mut object) => match object.remove("keys") {
            Some(Value::Array(keys)) => keys,
            Some(_) => return Err("`keys` must be a list of JSON Web Keys".to_owned()),
            None => vec![Value::Object(object)],
        },
        _ => return Err("is no JSON Web Key: it must be an object".to_owned()),
    };
    for key in &keys {
        let object = key.as_object().ok_or("a JSON Web Key must be an object")?;
        if object.get("kty").and_then(Value::as_str).is_none() {
            return Err("a JSON Web Key has no `kty`".to_owned());
        }
        if SECRET_MEMBERS.iter().any(|m| object.contains_key(*m)) {
            return Err("holds a private or shared key; give the public key only".to_owned());
        }
    }
    Ok(keys)
}

fn pem_keys(text: &str) -> Result<Vec<Value>, String> {
    if text.contains("PRIVATE KEY") {
        return Err("holds a private key; give the public key only".to_owned());
    }
    let mut keys = Vec::new();
    for block in text.split_inclusive("-----END PUBLIC KEY-----") {
        if !block.trim().is_empty() {
            keys.push(pem_key(block.trim())?);
        }
    }
    Ok(keys)
}

fn pem_key(pem: &str) -> Result<Value, String> {
    if let Ok(key) = rsa::RsaPublicKey::from_public_key_pem(pem) {
        let encode = |n: &rsa::BigUint| URL_SAFE_NO_PAD.encode(n.to_bytes_be());
        return Ok(json!({ "kty": "RSA", "n": encode(key.n()), "e": encode(key.e()) }));
    }
    let coordinate = |bytes: Option<&[u8]>| bytes.map(|b| URL_SAFE_NO_PAD.encode(b)).unwrap_or_default();
    if let Ok(key) = p256::PublicKey::from_public_key_pem(pem) {
        let point = p256::EncodedPoint::from(key);
        let (x, y) = (coordinate(point.x().map(AsRef::as_ref)), coordinate(point.y().map(AsRef::as_ref)));
        return Ok(json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }));
    }
    if let Ok(key) = p384::PublicKey::from_public_key_pem(pem) {
        let point = p384::EncodedPoint::from(key);
        let (x, y) = (coordinate(point.x().map(AsRef::as_ref)), coordinate(point.y().map(AsRef::as_ref)));
        return Ok(json!({ "kty": "EC", "crv": "P-384", "x": x, "y": y }));
    }
    if let Ok(key) = ed25519_dalek::VerifyingKey::from_public_key_pem(pem) {
        return Ok(json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(key.as_bytes()) }));
    }
    Err("is no public key that can be used: RSA, P-256, P-384 or Ed25519 as `BEGIN PUBLIC KEY`".to_owned())
}
