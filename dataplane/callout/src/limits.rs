//! Bounds of what services answer.

/// Largest answer, in bytes.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Endpoints that are tried when connections are refused.
pub const MAX_CONNECT_TRIES: usize = 3;
