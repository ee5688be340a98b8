//! Bounds of what services answer.

use std::time::Duration;

/// Largest answer, in bytes.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Commands that wait for one connection to Redis.
pub const MAX_REDIS_QUEUE: usize = 1024;
/// Values in a list that Redis answers with.
pub const MAX_REDIS_ITEMS: usize = 256;
/// A connection to Redis on which no answer comes for this long is given up; it must be open after this long, too.
pub const REDIS_PATIENCE: Duration = Duration::from_secs(5);
/// A connection to Redis that nobody uses is closed after this long.
pub const REDIS_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Endpoints that are tried when connections are refused.
pub const MAX_CONNECT_TRIES: usize = 3;
/// Largest message of a stream, in bytes, where the caller does not say; gRPC's own default.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of messages that wait to be sent on one stream; one message always may.
pub const MAX_STREAM_QUEUE_BYTES: usize = 64 * 1024;
