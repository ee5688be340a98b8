//! What is changed of a message, compiled, and the values of one message.

use agentgateway_expression::{BodyInput, Expression, HttpInput, Scope};
use agentgateway_proto::v1::{self, transformation as proto};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::values::{Failure, Values};
use crate::limits::{MAX_COMPUTED_HEADER_BYTES, MAX_LEFT_METADATA_BYTES};

/// What is changed of a request or a response.
#[derive(Debug)]
pub(super) struct Message {
    set: Box<[(Target, Expression)]>,
    add: Box<[(HeaderName, Expression)]>,
    remove: Box<[HeaderName]>,
    metadata: Box<[(String, Expression)]>,
    body: Option<Expression>,
    reads_body: bool,
    body_is_json: bool,
}

/// What a value is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Header(HeaderName),
    Path,
    Method,
    Authority,
    Status,
}

/// What is known of a message's body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// Nothing: no expression asks.
    Unread,
    /// The message has none, and gets none.
    Absent,
    Read(&'a Bytes),
}

impl Message {
    pub(super) fn compile(spec: &proto::Message, scope: Scope) -> Result<Message, String> {
        let expression =
            |text: &str| Expression::compile_for(text, scope).map_err(|e| format!("expression {text:?}: {e}"));
        let name = |name: &str| name.parse::<HeaderName>().map_err(|_| format!("{name:?} is not a header name"));
        let set = |header: &v1::Header| {
            let target = match (header.name.as_str(), scope) {
                (":path", Scope::Request) => Target::Path,
                (":method", Scope::Request) => Target::Method,
                (":authority", Scope::Request) => Target::Authority,
                (":status", Scope::Response) => Target::Status,
                (other, _) => Target::Header(name(other)?),
            };
            Ok((target, expression(&header.value)?))
        };
        let add = |header: &v1::Header| Ok((name(&header.name)?, expression(&header.value)?));
        let left = |header: &v1::Header| Ok((header.name.clone(), expression(&header.value)?));
        let mut message = Message {
            set: spec.set.iter().map(set).collect::<Result<_, String>>()?,
            add: spec.add.iter().map(add).collect::<Result<_, String>>()?,
            remove: spec.remove.iter().map(|n| name(n)).collect::<Result<_, String>>()?,
            metadata: spec.metadata.iter().map(left).collect::<Result<_, String>>()?,
            body: Some(spec.body.as_str()).filter(|body| !body.is_empty()).map(expression).transpose()?,
            reads_body: false,
            body_is_json: spec.body_is_json,
        };
        let left = message.metadata.iter().map(|(_, e)| e);
        let mut all = message.set.iter().map(|(_, e)| e).chain(message.add.iter().map(|(_, e)| e)).chain(left);
        message.reads_body = message.body.is_some() || all.any(Expression::uses_body);
        Ok(message)
    }

    /// Whether the body has to be read.
    pub(super) fn reads_body(&self) -> bool {
        self.reads_body
    }

    /// Whether the message gets another body.
    pub(super) fn replaces_body(&self) -> bool {
        self.body.is_some()
    }

    /// All values, from the message as it came.
    pub(super) fn values(&self, input: &HttpInput<'_>, content: Content<'_>) -> Result<Values, Failure> {
        let parsed;
        let body = match content {
            Content::Unread => None,
            Content::Absent if self.body_is_json => Some(BodyInput::Json(&Value::Null)),
            Content::Absent => Some(BodyInput::Text("")),
            Content::Read(bytes) if self.body_is_json => {
                parsed = serde_json::from_slice::<Value>(bytes).map_err(|_| Failure::NotJson)?;
                Some(BodyInput::Json(&parsed))
            }
            Content::Read(bytes) => Some(BodyInput::Text(std::str::from_utf8(bytes).map_err(|_| Failure::NotText)?)),
        };
        let input = HttpInput { body, ..*input };
        let text = |expression: &Expression| {
            let value = expression.evaluate_value(&input).ok().and_then(text);
            value.filter(|text| text.len() <= MAX_COMPUTED_HEADER_BYTES)
        };
        let header = |expression: &Expression| text(expression).and_then(|text| HeaderValue::try_from(text).ok());
        let body = match (&self.body, content) {
            (Some(expression), Content::Read(_)) => {
                let value = expression.evaluate_value(&input).map_err(|_| Failure::NoBody)?;
                // Null is a body of JSON, unlike a header.
                Some(text_or_null(value).into())
            }
            _ => None,
        };
        Ok(Values {
            set: self.set.iter().map(|(target, expression)| (target.clone(), text(expression))).collect(),
            add: self.add.iter().filter_map(|(name, e)| Some((name.clone(), header(e)?))).collect(),
            remove: self.remove.to_vec(),
            metadata: self.metadata.iter().map(|(name, e)| (name.clone(), left(e, &input))).collect(),
            body,
        })
    }
}

/// What is left for others; None: nothing, or too much.
fn left(expression: &Expression, input: &HttpInput<'_>) -> Option<Value> {
    let value = expression.evaluate_value(input).ok().filter(|value| !value.is_null())?;
    let size = match &value {
        Value::String(text) => text.len(),
        Value::Array(_) | Value::Object(_) => value.to_string().len(),
        _ => 0,
    };
    (size <= MAX_LEFT_METADATA_BYTES).then_some(value)
}

/// Null is no value.
fn text(value: Value) -> Option<String> {
    (!value.is_null()).then(|| text_or_null(value))
}

fn text_or_null(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
