//! Who a session belongs to: a digest of the caller's token issuer and subject.

use serde_json::Value;

/// Digest of an identity. Callers without a verified token share one identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) [u8; 16]);

impl Identity {
    pub(crate) fn of(claims: Option<&Value>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("agentgateway mcp session identity v1");
        if let Some(claims) = claims {
            for name in ["iss", "sub"] {
                // Lengths keep ("a", "bc") and ("ab", "c") apart, and a missing claim apart from an empty one.
                match claims.get(name) {
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
    use super::*;
    use serde_json::json;

    #[test]
    fn only_issuer_and_subject_count() {
        let of = |claims: Value| Identity::of(Some(&claims));
        let ada = of(json!({"iss": "a", "sub": "ada", "exp": 1}));
        assert_eq!(ada, of(json!({"sub": "ada", "iss": "a", "exp": 2})));
        assert_ne!(ada, of(json!({"iss": "a", "sub": "bob"})));
        assert_ne!(ada, of(json!({"iss": "b", "sub": "ada"})));
        assert_ne!(of(json!({"iss": "a"})), of(json!({"sub": "a"})));
        assert_ne!(of(json!({})), Identity::of(None));
    }
}
