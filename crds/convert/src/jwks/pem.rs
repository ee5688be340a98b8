//! PEM (RFC 7468): public keys, one or several.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::der;

/// The public keys of all blocks.
pub(super) fn keys(text: &str) -> Result<Vec<Value>, String> {
    let mut keys = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|l| l.strip_suffix("-----")) else { continue };
        let end = format!("-----END {label}-----");
        let mut base64 = String::new();
        loop {
            match lines.next() {
                Some(line) if line == end => break,
                Some(line) => base64.push_str(line),
                None => return Err(format!("the PEM block {label:?} does not end")),
            }
        }
        if label.contains("PRIVATE KEY") {
            return Err("holds a private key; put only the public key there (openssl pkey -pubout)".into());
        }
        let bytes = STANDARD.decode(base64).map_err(|_| format!("the PEM block {label:?} is not base64"))?;
        keys.push(match label {
            "PUBLIC KEY" => der::subject_public_key(&bytes)?,
            "RSA PUBLIC KEY" => der::rsa_public_key(&bytes)?,
            "CERTIFICATE" => {
                return Err("holds a certificate; put its public key there (openssl x509 -pubkey -noout)".into());
            }
            other => return Err(format!("the PEM block {other:?} is not a public key")),
        });
    }
    Ok(keys)
}
