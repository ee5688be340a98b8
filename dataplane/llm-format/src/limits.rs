//! Every bound of this crate.

/// Objects with at most this many members are looked through pair by pair.
pub(crate) const LINEAR_MEMBERS: usize = 24;

/// Largest event of a stream that is read, in bytes. Images that a model makes come in one event.
pub const MAX_EVENT_BYTES: usize = 16 << 20;

/// Text of an answer that is kept so that the stream's closing events can repeat it, in bytes.
pub const MAX_KEPT_BYTES: usize = 16 << 20;

/// Parts (texts, tool calls, reasoning) that one answer may have.
pub const MAX_PARTS: usize = 4096;

/// Longest message of a provider's error that is passed on, in bytes.
pub const MAX_ERROR_MESSAGE: usize = 4096;

/// Longest name of a model, in bytes.
pub const MAX_MODEL_NAME: usize = 256;

/// Largest `n`: answers to one request.
pub const MAX_CHOICES: u64 = 128;
