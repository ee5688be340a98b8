//! An issuer: its keys, and what its tokens must claim (RFC 7519 §4.1).

use std::sync::Arc;

use agentgateway_proto::v1;
use serde_json::Value;

use super::Failure;
use super::keys::{Keys, Mismatch};
use super::remote::{Fetched, RemoteKeys};
use super::token::Token;
use crate::State;

/// A compiled issuer.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: Box<str>,
    audiences: Box<[Box<str>]>,
    required: Box<[Required]>,
    keys: KeySource,
    /// Seconds by which clocks may differ.
    leeway: f64,
}

#[derive(Debug)]
enum KeySource {
    Here(Keys),
    Remote(Arc<RemoteKeys>),
}

#[derive(Debug)]
struct Required {
    /// A claim of this name, dots and all, comes before the path that it may be.
    name: Box<str>,
    /// Empty: any.
    values: Box<[Box<str>]>,
}

/// What was found of a valid token.
pub(super) struct Valid {
    /// Seconds since the epoch.
    pub(super) expires: f64,
    /// Of the keys that it was verified with.
    pub(super) version: u64,
}

impl Provider {
    pub(super) fn compile(spec: &v1::JwtProvider, leeway: f64, state: &State) -> Result<Provider, String> {
        if spec.issuer.is_empty() {
            return Err("an issuer is empty".into());
        }
        let keys = match &spec.remote_jwks {
            None => Keys::compile(&spec.jwks).map(KeySource::Here),
            Some(remote) => state.remote_keys(remote).map(KeySource::Remote),
        };
        let required = |claim: &v1::RequiredClaim| Required {
            name: claim.name.as_str().into(),
            values: claim.values.iter().map(|value| value.as_str().into()).collect(),
        };
        Ok(Provider {
            issuer: spec.issuer.as_str().into(),
            audiences: spec.audiences.iter().map(|a| a.as_str().into()).collect(),
            required: spec.required_claims.iter().map(required).collect(),
            keys: keys.map_err(|e| format!("keys of issuer {:?}: {e}", spec.issuer))?,
            leeway,
        })
    }

    pub(super) fn is_remote(&self) -> bool {
        matches!(self.keys, KeySource::Remote(_))
    }

    /// Version of the keys in force; None where there are none.
    pub(super) fn version(&self, now: f64) -> Option<u64> {
        match &self.keys {
            KeySource::Here(_) => Some(0),
            KeySource::Remote(remote) => remote.current().filter(|keys| keys.is_fresh(now)).map(|keys| keys.version),
        }
    }

    /// Whether the token says that it is of this issuer.
    pub(super) fn is_issuer_of(&self, token: &Token<'_>) -> bool {
        token.claims.get("iss").and_then(Value::as_str) == Some(&*self.issuer)
    }

    /// The token found valid at `now`, in seconds since the epoch.
    pub(super) fn verify(&self, token: &Token<'_>, now: f64) -> Result<Valid, Failure> {
        let version = match &self.keys {
            KeySource::Here(keys) => keys.verify(token).map(|()| 0).map_err(|e| Failure::Invalid(e.reason()))?,
            KeySource::Remote(remote) => verify_with(remote, token, now)?,
        };
        let expires = self.check(token, now).map_err(Failure::Invalid)?;
        Ok(Valid { expires, version })
    }

    fn check(&self, token: &Token<'_>, now: f64) -> Result<f64, &'static str> {
        let seconds = |name: &str| match token.claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or("a time in the token is not a number"),
        };
        // A token that never expires could never be withdrawn.
        let expires = seconds("exp")?.ok_or("the token has no time of expiry")? + self.leeway;
        if now >= expires {
            return Err("the token has expired");
        }
        if seconds("nbf")?.is_some_and(|nbf| now + self.leeway < nbf) {
            return Err("the token is not valid yet");
        }
        if !self.audiences.is_empty() && !self.is_for_us(token.claims.get("aud")) {
            return Err("the token is for another audience");
        }
        if !self.required.iter().all(|claim| claim.holds(&token.claims)) {
            return Err("the token lacks a claim that is required");
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

fn verify_with(remote: &Arc<RemoteKeys>, token: &Token<'_>, now: f64) -> Result<u64, Failure> {
    let current = remote.current();
    let Some(Fetched { keys, version, .. }) = current.as_deref().filter(|keys| keys.is_fresh(now)) else {
        return Err(Failure::NoKeys(Arc::clone(remote)));
    };
    match keys.verify(token) {
        Ok(()) => Ok(*version),
        Err(Mismatch::NoKey) => Err(Failure::NoKey(Mismatch::NoKey.reason(), Arc::clone(remote))),
        Err(Mismatch::Signature) => Err(Failure::Invalid(Mismatch::Signature.reason())),
    }
}

impl Required {
    fn holds(&self, claims: &Value) -> bool {
        let by_path = || self.name.split('.').try_fold(claims, |at, name| at.get(name));
        let found = claims.get(&*self.name).or_else(by_path);
        let wanted = |text: &str| self.values.iter().any(|value| **value == *text);
        match found {
            None | Some(Value::Null) => false,
            Some(_) if self.values.is_empty() => true,
            Some(Value::Array(items)) => items.iter().any(|item| item.as_str().is_some_and(wanted)),
            // `scope` is a list of words (RFC 8693 §4.2).
            Some(Value::String(text)) => wanted(text) || text.split(' ').any(wanted),
            Some(Value::Bool(value)) => wanted(if *value { "true" } else { "false" }),
            Some(Value::Number(number)) => wanted(&number.to_string()),
            Some(Value::Object(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn required_claims_are_found_by_path_and_in_lists_and_words() {
        let claims = json!({
            "a": {"b": ["x", "y"]}, "scope": "read write", "email_verified": true, "level": 3, "nil": null,
            "https://example.com/roles": ["admin"],
        });
        let holds = |name: &str, values: &[&str]| {
            Required { name: name.into(), values: values.iter().map(|v| (*v).into()).collect() }.holds(&claims)
        };
        assert!(holds("https://example.com/roles", &["admin"]), "names with dots");
        assert!(holds("a.b", &["z", "y"]) && !holds("a.b", &["z"]));
        assert!(holds("scope", &["write"]) && holds("scope", &["read write"]) && !holds("scope", &["writ"]));
        assert!(holds("email_verified", &["true"]) && holds("level", &["3"]));
        assert!(holds("a", &[]) && !holds("a", &["x"]) && !holds("nil", &[]) && !holds("a.c", &[]) && !holds("x", &[]));
    }
}
