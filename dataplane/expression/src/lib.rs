//! Rules in the Common Expression Language: compiled once with bounds and known names, evaluated per request or per MCP item.
//!
//! Used by the proxy to apply rules and by the control plane to refuse what the proxy would refuse. An expression knows
//! `request`, `jwt`, `apiKey`, `basicAuth`, `metadata`, `source` and what its [`Scope`] adds; anything else is an error at compile time
//! that names it. The language is that of cel-spec without message construction and optional syntax.

mod addresses;
mod check;
mod constants;
mod environment;
mod error;
mod evaluate;
mod input;
mod limits;
mod lower;
mod operations;
mod values;

pub use error::{EvalError, ExpressionError};
pub use input::{A2aCall, BodyInput, ClientCertificate, HttpInput, McpItem, ResponseInput};
pub use limits::MAX_SOURCE_BYTES;
pub use operations::operation_of_a2a_0_3;

use cel::IdedExpr;
use constants::Constant;
use evaluate::Subject;

/// Where an expression is used, which decides over what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A rule: on a request or, with `mcp`, on an item of an MCP server, or, with `a2a`, on a call of an agent.
    Rule,
    /// A value in a request: with `request.body`.
    Request,
    /// A value in a response: with `response`.
    Response,
    /// What is told of a request when its response has been sent: with `response`, but its body, and `fields`.
    Record,
}

/// A compiled rule.
#[derive(Debug)]
pub struct Expression {
    source: Box<str>,
    tree: IdedExpr,
    constants: Box<[Constant]>,
    uses_mcp: bool,
    uses_a2a: bool,
    uses_body: bool,
    uses_fields: bool,
}

/// What a rule says of one MCP item.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It speaks of another kind of item, such as `mcp.tool` on a prompt.
    OtherKind,
    /// It could not be evaluated, or is not a boolean.
    Error(EvalError),
}

impl Expression {
    /// Compiles a rule.
    ///
    /// # Errors
    /// See [`Expression::compile_for`].
    pub fn compile(source: &str) -> Result<Expression, ExpressionError> {
        Expression::compile_for(source, Scope::Rule)
    }

    /// Compiles `source`.
    ///
    /// # Errors
    /// Syntax errors, names and functions that do not exist, and expressions beyond the [bounds](MAX_SOURCE_BYTES); the
    /// message names the place.
    pub fn compile_for(source: &str, scope: Scope) -> Result<Expression, ExpressionError> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(ExpressionError::TooLong { bytes: source.len(), max: MAX_SOURCE_BYTES });
        }
        let compile = || {
            let (parsed, places) = check::parse(source)?;
            let lowered = lower::lower(parsed, &places, scope)?;
            Ok(Expression {
                source: source.into(),
                tree: lowered.tree,
                constants: lowered.constants.into_boxed_slice(),
                uses_mcp: lowered.uses_mcp,
                uses_a2a: lowered.uses_a2a,
                uses_body: lowered.uses_body,
                uses_fields: lowered.uses_fields,
            })
        };
        if source.len() <= limits::MAX_INLINE_BYTES {
            return compile();
        }
        // The parser recurses as deep as the longest chain of operators in the text, which is known only afterwards.
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("cel-compile".into())
                .stack_size(limits::PARSE_STACK_BYTES)
                .spawn_scoped(scope, compile)
                .map_or(Err(ExpressionError::NoThread), |thread| {
                    thread.join().unwrap_or(Err(ExpressionError::NoThread))
                })
        })
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it speaks of MCP items, so that it has a meaning on them only.
    pub fn uses_mcp(&self) -> bool {
        self.uses_mcp
    }

    /// Whether it speaks of calls of agents, so that it has a meaning on them only.
    pub fn uses_a2a(&self) -> bool {
        self.uses_a2a
    }

    /// The variable by which it speaks of MCP items or of calls of agents, so that it has a meaning on these only.
    pub fn subject(&self) -> Option<&'static str> {
        match (self.uses_mcp, self.uses_a2a) {
            (true, _) => Some("mcp"),
            (false, true) => Some("a2a"),
            (false, false) => None,
        }
    }

    /// Whether it reads the body of the message in whose scope it is.
    pub fn uses_body(&self) -> bool {
        self.uses_body
    }

    /// Whether it reads `fields`.
    pub fn uses_fields(&self) -> bool {
        self.uses_fields
    }

    /// What the expression says of a message, as JSON.
    ///
    /// # Errors
    /// What the expression reads is absent or of another type, or its value is none that JSON has.
    pub fn evaluate_value(&self, input: &HttpInput<'_>) -> Result<serde_json::Value, EvalError> {
        evaluate::value(&self.tree, &self.constants, input)
    }

    /// Evaluates on a request.
    ///
    /// # Errors
    /// What the expression reads is absent or of another type, or its result is not a boolean.
    pub fn evaluate_http(&self, request: &HttpInput<'_>) -> Result<bool, EvalError> {
        match evaluate::evaluate(&self.tree, &self.constants, request, Subject::Nothing) {
            Outcome::True => Ok(true),
            Outcome::False => Ok(false),
            Outcome::Error(error) => Err(error),
            Outcome::OtherKind => Err(EvalError::NoItem),
        }
    }

    /// Adds what the expression says of a request to `key`, so that equal keys mean equal values.
    ///
    /// # Errors
    /// What the expression reads is absent or of another type, or its value is neither a text, a number, a boolean, null nor
    /// a list of these.
    pub fn evaluate_key(&self, request: &HttpInput<'_>, key: &mut Vec<u8>) -> Result<(), EvalError> {
        evaluate::key(&self.tree, &self.constants, request, key)
    }

    /// Evaluates to a text: a text as it is, a number or a boolean as it is written.
    ///
    /// # Errors
    /// What the expression reads is absent or of another type, or its value is none of these.
    pub fn evaluate_text(&self, request: &HttpInput<'_>) -> Result<String, EvalError> {
        evaluate::text_of(&self.tree, &self.constants, request)
    }

    /// Evaluates to an amount: a whole number that is not negative.
    ///
    /// # Errors
    /// What the expression reads is absent or of another type, or its value is no such number.
    pub fn evaluate_number(&self, request: &HttpInput<'_>) -> Result<u64, EvalError> {
        evaluate::number(&self.tree, &self.constants, request)
    }

    /// Evaluates on an item that an MCP server offers, and on the request that asks for it.
    pub fn evaluate_mcp(&self, item: &McpItem<'_>, request: &HttpInput<'_>) -> Outcome {
        evaluate::evaluate(&self.tree, &self.constants, request, Subject::Item(item))
    }

    /// Evaluates on a call of an agent, and on the request that carries it.
    pub fn evaluate_a2a(&self, call: &A2aCall<'_>, request: &HttpInput<'_>) -> Outcome {
        evaluate::evaluate(&self.tree, &self.constants, request, Subject::Call(call))
    }
}

#[cfg(test)]
mod tests;
