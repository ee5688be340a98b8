//! Fields of one call for the access log.

use crate::call::Call;
use crate::limits::LOGGED_BYTES;

pub(crate) type Fields = Vec<(&'static str, String)>;

/// What is known of a call before it is answered.
pub(crate) fn fields(call: &Call) -> Fields {
    let input = call.input();
    let mut fields = vec![("a2a.method", shortened(input.method)), ("a2a.version", input.version.to_owned())];
    for (field, value) in [("a2a.skill", input.skill), ("a2a.task", input.task), ("a2a.context", input.context)] {
        fields.extend(value.map(|value| (field, shortened(value))));
    }
    fields
}

fn shortened(value: &str) -> String {
    let end = (0..=LOGGED_BYTES.min(value.len())).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
    value.get(..end).unwrap_or_default().to_owned()
}
