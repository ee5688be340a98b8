//! JSON as this crate reads and writes it: a tree that borrows from its text and keeps the order of members, the members
//! of one object without what is in them, and a writer.
//!
//! `serde_json::Value` is not used, for it sorts the members of objects, and the order of a schema's properties decides
//! in which order a model fills them in; and it copies every string.

mod members;
mod tree;
mod write;

pub(crate) use members::Members;
pub use tree::{Json, Object};
pub(crate) use write::{Writer, string};
