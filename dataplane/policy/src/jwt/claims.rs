//! An issuer: its keys, and what its tokens must claim (RFC 7519 §4.1).

use agentgateway_proto::v1;
use serde_json::Value;

use super::keys::Keys;
use super::token::Token;
use crate::limits::CLOCK_LEEWAY_SECONDS;

/// A compiled issuer.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: Box<str>,
    audiences: Box<[Box<str>]>,
    keys: Keys,
}

impl Provider {
    pub(super) fn compile(spec: &v1::JwtProvider) -> Result<Provider, String> {
        if spec.issuer.is_empty() {
            return Err("an issuer is empty".into());
        }
        Ok(Provider {
            issuer: spec.issuer.as_str().into(),
            audiences: spec.audiences.iter().map(|a| a.as_str().into()).collect(),
            keys: Keys::compile(&spec.jwks).map_err(|e| format!("keys of issuer {:?}: {e}", spec.issuer))?,
        })
    }

    /// Whether the token says that it is of this issuer.
    pub(super) fn is_issuer_of(&self, token: &Token<'_>) -> bool {
        token.claims.get("iss").and_then(Value::as_str) == Some(&*self.issuer)
    }

    /// When the token, found valid at `now`, expires. Both in seconds since the epoch.
    pub(super) fn verify(&self, token: &Token<'_>, now: f64) -> Result<f64, &'static str> {
        self.keys.verify(token)?;
        let seconds = |name: &str| match token.claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or("a time in the token is not a number"),
        };
        // A token that never expires could never be withdrawn.
        let expires = seconds("exp")?.ok_or("the token has no time of expiry")? + CLOCK_LEEWAY_SECONDS;
        if now >= expires {
            return Err("the token has expired");
        }
        if seconds("nbf")?.is_some_and(|nbf| now + CLOCK_LEEWAY_SECONDS < nbf) {
            return Err("the token is not valid yet");
        }
        if !self.audiences.is_empty() && !self.is_for_us(token.claims.get("aud")) {
            return Err("the token is for another audience");
        }
        Ok(expires)
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        let ours = |value: &Value| value.as_str().is_some_and(|name| self.audiences.iter().any(|a| **a == *name));
        match audience {
            Some(Value::Array(names)) => names.iter().any(ours),
            Some(name) => ours(name),
            None => false,
        }
    }
}
