//! The functions of the language: the standard ones, and those that the lowered tree calls.

use std::sync::Arc;

use cel::common::types::{CelBool, CelString, DYN_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError, extensions};

use crate::addresses;
use crate::constants::Pattern;

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Global,
    Member,
}

/// Functions that a rule may call, with the number of arguments, the receiver not counted.
const FUNCTIONS: &[(&str, Style, usize)] = &[
    ("bool", Style::Global, 1),
    ("bytes", Style::Global, 1),
    ("double", Style::Global, 1),
    ("duration", Style::Global, 1),
    ("dyn", Style::Global, 1),
    ("int", Style::Global, 1),
    ("size", Style::Global, 1),
    ("size", Style::Member, 0),
    ("string", Style::Global, 1),
    ("timestamp", Style::Global, 1),
    ("type", Style::Global, 1),
    ("uint", Style::Global, 1),
    ("contains", Style::Member, 1),
    ("endsWith", Style::Member, 1),
    ("startsWith", Style::Member, 1),
    ("lowerAscii", Style::Member, 0),
    ("upperAscii", Style::Member, 0),
    ("trim", Style::Member, 0),
    ("split", Style::Member, 1),
    ("join", Style::Member, 0),
    ("join", Style::Member, 1),
    ("ip", Style::Global, 1),
    ("isIP", Style::Global, 1),
    ("cidr", Style::Global, 1),
    ("isCIDR", Style::Global, 1),
    ("containsIP", Style::Member, 1),
];

/// Names of types, as in `type(jwt.aud) == list`.
pub(crate) const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// Operators; the parser writes them as calls.
pub(crate) const OPERATORS: &[&str] = &[
    "_?_:_",
    "_&&_",
    "_||_",
    "!_",
    "_-_",
    "_+_",
    "_*_",
    "_/_",
    "_%_",
    "_==_",
    "_!=_",
    "_>=_",
    "_<=_",
    "_>_",
    "_<_",
    "-_",
    "_[_]",
    "@in",
    "@not_strictly_false",
];

/// Whether a rule may call `name` so.
pub(crate) fn is_function(name: &str, style: Style, arguments: usize) -> bool {
    FUNCTIONS.contains(&(name, style, arguments))
}

thread_local! {
    /// One per thread: the interpreter counts references to it at every evaluation, and a count shared by all cores would
    /// move between their caches.
    static ENVIRONMENT: Arc<Env> = Arc::new(build());
}

/// The environment of this thread.
pub(crate) fn environment() -> Arc<Env> {
    ENVIRONMENT.with(Arc::clone)
}

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// `@either_<operator>(own, federated, operand)`, and `@matches(text, pattern)`. A user cannot write '@'.
fn build() -> Env {
    let mut env = Env::stdlib();
    // The names are free: the standard library has none of them, so nothing here can be declared twice.
    let _ = env.add_extension(extensions::strings);
    let three = || vec![DYN_TYPE, DYN_TYPE, DYN_TYPE];
    let _ = env.add_overload("@either_equals", "@either_equals", three(), either_equals);
    let _ = env.add_overload("@either_in", "@either_in", three(), either_in);
    let _ = env.add_overload("@either_startsWith", "@either_startsWith", three(), either_starts_with);
    let _ = env.add_overload("@either_endsWith", "@either_endsWith", three(), either_ends_with);
    let _ = env.add_overload("@either_contains", "@either_contains", three(), either_contains);
    let _ = env.add_overload("@either_matches", "@either_matches", three(), either_matches);
    for (name, function) in [
        ("ip", addresses::ip as for<'b, 'v> fn(Arguments<'b, 'v>) -> Answer<'b, 'v>),
        ("isIP", addresses::is_ip),
        ("cidr", addresses::cidr),
        ("isCIDR", addresses::is_cidr),
    ] {
        let _ = env.add_overload(name, name, vec![DYN_TYPE], function);
    }
    let _ = env.add_overload("@containsIP", "@containsIP", vec![DYN_TYPE, DYN_TYPE], addresses::contains_ip);
    let _ = env.add_overload("@matches", "@matches", vec![DYN_TYPE, DYN_TYPE], matches);
    env
}

fn text<'a>(function: &str, value: &'a dyn Val) -> Result<&'a str, ExecutionError> {
    let text = value.downcast_ref::<CelString<'_>>().map(CelString::inner);
    text.ok_or_else(|| ExecutionError::no_such_overload(function, vec![value.get_type().name().to_owned()]))
}

fn pattern(value: &dyn Val) -> Result<&Pattern, ExecutionError> {
    value
        .downcast_ref::<Pattern>()
        .ok_or_else(|| ExecutionError::no_such_overload("matches", vec![value.get_type().name().to_owned()]))
}

fn arity(function: &str) -> ExecutionError {
    ExecutionError::no_such_overload(function, Vec::new())
}

fn bool<'b, 'v>(value: bool) -> CowVal<'b, 'v> {
    CowVal::owned(CelBool::from(value))
}

/// Applies `test` to both names and the operand, all of them strings.
fn either<'b, 'v>(
    function: &'static str,
    arguments: &Arguments<'b, 'v>,
    test: fn(&str, &str) -> bool,
) -> Answer<'b, 'v> {
    let [own, federated, operand] = arguments.as_slice() else { return Err(arity(function)) };
    let operand = text(function, operand.as_ref())?;
    Ok(bool(test(text(function, own.as_ref())?, operand) || test(text(function, federated.as_ref())?, operand)))
}

fn either_equals<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    let [own, federated, operand] = arguments.as_slice() else { return Err(arity("==")) };
    Ok(bool(own == operand || federated == operand))
}

fn either_in<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    let [own, federated, operand] = arguments.as_slice() else { return Err(arity("in")) };
    let Some(container) = operand.as_container() else {
        return Err(ExecutionError::no_such_overload("in", vec![operand.get_type().name().to_owned()]));
    };
    Ok(bool(container.contains(own.as_ref())? || container.contains(federated.as_ref())?))
}

fn either_starts_with<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    either("startsWith", &arguments, |name, prefix| name.starts_with(prefix))
}

fn either_ends_with<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    either("endsWith", &arguments, |name, suffix| name.ends_with(suffix))
}

fn either_contains<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    either("contains", &arguments, |name, part| name.contains(part))
}

fn either_matches<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    let [own, federated, operand] = arguments.as_slice() else { return Err(arity("matches")) };
    let pattern = pattern(operand.as_ref())?;
    Ok(bool(
        pattern.0.is_match(text("matches", own.as_ref())?) || pattern.0.is_match(text("matches", federated.as_ref())?),
    ))
}

fn matches<'b, 'v>(arguments: Arguments<'b, 'v>) -> Answer<'b, 'v> {
    let [subject, operand] = arguments.as_slice() else { return Err(arity("matches")) };
    Ok(bool(pattern(operand.as_ref())?.0.is_match(text("matches", subject.as_ref())?)))
}
