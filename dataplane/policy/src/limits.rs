//! Bounds of what policies keep and how long they work.

use std::time::Duration;

/// Longest token that is looked at, in bytes; longer ones are refused.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Longest token that is remembered, in bytes.
pub(crate) const MAX_CACHED_TOKEN_BYTES: usize = 4 * 1024;

/// Verified tokens that one worker remembers.
pub(crate) const MAX_CACHED_TOKENS: usize = 1024;

/// Keys of one issuer.
pub(crate) const MAX_KEYS: usize = 64;

/// Keys that a token without a key id is tried with: each costs up to 70 µs.
pub(crate) const MAX_TRIED_KEYS: usize = 4;

/// Largest RSA modulus, in bytes: verifying with 4096 bits takes 67 µs, with 8192 bits more than a worker may spend.
pub(crate) const MAX_RSA_BYTES: usize = 512;

/// Seconds by which clocks may differ when `exp` and `nbf` are checked.
pub(crate) const CLOCK_LEEWAY_SECONDS: f64 = 30.0;

/// Tries after the first that a retry policy may ask for.
pub(crate) const MAX_RETRIES: u32 = 10;

/// Pause before the first retry where the policy names none.
pub(crate) const DEFAULT_RETRY_BACKOFF: Duration = Duration::from_millis(25);

/// How often the pause before a retry is doubled.
pub(crate) const MAX_RETRY_BACKOFF_DOUBLINGS: u32 = 4;

/// How long external authorization may take where the policy does not say.
pub(crate) const DEFAULT_EXT_AUTHZ_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's body that external authorization may be sent.
pub(crate) const MAX_FORWARDED_BODY_BYTES: usize = 1024 * 1024;
