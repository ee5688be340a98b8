//! Bounds of an expression: what keeps its evaluation short whatever a user writes.

/// Longest expression text.
pub const MAX_SOURCE_BYTES: usize = 4096;

/// Longest text that is parsed on the caller's stack.
pub(crate) const MAX_INLINE_BYTES: usize = 256;

/// Stack on which longer texts are parsed: the parser takes about 10 KiB a level without optimisation.
pub(crate) const PARSE_STACK_BYTES: usize = 64 << 20;

/// Nodes of the tree after macros are expanded.
pub(crate) const MAX_NODES: usize = 1024;

/// Depth of the tree; evaluation recurses that deep.
pub(crate) const MAX_DEPTH: usize = 64;

/// Nesting of parentheses, lists and calls that the parser follows.
pub(crate) const MAX_PARSE_DEPTH: u16 = 48;

/// Macros that loop (`all`, `exists`, `exists_one`, `map`, `filter`) in one expression.
pub(crate) const MAX_LOOPS: usize = 8;

/// Compiled size of one regular expression, in bytes.
pub(crate) const MAX_PATTERN_BYTES: usize = 1 << 20;
