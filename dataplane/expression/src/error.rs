//! What can be wrong with an expression, in words for whoever wrote it.

use std::fmt;

/// A place in the text of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 1 {
            write!(f, "column {}", self.column)
        } else {
            write!(f, "line {}, column {}", self.line, self.column)
        }
    }
}

/// Why an expression does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// No text.
    #[error("the expression is empty")]
    Empty,
    /// Longer than [`crate::MAX_SOURCE_BYTES`].
    #[error("the expression has {bytes} bytes; at most {max} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The thread that compiles long expressions could not be started, or ended early.
    #[error("the expression cannot be compiled now: the thread that does it could not run")]
    NoThread,
    /// Not in the language.
    #[error("syntax error at {place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser expected.
        message: String,
    },
    /// A name that no input has.
    #[error("unknown variable \"{name}\" at {place}; known are {known}")]
    UnknownVariable {
        /// As written.
        name: String,
        /// The variables that exist.
        known: &'static str,
        /// Where.
        place: Place,
    },
    /// A field that a known variable does not have.
    #[error("\"{parent}\" has no field \"{name}\" ({place}); it has {known}")]
    UnknownField {
        /// The variable.
        parent: &'static str,
        /// As written.
        name: String,
        /// The fields that exist.
        known: String,
        /// Where.
        place: Place,
    },
    /// A variable with fields, used as if it were a value.
    #[error("\"{name}\" at {place} is not a value by itself: use one of its fields, {known}")]
    NotAValue {
        /// The variable.
        name: &'static str,
        /// Its fields.
        known: String,
        /// Where.
        place: Place,
    },
    /// A function that does not exist, or not with so many arguments.
    #[error("unknown function \"{name}\" with {arguments} argument(s) at {place}")]
    UnknownFunction {
        /// As written.
        name: String,
        /// How many it was given.
        arguments: usize,
        /// Where.
        place: Place,
    },
    /// A loop variable with the name of an input.
    #[error("the loop variable \"{name}\" at {place} hides the variable of that name")]
    Shadowed {
        /// As written.
        name: String,
        /// Where.
        place: Place,
    },
    /// A pattern that is computed.
    #[error("the pattern of matches() at {place} must be written as a string")]
    PatternNotLiteral {
        /// Where.
        place: Place,
    },
    /// A pattern that is no regular expression.
    #[error("the pattern of matches() at {place} is not a regular expression: {message}")]
    Pattern {
        /// Where.
        place: Place,
        /// What the regular expression's compiler found.
        message: String,
    },
    /// A text that is no address or network.
    #[error("at {place}: {message}")]
    Address {
        /// Where.
        place: Place,
        /// What is wrong with it.
        message: String,
    },
    /// A method of A2A under the name of 0.3, which `a2a.method` never has.
    #[error("a2a.method is never \"{older}\" ({place}): for both versions of A2A its name is \"{name}\"")]
    OlderName {
        /// As written.
        older: String,
        /// What `a2a.method` is for it.
        name: &'static str,
        /// Where.
        place: Place,
    },
    /// A part of the language that rules do not have.
    #[error("{what} at {place} is not supported in rules")]
    Unsupported {
        /// The part.
        what: &'static str,
        /// Where.
        place: Place,
    },
    /// Beyond a bound that keeps evaluation short.
    #[error("the expression is too complex: {what} ({place})")]
    TooComplex {
        /// Which bound.
        what: String,
        /// Where it was reached.
        place: Place,
    },
}

/// Why an expression has no value on this input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// Something it reads is absent or of another type.
    #[error("{0}")]
    Failed(String),
    /// It has a value, which is not a boolean.
    #[error("the result is of type {0}, not bool")]
    NotBool(String),
    /// It has a value that is no text.
    #[error("a value of type {0} is neither a text, a number nor a boolean")]
    NotText(String),
    /// It has a value that is no amount.
    #[error("a value of type {0} is no whole number from 0 on")]
    NotAmount(String),
    /// It has a value that JSON does not have.
    #[error("a value of type {0} cannot be written as JSON")]
    NoJson(String),
    /// It has a value that cannot be a part of a key.
    #[error("a value of type {0} cannot be a part of a key")]
    NoKey(String),
    /// It speaks of a call of an agent where there is none.
    #[error("it speaks of a call of an agent, and this request is none")]
    NoCall,
    /// It speaks of MCP items where there is none.
    #[error("it speaks of MCP items, and this request is none")]
    NoItem,
}
