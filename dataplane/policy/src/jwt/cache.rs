//! Verified tokens that this worker remembers until they expire: bounded in number and length, without locks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::limits::{MAX_CACHED_TOKEN_BYTES, MAX_CACHED_TOKENS};

type Tokens = HashMap<Box<str>, Entry, ahash::RandomState>;

/// What a token was verified with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) provider: usize,
    /// Of its keys.
    pub(super) version: u64,
}

struct Entry {
    claims: Arc<Value>,
    source: Source,
    /// Seconds since the epoch.
    expires: f64,
}

#[derive(Default)]
struct Cache {
    /// By the fingerprint of what they were verified with. Whole tokens are compared, so no hash can be forged.
    by_policy: HashMap<[u8; 32], Tokens, ahash::RandomState>,
    entries: usize,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// The claims of a token that was verified with what `holds` still, and has not expired at `now`.
pub(super) fn get(
    fingerprint: &[u8; 32],
    token: &str,
    now: f64,
    holds: impl FnOnce(Source) -> bool,
) -> Option<Arc<Value>> {
    CACHE.with_borrow(|cache| {
        let entry = cache.by_policy.get(fingerprint)?.get(token)?;
        (now < entry.expires && holds(entry.source)).then(|| Arc::clone(&entry.claims))
    })
}

/// Remembers a verified token; when there are too many, makes room first.
pub(super) fn put(fingerprint: &[u8; 32], token: &str, claims: &Arc<Value>, expires: f64, source: Source) {
    if token.len() > MAX_CACHED_TOKEN_BYTES {
        return;
    }
    CACHE.with_borrow_mut(|cache| {
        if cache.entries >= MAX_CACHED_TOKENS {
            cache.forget_half();
        }
        let entry = Entry { claims: Arc::clone(claims), source, expires };
        let replaced = cache.by_policy.entry(*fingerprint).or_default().insert(token.into(), entry);
        cache.entries += usize::from(replaced.is_none());
    });
}

impl Cache {
    /// The half that expires first, which holds what has expired: a constant price per insertion.
    fn forget_half(&mut self) {
        let mut times: Vec<f64> = self.by_policy.values().flat_map(HashMap::values).map(|e| e.expires).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable_by(middle, f64::total_cmp);
        let median = *median;
        let mut kept = 0;
        self.by_policy.retain(|_, tokens| {
            tokens.retain(|_, entry| {
                let keep = entry.expires >= median && kept < middle;
                kept += usize::from(keep);
                keep
            });
            !tokens.is_empty()
        });
        self.entries = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_forgets_what_expires_first() {
        let claims = Arc::new(Value::Null);
        for i in 0..5 * MAX_CACHED_TOKENS {
            put(&[(i % 3) as u8; 32], &format!("token {i}"), &claims, i as f64, Source::default());
            let held: usize = CACHE.with_borrow(|c| c.by_policy.values().map(HashMap::len).sum());
            assert!(held <= MAX_CACHED_TOKENS);
            assert_eq!(held, CACHE.with_borrow(|c| c.entries));
        }
        let last = 5 * MAX_CACHED_TOKENS - 1;
        assert!(get(&[(last % 3) as u8; 32], &format!("token {last}"), 0.0, |_| true).is_some());
        assert!(get(&[0; 32], "token 0", -1.0, |_| true).is_none());
    }

    #[test]
    fn keeps_policies_apart_and_ends_with_expiry() {
        let claims = Arc::new(Value::Null);
        put(&[7; 32], "a", &claims, 100.0, Source::default());
        assert!(get(&[7; 32], "a", 99.0, |_| true).is_some());
        assert!(get(&[7; 32], "a", 100.0, |_| true).is_none());
        assert!(get(&[8; 32], "a", 99.0, |_| true).is_none());
        assert!(get(&[7; 32], "a", 99.0, |source| source.version == 1).is_none(), "keys that have changed");
        put(&[7; 32], &"long".repeat(MAX_CACHED_TOKEN_BYTES), &claims, 100.0, Source::default());
        assert!(get(&[7; 32], &"long".repeat(MAX_CACHED_TOKEN_BYTES), 0.0, |_| true).is_none());
    }

    #[test]
    fn equal_times_of_expiry_do_not_fill_it() {
        let claims = Arc::new(Value::Null);
        for i in 0..2 * MAX_CACHED_TOKENS {
            put(&[9; 32], &format!("token {i}"), &claims, 50.0, Source::default());
        }
        assert!(CACHE.with_borrow(|c| c.entries) <= MAX_CACHED_TOKENS);
    }
}
