//! Bounds of what LLM requests keep and how long they wait.

use std::time::Duration;

/// Largest body of a request that is read, in bytes: prompts with images. Larger ones are answered with 413.
pub const MAX_REQUEST_BODY: usize = 32 << 20;

/// Largest whole answer of a provider, in bytes. Streams have no limit, but their events do.
pub const MAX_ANSWER_BODY: usize = 32 << 20;

/// Largest body that a worker reads and writes itself; larger ones go to threads of their own.
pub const MAX_INLINE_BODY: usize = 32 * 1024;

/// How long a provider may take until its answer begins. Models that reason without streaming take minutes.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a provider may be silent within an answer.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(300);

/// Endpoints of one provider that are tried when no connection comes about.
pub const MAX_CONNECT_TRIES: usize = 3;

/// Providers that one request is tried with.
pub const MAX_PROVIDER_TRIES: usize = 4;

/// Failures in a row after which a provider rests.
pub const FAILURES_UNTIL_REST: u32 = 3;

/// How long a provider rests at first; doubled each time that it fails again.
pub const FIRST_REST: Duration = Duration::from_secs(5);

/// The longest rest, whatever `Retry-After` says.
pub const LONGEST_REST: Duration = Duration::from_secs(300);
