//! Evaluation: reads exactly the attributes that the expression names.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelNull, CelString, CelUInt};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, ExecutionError, IdedExpr, Value};

use crate::constants::Constant;
use crate::environment::environment;
use crate::input::BodyInput;
use crate::values::{EMPTY, Headers, JsonMap, Query, attribute, from_json, headers, to_json};
use crate::{A2aCall, EvalError, HttpInput, McpItem, Outcome};

/// Looks attributes up by the identifiers of the lowered tree.
struct Inputs<'a> {
    constants: &'a [Constant],
    request: &'a HttpInput<'a>,
    subject: Subject<'a>,
    /// Whether a field of another kind of item was read. The error alone does not tell: of two errors around `&&` or `||`
    /// the interpreter keeps the one on the right.
    other_kind: AtomicBool,
}

/// What a rule is evaluated on besides a request.
#[derive(Clone, Copy)]
pub(crate) enum Subject<'a> {
    Nothing,
    Item(&'a McpItem<'a>),
    Call(&'a A2aCall<'a>),
}

/// Evaluates `tree`.
pub(crate) fn evaluate(
    tree: &IdedExpr,
    constants: &[Constant],
    request: &HttpInput<'_>,
    subject: Subject<'_>,
) -> Outcome {
    let inputs = Inputs { constants, request, subject, other_kind: AtomicBool::new(false) };
    let mut context = Context::with_env(environment());
    context.set_variable_resolver(&inputs);
    match Value::resolve_val(tree, &context) {
        Ok(value) => match value.downcast_ref::<CelBool>().map(|b| *b.inner()) {
            Some(true) => Outcome::True,
            Some(false) => Outcome::False,
            None => Outcome::Error(EvalError::NotBool(value.get_type().name().to_owned())),
        },
        Err(_) if inputs.other_kind.load(Ordering::Relaxed) => Outcome::OtherKind,
        Err(ExecutionError::UndeclaredReference(name)) => Outcome::Error(inputs.absent(&name)),
        Err(error) => Outcome::Error(EvalError::Failed(error.to_string())),
    }
}

/// Evaluates `tree` to a whole number that is not negative.
pub(crate) fn number(tree: &IdedExpr, constants: &[Constant], request: &HttpInput<'_>) -> Result<u64, EvalError> {
    with_value(tree, constants, request, |value| {
        let signed = value.downcast_ref::<CelInt>().and_then(|n| u64::try_from(*n.inner()).ok());
        let amount = signed.or_else(|| value.downcast_ref::<CelUInt>().map(|n| *n.inner()));
        amount.ok_or_else(|| EvalError::NotAmount(value.get_type().name().to_owned()))
    })
}

/// Evaluates `tree` to a text.
pub(crate) fn text_of(tree: &IdedExpr, constants: &[Constant], request: &HttpInput<'_>) -> Result<String, EvalError> {
    with_value(tree, constants, request, |value| {
        if let Some(text) = value.downcast_ref::<CelString<'_>>() {
            Ok(text.inner().to_string())
        } else if let Some(number) = value.downcast_ref::<CelInt>() {
            Ok(number.inner().to_string())
        } else if let Some(number) = value.downcast_ref::<CelUInt>() {
            Ok(number.inner().to_string())
        } else if let Some(boolean) = value.downcast_ref::<CelBool>() {
            Ok(boolean.inner().to_string())
        } else {
            Err(EvalError::NotText(value.get_type().name().to_owned()))
        }
    })
}

/// Adds the value of `tree` to a key: a letter for its type, and what tells it from others of the type.
pub(crate) fn key(
    tree: &IdedExpr,
    constants: &[Constant],
    request: &HttpInput<'_>,
    key: &mut Vec<u8>,
) -> Result<(), EvalError> {
    with_value(tree, constants, request, |value| add(key, value))
}

fn with_value<T>(
    tree: &IdedExpr,
    constants: &[Constant],
    request: &HttpInput<'_>,
    read: impl FnOnce(&dyn Val) -> Result<T, EvalError>,
) -> Result<T, EvalError> {
    let inputs = Inputs { constants, request, subject: Subject::Nothing, other_kind: AtomicBool::new(false) };
    let mut context = Context::with_env(environment());
    context.set_variable_resolver(&inputs);
    match Value::resolve_val(tree, &context) {
        Ok(value) => read(value.as_ref()),
        Err(ExecutionError::UndeclaredReference(name)) => Err(inputs.absent(&name)),
        Err(error) => Err(EvalError::Failed(error.to_string())),
    }
}

/// The value of `tree` as JSON.
pub(crate) fn value(
    tree: &IdedExpr,
    constants: &[Constant],
    request: &HttpInput<'_>,
) -> Result<serde_json::Value, EvalError> {
    let inputs = Inputs { constants, request, subject: Subject::Nothing, other_kind: AtomicBool::new(false) };
    let mut context = Context::with_env(environment());
    context.set_variable_resolver(&inputs);
    match Value::resolve_val(tree, &context) {
        Ok(value) => to_json(value.as_ref()),
        Err(ExecutionError::UndeclaredReference(name)) => Err(inputs.absent(&name)),
        Err(error) => Err(EvalError::Failed(error.to_string())),
    }
}

fn add(key: &mut Vec<u8>, value: &dyn Val) -> Result<(), EvalError> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        key.push(b's');
        key.extend((text.inner().len() as u64).to_be_bytes());
        key.extend(text.inner().as_bytes());
    } else if let Some(number) = value.downcast_ref::<CelInt>() {
        key.push(b'i');
        key.extend(number.inner().to_be_bytes());
    } else if let Some(number) = value.downcast_ref::<CelUInt>() {
        key.push(b'u');
        key.extend(number.inner().to_be_bytes());
    } else if let Some(number) = value.downcast_ref::<CelDouble>() {
        key.push(b'd');
        key.extend(number.inner().to_bits().to_be_bytes());
    } else if let Some(boolean) = value.downcast_ref::<CelBool>() {
        key.extend([b'b', u8::from(*boolean.inner())]);
    } else if value.downcast_ref::<CelNull>().is_some() {
        key.push(b'n');
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        key.push(b'l');
        key.extend((list.inner().len() as u64).to_be_bytes());
        for item in list.inner() {
            add(key, item.as_ref())?;
        }
    } else {
        return Err(EvalError::NoKey(value.get_type().name().to_owned()));
    }
    Ok(())
}

impl Inputs<'_> {
    fn absent(&self, identifier: &str) -> EvalError {
        if identifier.starts_with("@mcp.") || attribute::of_item(identifier) {
            return EvalError::NoItem;
        }
        if identifier.starts_with("@a2a.") && matches!(self.subject, Subject::Nothing) {
            return EvalError::NoCall;
        }
        match self.constant(identifier) {
            Some(Constant::Header(name)) => EvalError::Failed(format!("the request has no header {name}")),
            _ => EvalError::Failed(format!("{} is absent", attribute::printed(identifier))),
        }
    }

    fn constant(&self, identifier: &str) -> Option<&Constant> {
        self.constants.get(identifier.strip_prefix('@')?.parse::<usize>().ok()?)
    }
}

impl fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("inputs")
    }
}

fn text<'b>(text: &'b str) -> Option<CowVal<'b, 'b>> {
    Some(CowVal::owned(CelString::from(text)))
}

fn owned_text<'b>(text: String) -> Option<CowVal<'b, 'b>> {
    Some(CowVal::owned(CelString::from(text)))
}

fn strings(names: &[String]) -> CelList<'_> {
    CelList::from(names.iter().map(|n| Box::new(CelString::from(n.as_str())) as Box<dyn Val + '_>).collect::<Vec<_>>())
}

/// Host names know no case and may end in a dot; rules must not depend on how a client writes one.
fn host(name: &str) -> Option<CowVal<'_, '_>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|b| b.is_ascii_uppercase()) { owned_text(name.to_ascii_lowercase()) } else { text(name) }
}

fn body<'b>(body: &BodyInput<'b>) -> CowVal<'b, 'b> {
    match body {
        BodyInput::Text(text) => CowVal::owned(CelString::from(*text)),
        BodyInput::Json(value) => CowVal::Owned(from_json(value)),
    }
}

fn boolean<'b>(value: bool) -> Option<CowVal<'b, 'b>> {
    Some(CowVal::owned(CelBool::from(value)))
}

impl VariableResolver for Inputs<'_> {
    fn resolve<'b>(&'b self, identifier: &str) -> Option<CowVal<'b, 'b>> {
        let name = identifier.strip_prefix('@');
        let Some(name) = name else {
            let of = |value: Option<&'b serde_json::Value>| Some(CowVal::owned(JsonMap::new(value.unwrap_or(&EMPTY))));
            return match identifier {
                "jwt" => of(self.request.claims),
                "apiKey" => of(self.request.api_key),
                "basicAuth" => of(self.request.basic_auth),
                attribute::FIELDS => of(self.request.fields),
                "metadata" => of(self.request.metadata),
                _ => None,
            };
        };
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return match self.constant(identifier)? {
                Constant::Pattern(pattern) => Some(CowVal::Borrowed(pattern)),
                Constant::Strings(strings) => Some(CowVal::Borrowed(strings)),
                Constant::Address(address) => Some(CowVal::Borrowed(address)),
                Constant::Network(network) => Some(CowVal::Borrowed(network)),
                Constant::Header(name) => headers::value(self.request.headers, name).map(CowVal::owned),
            };
        }
        let request = self.request;
        match name {
            "request.method" => return text(request.method.as_str()),
            "request.path" => return text(request.uri.path()),
            "request.uri" => return owned_text(request.uri.to_string()),
            "request.host" => return host(request.host),
            "request.scheme" => return text(request.scheme),
            "request.headers" => return Some(CowVal::owned(Headers::new(request.headers))),
            "request.query" => return Some(CowVal::owned(Query::new(request.uri.query().unwrap_or_default()))),
            "request.body" | "response.body" => return request.body.as_ref().map(body),
            "response.code" => return Some(CowVal::owned(CelInt::from(i64::from(request.response?.status.as_u16())))),
            "response.headers" => return Some(CowVal::owned(Headers::new(request.response?.headers))),
            "source.address" => return owned_text(request.source.ip().to_canonical().to_string()),
            "source.port" => return Some(CowVal::owned(CelInt::from(i64::from(request.source.port())))),
            "source.identity" => return text(request.certificate?.spiffe?),
            "source.subject" => return text(request.certificate?.subject),
            "source.subjectAltNames" => return Some(CowVal::owned(strings(request.certificate?.names))),
            "is.request" => return boolean(true),
            "source.has.identity" => return boolean(request.certificate.is_some_and(|c| c.spiffe.is_some())),
            "source.has.certificate" => return boolean(request.certificate.is_some()),
            _ => {}
        }
        let item = match self.subject {
            Subject::Item(item) => item,
            Subject::Call(call) => return of_call(call, name),
            Subject::Nothing => return None,
        };
        let value = of_item(item, name);
        if value.is_none() && attribute::of_item(identifier) {
            self.other_kind.store(true, Ordering::Relaxed);
        }
        value
    }
}

fn of_call<'b>(call: &'b A2aCall<'b>, name: &str) -> Option<CowVal<'b, 'b>> {
    match name {
        "a2a.method" => text(call.method),
        "a2a.version" => text(call.version),
        "a2a.skill" => text(call.skill?),
        "a2a.task" => text(call.task?),
        "a2a.context" => text(call.context?),
        "a2a.has.skill" => boolean(call.skill.is_some()),
        "a2a.has.task" => boolean(call.task.is_some()),
        "a2a.has.context" => boolean(call.context.is_some()),
        _ => None,
    }
}

fn of_item<'b>(item: &'b McpItem<'b>, name: &str) -> Option<CowVal<'b, 'b>> {
    match name {
        "mcp.method" => return text(item.method()),
        "is.tool" => return boolean(matches!(item, McpItem::Tool { .. })),
        "is.prompt" => return boolean(matches!(item, McpItem::Prompt { .. })),
        "is.resource" => return boolean(matches!(item, McpItem::Resource { .. })),
        _ => {}
    }
    let (kind, field) = name.split_once('.')?;
    match (item, kind) {
        (McpItem::Tool { target, name, federated_name, arguments }, "tool")
        | (McpItem::Prompt { target, name, federated_name, arguments }, "prompt") => match field {
            "name" => text(name),
            "federated" => text(federated_name),
            "target" => text(target),
            "arguments" => Some(CowVal::owned(JsonMap::new(arguments.unwrap_or(&EMPTY)))),
            "present" => boolean(true),
            _ => None,
        },
        (McpItem::Resource { target, uri, name }, "resource") => match field {
            "uri" => text(uri),
            "name" => text(name),
            "target" => text(target),
            "present" => boolean(true),
            _ => None,
        },
        _ => None,
    }
}
