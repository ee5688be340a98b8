//! Bounds of a configuration file.

/// Size of the file, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 8 << 20;

/// Nodes of the document, each use of an alias counted with all that is below it.
pub(crate) const MAX_NODES: usize = 500_000;

/// Depth of the document.
pub(crate) const MAX_DEPTH: usize = 64;

/// Errors that are reported at once.
pub(crate) const MAX_ERRORS: usize = 20;

/// Size of a file with keys, in bytes.
pub(crate) const MAX_KEY_FILE_BYTES: u64 = 256 << 10;
