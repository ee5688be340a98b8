//! Passwords that this worker found right: neither they nor their hashes are kept, but a hash keyed with a secret of the
//! thread, so that a dump of the memory gives nothing to guess passwords by.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::SystemRandom;

use crate::limits::{MAX_VERIFIED_PASSWORDS, VERIFIED_PASSWORD_SECONDS};

type Key = [u8; 32];

thread_local! {
    static KEY: Option<hmac::Key> = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
    static VERIFIED: RefCell<HashMap<Key, Instant, ahash::RandomState>> = RefCell::default();
}

/// The key of a password that was checked against this hash; None where this machine has no randomness.
pub(super) fn key(hash: &str, name: &str, password: &str) -> Option<Key> {
    KEY.with(|key| {
        let mut context = hmac::Context::with_key(key.as_ref()?);
        for part in [hash, name, password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().try_into().ok()
    })
}

/// Whether it was found right not long ago.
pub(super) fn is_known(key: &Option<Key>) -> bool {
    let Some(key) = key else { return false };
    let now = now();
    VERIFIED.with_borrow(|verified| verified.get(key).is_some_and(|expires| now < *expires))
}

/// Remembers it for a while; when there are too many, forgets all.
pub(super) fn remember(key: Option<Key>) {
    let Some(key) = key else { return };
    let expires = now() + Duration::from_secs(VERIFIED_PASSWORD_SECONDS);
    VERIFIED.with_borrow_mut(|verified| {
        if verified.len() >= MAX_VERIFIED_PASSWORDS {
            verified.clear();
        }
        verified.insert(key, expires);
    });
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn is_known_for_a_while_and_bounded() {
        let one = key("h", "a", "b");
        assert_ne!(one, key("h", "ab", ""), "parts are kept apart");
        assert!(!is_known(&one));
        remember(one);
        assert!(is_known(&one));
        tokio::time::advance(Duration::from_secs(VERIFIED_PASSWORD_SECONDS)).await;
        assert!(!is_known(&one));
        for i in 0..2 * MAX_VERIFIED_PASSWORDS {
            remember(key("h", "a", &i.to_string()));
            assert!(VERIFIED.with_borrow(HashMap::len) <= MAX_VERIFIED_PASSWORDS);
        }
    }
}
