//! The messages of OTLP 1.x (opentelemetry-proto), as far as the gateway fills them.

use std::sync::Arc;

use agentgateway_telemetry::FieldValue;
use agentgateway_telemetry::lines::Column;
use agentgateway_telemetry::trace::{Ended, SpanKind, Trace, now};
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportTraces {
    #[prost(message, repeated, tag = "1")]
    pub(crate) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(crate) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(crate) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportLogs {
    #[prost(message, repeated, tag = "1")]
    pub(crate) resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    pub(crate) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    pub(crate) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) log_records: Vec<LogRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(crate) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Scope {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4")]
    pub(crate) value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Float(f64),
}

/// A span as it is sent.
#[derive(Clone, PartialEq, Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(crate) trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(crate) name: String,
    /// 1 internal, 2 server, 3 client.
    #[prost(int32, tag = "6")]
    pub(crate) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(crate) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub(crate) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    pub(crate) status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub(crate) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Link {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) span_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    /// 2 is an error.
    #[prost(int32, tag = "3")]
    pub(crate) code: i32,
}

/// A log record as it is sent.
#[derive(Clone, PartialEq, Message)]
pub struct LogRecord {
    #[prost(fixed64, tag = "1")]
    pub(crate) time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    pub(crate) severity_number: i32,
    #[prost(string, tag = "3")]
    pub(crate) severity_text: String,
    #[prost(message, optional, tag = "5")]
    pub(crate) body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(fixed32, tag = "8")]
    pub(crate) flags: u32,
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub(crate) span_id: Vec<u8>,
    #[prost(fixed64, tag = "11")]
    pub(crate) observed_time_unix_nano: u64,
}

/// What the collector says of a batch; a part that it did not take is its message.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(crate) rejected: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}

pub(crate) fn attribute(key: &str, value: &FieldValue) -> KeyValue {
    let value = match value {
        FieldValue::Text(text) => Value::Text(text.clone().into_owned()),
        FieldValue::Integer(number) => Value::Integer(*number),
        FieldValue::Float(number) => Value::Float(*number),
        FieldValue::Bool(value) => Value::Bool(*value),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// Whether the record is part of a trace that is sampled.
const SAMPLED: u32 = 1;

/// A span of a request. `attributes` are added to its own; `link` is the trace that was not continued.
pub fn span(trace: &Trace, span: Ended, root: bool, attributes: &[Column]) -> Span {
    let own = span.attributes.iter().map(|(name, value)| attribute(name, value));
    let link = trace.link.filter(|_| root);
    let parent = if root { trace.parent } else { Some(span.parent) };
    Span {
        trace_id: trace.own.trace.to_vec(),
        span_id: span.id.to_vec(),
        trace_state: trace.state.as_ref().and_then(|state| state.to_str().ok()).unwrap_or_default().to_owned(),
        parent_span_id: parent.map(|id| id.to_vec()).unwrap_or_default(),
        kind: match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        },
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: own.chain(attributes.iter().map(|(name, value)| attribute(name, value))).collect(),
        links: link.into_iter().map(|l| Link { trace_id: l.trace.to_vec(), span_id: l.span.to_vec() }).collect(),
        status: span.error.map(|message| Status { message: message.into_owned(), code: 2 }),
        flags: SAMPLED,
        name: span.name.into_owned(),
    }
}

/// A record of a request, with its columns as attributes.
pub fn log_record(columns: &[Column], trace: Option<&Trace>) -> LogRecord {
    let find = |name: &str| columns.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_string());
    let body = ["method", "path", "status"].into_iter().filter_map(find).collect::<Vec<_>>().join(" ");
    let time = now();
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: 9,
        severity_text: "INFO".into(),
        body: Some(AnyValue { value: Some(Value::Text(body)) }),
        // The record has a time of its own.
        attributes: columns.iter().filter(|(name, _)| name != "time").map(|(n, v)| attribute(n, v)).collect(),
        flags: trace.map_or(0, |trace| u32::from(trace.own.sampled)),
        trace_id: trace.map(|trace| trace.own.trace.to_vec()).unwrap_or_default(),
        span_id: trace.map(|trace| trace.own.span.to_vec()).unwrap_or_default(),
    }
}

/// Who sends.
pub(crate) fn resource(service: &str, attributes: &[(String, String)]) -> Arc<Resource> {
    let own = [("service.name", service), ("service.version", env!("CARGO_PKG_VERSION"))];
    let own = own.into_iter().map(|(name, value)| attribute(name, &FieldValue::from(value.to_owned())));
    let own = own.filter(|own| !attributes.iter().any(|(name, _)| *name == own.key));
    let others = attributes.iter().map(|(name, value)| attribute(name, &FieldValue::from(value.clone())));
    Arc::new(Resource { attributes: own.chain(others).collect() })
}

pub(crate) fn scope() -> Scope {
    Scope { name: "agentgateway".into(), version: env!("CARGO_PKG_VERSION").into() }
}
