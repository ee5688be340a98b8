//! The parts of a token (RFC 7515 §7.1), parsed and not yet trusted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

/// A parsed token.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) header: Header,
    pub(super) claims: Value,
    /// What is signed: header and claims as they were sent.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

/// The header, as far as it is used.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    #[serde(default)]
    pub(super) kid: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

impl Token<'_> {
    /// Parses the compact serialisation.
    pub(super) fn parse(text: &str) -> Result<Token<'_>, &'static str> {
        let (signed, signature) = text.rsplit_once('.').ok_or("the token is not a JWT")?;
        let (header, claims) = signed.split_once('.').ok_or("the token is not a JWT")?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part of the token is not base64url");
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| "the token's header is not what a JWT has")?;
        // RFC 7515 §4.1.11: an extension that is critical and not understood makes the token invalid.
        if header.crit.is_some() {
            return Err("the token uses an extension that is not supported");
        }
        let claims: Value = serde_json::from_slice(&decode(claims)?).map_err(|_| "the token's claims are not JSON")?;
        if !claims.is_object() {
            return Err("the token's claims are not a JSON object");
        }
        Ok(Token { header, claims, signed: signed.as_bytes(), signature: decode(signature)? })
    }
}
