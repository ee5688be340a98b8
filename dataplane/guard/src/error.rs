//! What is wrong with a guard's rules.

/// Why rules cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An expression that cannot be compiled.
    #[error("rule {rule:?}: {reason}")]
    Expression {
        /// Name of the rule.
        rule: String,
        /// What the compiler says.
        reason: String,
    },
    /// An expression that matches the empty text, and so every text.
    #[error("rule {0:?} matches an empty text, and so every text")]
    Empty(String),
    /// Too many of them.
    #[error("a guard has at most {} rules", crate::limits::MAX_RULES)]
    TooMany,
    /// All expressions together are too large.
    #[error("the rules are too large together: {0}")]
    TooLarge(String),
}
