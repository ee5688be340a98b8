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

/// Seconds by which clocks may differ when `exp` and `nbf` are checked, where the policy does not say.
pub(crate) const CLOCK_LEEWAY_SECONDS: f64 = 30.0;

/// Tries after the first that a retry policy may ask for.
pub(crate) const MAX_RETRIES: u32 = 10;

/// Pause before the first retry where the policy names none.
pub(crate) const DEFAULT_RETRY_BACKOFF: Duration = Duration::from_millis(25);

/// How often the pause before a retry is doubled.
pub(crate) const MAX_RETRY_BACKOFF_DOUBLINGS: u32 = 4;

/// How long external authorization may take where the policy does not say.
pub(crate) const DEFAULT_EXT_AUTHZ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a global rate limit may take where the policy does not say.
pub(crate) const DEFAULT_RATE_LIMIT_TIMEOUT: Duration = Duration::from_millis(100);

/// Locks of one keyed concurrency limit: many times as many as workers.
pub(crate) const IN_FLIGHT_SHARDS: usize = 32;

/// Bytes of a request's body that external authorization may be sent.
pub(crate) const MAX_FORWARDED_BODY_BYTES: usize = 1024 * 1024;

/// Longest name and password that are looked at, in bytes.
pub(crate) const MAX_PASSWORD_BYTES: usize = 1024;

/// Threads that hash passwords, and as many that transform large bodies.
pub(crate) const POOL_THREADS: usize = 2;

/// Passwords, or bodies, that wait for these; requests with more are answered with 503.
pub(crate) const MAX_WAITING_JOBS: usize = 64;

/// Largest body that is transformed, in bytes.
pub(crate) const MAX_TRANSFORMED_BYTES: usize = 1 << 20;

/// Largest body that a worker transforms itself: parsing it and making another of it takes about 100 µs.
pub(crate) const MAX_INLINE_TRANSFORMED_BYTES: usize = 8 * 1024;

/// Longest value of a header that an expression makes, in bytes; a longer one is none.
pub(crate) const MAX_COMPUTED_HEADER_BYTES: usize = 8 * 1024;

/// How long the answer to one message of a processor may take where the policy does not say.
pub(crate) const DEFAULT_PROCESSOR_TIMEOUT: Duration = Duration::from_millis(200);

/// How long a processor may leave a stream of pieces as it is when all was sent, or what is sent is not taken.
pub(crate) const PROCESSOR_STALL: Duration = Duration::from_secs(60);

/// Longest time that a policy may give a processor for one message.
pub(crate) const MAX_PROCESSOR_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long a processor has to end its call when nothing more is asked.
pub(crate) const PROCESSOR_LINGER: Duration = Duration::from_secs(5);

/// Largest message of a processor, in bytes.
pub(crate) const MAX_PROCESSOR_MESSAGE_BYTES: usize = 4 << 20;

/// Largest body that a processor gets whole where the policy does not say, in bytes.
pub(crate) const DEFAULT_PROCESSED_BYTES: usize = 1 << 20;

/// Largest body that a policy may have sent whole.
pub(crate) const MAX_PROCESSED_BYTES: usize = 64 << 20;

/// Largest piece of a body that is sent to a processor at once, in bytes.
pub(crate) const MAX_PIECE_BYTES: usize = 64 * 1024;

/// Pieces of a body that wait for a processor's answers.
pub(crate) const MAX_PIECES: usize = 8;

/// Bytes of answers about one direction that are kept while only the other is read.
pub(crate) const MAX_KEPT_ANSWERS_BYTES: usize = 1 << 20;

/// Bytes that wait for an observer; one that is slower loses the rest of a request.
pub(crate) const MAX_OBSERVER_BYTES: usize = 1 << 20;

/// Headers that a processor may set or remove with one message, and bytes of them.
pub(crate) const MAX_MUTATIONS: usize = 256;
/// See [`MAX_MUTATIONS`].
pub(crate) const MAX_MUTATION_BYTES: usize = 64 * 1024;

/// Bytes of metadata that a processor may leave with one message, about.
pub(crate) const MAX_LEFT_METADATA_BYTES: usize = 64 * 1024;

/// Compiled size of a pattern for origins, in bytes.
pub(crate) const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Highest cost of bcrypt: 14 takes about a second.
pub(crate) const MAX_BCRYPT_COST: u32 = 14;

/// Most rounds of SHA-crypt: they take about as long.
pub(crate) const MAX_CRYPT_ROUNDS: u32 = 500_000;

/// Passwords found right that one worker remembers.
pub(crate) const MAX_VERIFIED_PASSWORDS: usize = 1024;

/// How long it does.
pub(crate) const VERIFIED_PASSWORD_SECONDS: u64 = 300;

/// How often keys are fetched where the policy does not say.
pub(crate) const DEFAULT_JWKS_REFRESH: Duration = Duration::from_secs(300);

/// Seconds for which keys are used when their issuer cannot be reached any more; longer where they are fetched more seldom.
pub(crate) const MAX_JWKS_AGE_SECONDS: f64 = 86_400.0;

/// Least pause between two fetches of one issuer's keys that tokens with unknown key ids ask for.
pub(crate) const REFETCH_INTERVAL: Duration = Duration::from_secs(30);

/// How long a request waits for keys.
pub(crate) const REFETCH_PATIENCE: Duration = Duration::from_secs(3);

/// Longest delay that fault injection may make.
pub(crate) const MAX_FAULT_DELAY: Duration = Duration::from_secs(3600);

/// URLs with keys.
pub(crate) const MAX_KEY_URLS: usize = 1024;

/// Decisions of one external authorization policy that one worker remembers, where the policy does not say.
pub(crate) const DEFAULT_MAX_DECISIONS: usize = 10_000;

/// Largest decision that is remembered, in bytes of its headers and body.
pub(crate) const MAX_DECISION_BYTES: usize = 4096;

/// Keys of one keyed rate limit where the policy does not say.
pub(crate) const DEFAULT_MAX_KEYS: usize = 10_000;

/// Keys that a rate limit may ask for; each takes about 100 bytes.
pub(crate) const MAX_MAX_KEYS: usize = 1_000_000;

/// Keys of a rate limit that share a lock at least: the more, the better a shard's own bound fits the policy's.
pub(crate) const KEYS_PER_SHARD: usize = 128;

/// Locks of one keyed rate limit at most: many times as many as workers.
pub(crate) const MAX_KEY_SHARDS: usize = 64;

/// Buckets that are looked at to make place for a new key.
pub(crate) const MAX_LOOKED_AT: usize = 16;

/// Policies whose decisions one worker remembers.
pub(crate) const MAX_CACHED_POLICIES: usize = 64;
