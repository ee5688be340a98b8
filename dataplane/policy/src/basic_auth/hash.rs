//! Hashes of passwords as htpasswd and crypt write them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};
use sha_crypt::{PasswordVerifier, ShaCrypt};

use crate::limits::{MAX_BCRYPT_COST, MAX_CRYPT_ROUNDS, MAX_PASSWORD_BYTES};

/// A hash of a password.
#[derive(Clone)]
pub(super) struct Hash {
    text: Arc<str>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bcrypt,
    /// SHA-256 or SHA-512 of crypt.
    ShaCrypt,
    /// One SHA-1, without a salt.
    Sha1([u8; 20]),
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hash")
    }
}

impl Hash {
    /// The reason does not quote the hash.
    pub(super) fn compile(text: &str) -> Result<Hash, String> {
        let kind = if let Some(encoded) = text.strip_prefix("{SHA}") {
            let bytes = STANDARD.decode(encoded).ok().and_then(|bytes| <[u8; 20]>::try_from(bytes).ok());
            Kind::Sha1(bytes.ok_or("what follows {SHA} is not the base64 of a SHA-1")?)
        } else if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            let parts: bcrypt::HashParts = text.parse().map_err(|_| "it is no bcrypt hash")?;
            if parts.get_cost() > MAX_BCRYPT_COST {
                return Err(format!("a bcrypt cost of {}; at most {MAX_BCRYPT_COST} is allowed", parts.get_cost()));
            }
            Kind::Bcrypt
        } else if text.starts_with("$5$") || text.starts_with("$6$") {
            let rounds = text.split('$').nth(2).and_then(|part| part.strip_prefix("rounds="));
            let rounds = rounds.map_or(Some(0), |n| n.parse::<u32>().ok());
            if rounds.is_none_or(|n| n > MAX_CRYPT_ROUNDS) {
                return Err(format!("at most {MAX_CRYPT_ROUNDS} rounds are allowed"));
            }
            if text.parse::<sha_crypt::PasswordHash>().is_err() {
                return Err("it is no hash of crypt".into());
            }
            Kind::ShaCrypt
        } else {
            return Err("it is not hashed in a form that is supported".into());
        };
        Ok(Hash { text: text.into(), kind })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether verifying takes longer than a worker may spend.
    pub(super) fn is_slow(&self) -> bool {
        !matches!(self.kind, Kind::Sha1(_))
    }

    pub(super) fn verify(&self, password: &str) -> bool {
        if password.len() > MAX_PASSWORD_BYTES {
            return false;
        }
        match self.kind {
            Kind::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Kind::ShaCrypt => ShaCrypt::default().verify_password(password.as_bytes(), &*self.text).is_ok(),
            Kind::Sha1(expected) => {
                let found = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
                // Compares in constant time.
                let key = hmac::Key::new(hmac::HMAC_SHA256, &expected);
                hmac::verify(&key, found.as_ref(), hmac::sign(&key, &expected).as_ref()).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_hashes_of_other_programs() {
        for (hash, password) in [
            // By `htpasswd -nbs`.
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "secret"),
            // By `openssl passwd` and crypt(3).
            ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"),
            ("$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA", "Hello world!"),
            (
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
                "Hello world!",
            ),
            // Of OpenBSD's own tests.
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
        ] {
            let compiled = Hash::compile(hash).unwrap_or_else(|e| panic!("{hash}: {e}"));
            assert!(compiled.verify(password), "{hash}");
            assert!(!compiled.verify("Hello world") && !compiled.verify(""), "{hash}");
            assert!(!compiled.verify(&password.repeat(MAX_PASSWORD_BYTES)));
        }
    }

    #[test]
    fn refuses_what_is_no_hash_or_takes_too_long_without_quoting_it() {
        for hash in [
            "plain-text",
            "{SHA}plain-text",
            "$2y$05$plain-text",
            "$2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$6$rounds=900000000$plain-text$abc",
            "$apr1$plain-text",
        ] {
            let error = Hash::compile(hash).expect_err(hash);
            assert!(!error.contains("plain-text"), "{error}");
        }
    }
}
