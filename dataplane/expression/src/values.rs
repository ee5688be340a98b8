//! Inputs as values of the language: read where they are, copied only where the language needs its own form.

pub(crate) mod attribute;
pub(crate) mod headers;
mod json;
mod query;

pub(crate) use headers::Headers;
pub(crate) use json::{EMPTY, JsonMap, from_json, to_json};
pub(crate) use query::Query;

use cel::ExecutionError;
use cel::common::types::CelString;
use cel::common::value::Val;

/// The key of an index or a field, which these maps have as strings only.
fn key<'a>(map: &str, index: &'a dyn Val) -> Result<&'a str, ExecutionError> {
    index.downcast_ref::<CelString<'_>>().map(CelString::inner).ok_or_else(|| ExecutionError::UnexpectedType {
        got: index.get_type().name().to_owned(),
        want: format!("string, as keys of {map} are"),
    })
}
