//! From text to a parsed tree within bounds, and from a node back to its place in the text.

use cel::IdedExpr;
use cel::common::ast::SourceInfo;
use cel::parser::Parser;

use crate::error::{ExpressionError, Place};
use crate::limits::MAX_PARSE_DEPTH;

/// Places of nodes in the text.
pub(crate) struct Places(SourceInfo);

impl Places {
    /// Where the node `id` is written; the beginning for a node that a macro made.
    pub(crate) fn of(&self, id: u64) -> Place {
        let offset = self.0.offset_for(id).map_or(0, |(start, _)| start as usize);
        let before: Vec<char> = self.0.source.chars().take(offset).collect();
        let line = before.iter().filter(|c| **c == '\n').count() + 1;
        let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
        Place { line, column }
    }
}

/// Parses `source`, expanding macros.
pub(crate) fn parse(source: &str) -> Result<(IdedExpr, Places), ExpressionError> {
    if source.trim().is_empty() {
        return Err(ExpressionError::Empty);
    }
    let parser = Parser::new().max_recursion_depth(MAX_PARSE_DEPTH).error_recovery_limit(1);
    match parser.parse_with_source_info(source) {
        Ok((tree, places)) => Ok((tree, Places(places))),
        Err(errors) => {
            let (place, message) = errors.errors.first().map_or_else(
                || (Place { line: 1, column: 1 }, "not an expression".to_owned()),
                |e| {
                    let at = |n: isize| usize::try_from(n).unwrap_or(0).max(1);
                    (Place { line: at(e.pos.0), column: at(e.pos.1) }, shorten(&e.msg))
                },
            );
            Err(ExpressionError::Syntax { place, message })
        }
    }
}

/// The parser's message without its list of every token that could have stood there.
fn shorten(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split(" expecting ").next().unwrap_or(message);
    message.replace("'<EOF>'", "the end")
}
