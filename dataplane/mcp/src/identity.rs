//! Who a session belongs to: a digest of what authentication found out about the caller.

use agentgateway_policy::RequestContext;

/// Digest of an identity. Callers without a verified token share one identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) [u8; 16]);

impl Identity {
    /// Of a token its issuer and subject count, so that a renewed one keeps the session; of an API key and a password whose
    /// they are.
    pub(crate) fn of(context: &RequestContext) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("agentgateway mcp session identity v2");
        for (verified, names) in [
            (&context.claims, &["iss", "sub"][..]),
            (&context.api_key, &["name"]),
            (&context.basic_auth, &["username"]),
        ] {
            let Some(verified) = verified else {
                hasher.update(&[0]);
                continue;
            };
            hasher.update(&[1]);
            for name in names {
                // Lengths keep ("a", "bc") and ("ab", "c") apart, and a missing claim apart from an empty one.
                match verified.get(name) {
                    Some(value) => {
                        let text = value.to_string();
                        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
                    }
                    None => {
                        hasher.update(&u64::MAX.to_le_bytes());
                    }
                }
            }
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(digest)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn of(claims: Option<Value>, api_key: Option<Value>, basic_auth: Option<Value>) -> Identity {
        let mut context = RequestContext::new("127.0.0.1:1".parse().unwrap(), "http", 80);
        (context.claims, context.api_key) = (claims.map(Arc::new), api_key.map(Arc::new));
        context.basic_auth = basic_auth.map(Arc::new);
        Identity::of(&context)
    }

    #[test]
    fn only_issuer_and_subject_of_a_token_count() {
        let of = |claims: Value| of(Some(claims), None, None);
        let ada = of(json!({"iss": "a", "sub": "ada", "exp": 1}));
        assert_eq!(ada, of(json!({"sub": "ada", "iss": "a", "exp": 2})));
        assert_ne!(ada, of(json!({"iss": "a", "sub": "bob"})));
        assert_ne!(ada, of(json!({"iss": "b", "sub": "ada"})));
        assert_ne!(of(json!({"iss": "a"})), of(json!({"sub": "a"})));
        assert_ne!(of(json!({})), super::tests::of(None, None, None));
    }

    #[test]
    fn keys_and_passwords_have_owners_too() {
        let key = |name: &str| of(None, Some(json!({"name": name, "metadata": {"a": 1}})), None);
        assert_eq!(key("ada"), of(None, Some(json!({"name": "ada", "metadata": {}})), None));
        let password = of(None, None, Some(json!({"username": "ada"})));
        let all = [key("ada"), key("bob"), password, of(None, None, None), of(Some(json!({"sub": "ada"})), None, None)];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one), "{i}");
        }
    }
}
