//! Every bound of this crate.

/// Bytes of a stream that are held back at most. A match of a user's expression that is longer than this may be missed in a
/// stream; it is found in a whole text.
pub const MAX_HELD: usize = 4096;

/// Rules of one guard.
pub const MAX_RULES: usize = 256;

/// Memory of one compiled expression, in bytes.
pub(crate) const MAX_PROGRAM: usize = 1 << 20;

/// Memory of the table that tells what may still match, for each thread that uses it at once, in bytes.
pub(crate) const MAX_CACHE: usize = 1 << 20;
