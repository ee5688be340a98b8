//! What is learnt of one request while it is served, for whatever records it when its response has been sent.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;

use http::HeaderMap;

use crate::live::Watch;
use crate::trace::{Ended, Span, SpanKind, Trace, Tracing};

/// Fields of one request; more are dropped.
pub const MAX_FIELDS: usize = 64;
/// Longer texts are cut, between characters.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Fields of one request, which may be set until the last byte of its response, or its end if that comes first.
///
/// Policies and protocol backends find it in `RequestContext::telemetry`. A clone speaks of the same request, so whatever
/// counts until the response's end (a body that reads usage out of a stream) keeps one and sets what it knows at the end, in
/// its `Drop` at the latest: the request's record reads the fields once the response's body is gone.
///
/// Names are dotted and fixed: those of OpenTelemetry's semantic conventions where there are some
/// (`gen_ai.usage.input_tokens`), `mcp.…` and so on else. They are columns of the access log, attributes of spans, and what
/// expressions of log and metrics policies read as `fields["gen_ai.usage.input_tokens"]`. Secrets never are.
///
/// Where nothing records the request all of this does nothing; whatever costs something to find out asks
/// [`RequestTelemetry::is_on`] first.
#[derive(Clone, Default)]
pub struct RequestTelemetry(Option<Rc<Inner>>);

/// What is kept of a request that is recorded.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    fields: RefCell<Vec<Field>>,
    /// None: it is not traced, or its policy is not known yet.
    pub(crate) tracing: RefCell<Option<Tracing>>,
    /// Empty: nobody watches it.
    live: OnceCell<Box<Watch>>,
}

/// Name and value.
pub type Field = (&'static str, FieldValue);

/// Value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

impl RequestTelemetry {
    /// Of a request that is recorded.
    pub fn on() -> RequestTelemetry {
        RequestTelemetry(Some(Rc::default()))
    }

    /// Of a request that nothing records.
    pub fn off() -> RequestTelemetry {
        RequestTelemetry(None)
    }

    /// Whether anything records the request.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Says that somebody watches the request.
    pub fn watch(&self, watch: Box<Watch>) {
        if let Some(inner) = &self.0 {
            drop(inner.live.set(watch));
        }
    }

    /// Whom the request's steps are told to.
    pub fn live(&self) -> Option<&Watch> {
        self.0.as_ref()?.live.get().map(|watch| &**watch)
    }

    /// Sets a field, in the place of an earlier value.
    pub fn set(&self, name: &'static str, value: impl Into<FieldValue>) {
        let Some(inner) = &self.0 else { return };
        let value = match value.into() {
            FieldValue::Text(text) => FieldValue::Text(shortened(text)),
            other => other,
        };
        let mut fields = inner.fields.borrow_mut();
        if let Some((_, old)) = fields.iter_mut().find(|(known, _)| *known == name) {
            *old = value;
        } else if fields.len() < MAX_FIELDS {
            fields.push((name, value));
        }
    }

    /// Adds to a whole number; one that is not set yet counts as 0.
    pub fn add(&self, name: &'static str, more: i64) {
        let Some(inner) = &self.0 else { return };
        let before = inner.fields.borrow().iter().find_map(|field| match field {
            (known, FieldValue::Integer(before)) if *known == name => Some(*before),
            _ => None,
        });
        self.set(name, before.unwrap_or(0).saturating_add(more));
    }

    /// The fields, in the order in which they were set first.
    pub fn with<T>(&self, read: impl FnOnce(&[Field]) -> T) -> T {
        match &self.0 {
            Some(inner) => read(&inner.fields.borrow()),
            None => read(&[]),
        }
    }

    /// Says where the request stands in a trace. Of several policies the most specific, which comes last, decides whether it is
    /// sampled; what was said to others stays.
    pub fn begin_trace(&self, trace: Trace) {
        let Some(inner) = &self.0 else { return };
        let mut tracing = inner.tracing.borrow_mut();
        match &mut *tracing {
            Some(begun) => begun.trace.own.sampled = trace.own.sampled,
            None => *tracing = Some(Tracing::new(trace)),
        }
    }

    /// Whether the request has a place in a trace.
    pub fn is_traced(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.tracing.borrow().is_some())
    }

    /// Begins a span, which ends when it is dropped. It is nothing where the request is not traced.
    pub fn span(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Span {
        let Some(inner) = &self.0 else { return Span::none() };
        match &*inner.tracing.borrow() {
            Some(tracing) if tracing.trace.own.sampled => {
                Span::begin(Rc::clone(inner), tracing.trace.own.span, name.into(), kind)
            }
            _ => Span::none(),
        }
    }

    /// Gives the head of a request to another service its place in the trace, in the place of what came with the client's.
    pub fn propagate(&self, span: &Span, headers: &mut HeaderMap) {
        let Some(inner) = &self.0 else { return };
        if let Some(tracing) = &*inner.tracing.borrow() {
            crate::trace::inject(&tracing.trace, span.id(), headers);
        }
    }

    /// The trace and the spans that have ended, for whoever records the request. None where it is not traced.
    pub fn end_trace(&self) -> Option<(Trace, Vec<Ended>)> {
        let inner = self.0.as_ref()?;
        let tracing = inner.tracing.borrow();
        tracing.as_ref().map(|tracing| (tracing.trace.clone(), tracing.take()))
    }
}

fn shortened(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= MAX_TEXT_BYTES {
        return text;
    }
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    Cow::Owned(text.get(..end).unwrap_or_default().to_owned())
}

impl fmt::Debug for RequestTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|fields| f.debug_map().entries(fields.iter().map(|(name, value)| (name, value))).finish())
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldValue::Text(text) => f.write_str(text),
            FieldValue::Integer(number) => write!(f, "{number}"),
            FieldValue::Float(number) => write!(f, "{number}"),
            FieldValue::Bool(value) => write!(f, "{value}"),
        }
    }
}

impl From<&'static str> for FieldValue {
    fn from(text: &'static str) -> Self {
        FieldValue::Text(Cow::Borrowed(text))
    }
}

impl From<String> for FieldValue {
    fn from(text: String) -> Self {
        FieldValue::Text(Cow::Owned(text))
    }
}

impl From<i64> for FieldValue {
    fn from(number: i64) -> Self {
        FieldValue::Integer(number)
    }
}

impl From<u64> for FieldValue {
    fn from(number: u64) -> Self {
        FieldValue::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for FieldValue {
    fn from(number: u32) -> Self {
        FieldValue::Integer(number.into())
    }
}

impl From<usize> for FieldValue {
    fn from(number: usize) -> Self {
        FieldValue::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<f64> for FieldValue {
    fn from(number: f64) -> Self {
        FieldValue::Float(number)
    }
}

impl From<bool> for FieldValue {
    fn from(value: bool) -> Self {
        FieldValue::Bool(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_speak_of_one_request_and_later_values_count() {
        let request = RequestTelemetry::on();
        let body = request.clone();
        request.set("gen_ai.request.model", "small");
        body.add("gen_ai.usage.output_tokens", 2);
        body.add("gen_ai.usage.output_tokens", 3);
        body.set("gen_ai.request.model", String::from("large"));
        let fields = request.with(<[Field]>::to_vec);
        assert_eq!(fields, [("gen_ai.request.model", "large".into()), ("gen_ai.usage.output_tokens", 5_i64.into())]);
    }

    #[test]
    fn what_nobody_records_is_not_kept() {
        let request = RequestTelemetry::off();
        request.set("mcp.method", "ping");
        assert_eq!((request.is_on(), request.with(<[Field]>::len)), (false, 0));
    }

    #[test]
    fn texts_and_fields_are_bounded() {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        let request = RequestTelemetry::on();
        for name in NAMES.iter().cycle().take(200) {
            request.set(name, "ä".repeat(MAX_TEXT_BYTES));
        }
        request.with(|fields| {
            assert_eq!(fields.len(), NAMES.len());
            assert!(fields.iter().all(|(_, value)| value.to_string().len() == MAX_TEXT_BYTES));
        });
        for nth in 0..2 * MAX_FIELDS {
            request.set(Box::leak(nth.to_string().into_boxed_str()), nth);
        }
        assert_eq!(request.with(<[Field]>::len), MAX_FIELDS);
    }
}
