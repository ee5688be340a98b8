//! Prompt guards: regular expressions and built-in detectors over texts of prompts and answers, which are masked or refused.
//!
//! Pure: no I/O, no clock. A [`Guard`] is compiled once from [`Rule`]s and shared. [`Guard::check`] takes a whole text; a
//! [`Masker`] takes one piece by piece, as answers stream, and holds back only what may still become a match: at most
//! [`limits::MAX_HELD`] bytes. Both do the same, for a whole text is one piece.
//!
//! Regular expressions never backtrack, so a text costs time in proportion to its length.

mod builtin;
mod check;
mod error;
mod guard;
pub mod limits;
mod masker;

pub use builtin::Builtin;
pub use error::Error;
pub use guard::{Action, Guard, Outcome, Pattern, Rule};
pub use masker::{Masker, Step};
