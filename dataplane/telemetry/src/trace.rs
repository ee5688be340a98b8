//! The trace of one request: its place in a trace (W3C Trace Context), and the spans that are made while it is served.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::FieldValue;

/// Spans of one request besides its own; more are dropped.
pub const MAX_SPANS: usize = 64;
/// Attributes of one span; more are dropped.
const MAX_ATTRIBUTES: usize = 32;
/// Longest `tracestate` that is passed on, in bytes (W3C Trace Context §3.3.1.5).
const MAX_STATE_BYTES: usize = 512;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Identity of a trace.
pub type TraceId = [u8; 16];
/// Identity of a span in its trace.
pub type SpanId = [u8; 8];

/// A place in a trace, as `traceparent` writes it (W3C Trace Context §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether it is recorded.
    pub sampled: bool,
}

impl Parent {
    /// What a request brings; None without a valid header.
    pub fn of(headers: &HeaderMap) -> Option<Parent> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        Parent::parse(value.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Parent> {
        let mut parts = text.trim().split('-');
        let [version, trace, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let version: [u8; 1] = hexadecimal(version)?;
        // Later versions may add to the end.
        if version == [0xff] || (version == [0] && parts.next().is_some()) {
            return None;
        }
        let (trace, span, flags): (TraceId, SpanId, [u8; 1]) =
            (hexadecimal(trace)?, hexadecimal(span)?, hexadecimal(flags)?);
        (trace != [0; 16] && span != [0; 8]).then_some(Parent { trace, span, sampled: flags[0] & 1 == 1 })
    }

    /// As a header.
    pub fn header(&self) -> Option<HeaderValue> {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        push_hexadecimal(&mut text, &self.trace);
        text.push('-');
        push_hexadecimal(&mut text, &self.span);
        text.push_str(if self.sampled { "-01" } else { "-00" });
        HeaderValue::from_str(&text).ok()
    }
}

/// Lower case, as the specification has it.
fn hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |d: u8| match d {
        b'0'..=b'9' => Some(d - b'0'),
        b'a'..=b'f' => Some(d - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Writes bytes as `traceparent` does.
pub fn push_hexadecimal(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(DIGITS.get(usize::from(nibble)).map_or('0', |d| char::from(*d)));
        }
    }
}

thread_local! {
    /// 128 bits of state, so that traces of many proxies do not meet.
    static STATE: Cell<[u64; 2]> = Cell::new([RandomState::new().hash_one(1), RandomState::new().hash_one(2)]);
}

/// Any number; no secret.
fn random() -> [u64; 2] {
    STATE.with(|state| {
        let next = state.get().map(|s| s.wrapping_add(0x9e37_79b9_7f4a_7c15));
        state.set(next);
        next.map(|mut z| {
            // splitmix64
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    })
}

fn new_span_id() -> SpanId {
    let [a, b] = random();
    (a ^ b.rotate_left(32)).max(1).to_be_bytes()
}

fn new_trace_id() -> TraceId {
    let [a, b] = random();
    ((u128::from(a) << 64) | u128::from(b)).max(1).to_be_bytes()
}

/// Where the span of a request stands.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Of the request's own span.
    pub own: Parent,
    /// The span before it; None where the trace begins here.
    pub parent: Option<SpanId>,
    /// A trace that came with the request and is not continued.
    pub link: Option<Parent>,
    /// What other systems pass along.
    pub state: Option<HeaderValue>,
}

impl Trace {
    /// Continues what the request brings, or begins a trace; `restart` begins one in any case.
    pub fn begin(headers: &HeaderMap, restart: bool, sampled: bool) -> Trace {
        let incoming = Parent::of(headers);
        let span = new_span_id();
        match incoming {
            Some(parent) if !restart => Trace {
                own: Parent { trace: parent.trace, span, sampled },
                parent: Some(parent.span),
                link: None,
                state: state(headers),
            },
            link => Trace { own: Parent { trace: new_trace_id(), span, sampled }, parent: None, link, state: None },
        }
    }
}

fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut all = Vec::new();
    for value in headers.get_all(TRACESTATE) {
        if !all.is_empty() {
            all.push(b',');
        }
        all.extend_from_slice(value.as_bytes());
    }
    (!all.is_empty() && all.len() <= MAX_STATE_BYTES).then(|| HeaderValue::from_bytes(&all).ok()).flatten()
}

/// What a span is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Work of the gateway itself.
    Internal,
    /// A request that the gateway answers.
    Server,
    /// A request that the gateway makes.
    Client,
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What was done.
    pub name: Cow<'static, str>,
    /// What it is of.
    pub kind: SpanKind,
    /// Its identity.
    pub id: SpanId,
    /// The span in which it was made.
    pub parent: SpanId,
    /// Since 1970, in nanoseconds.
    pub start: u64,
    /// Since 1970, in nanoseconds.
    pub end: u64,
    /// By name.
    pub attributes: Vec<(&'static str, FieldValue)>,
    /// What went wrong.
    pub error: Option<Cow<'static, str>>,
}

/// Nanoseconds since 1970.
pub fn now() -> u64 {
    nanoseconds(SystemTime::now())
}

fn nanoseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// The trace of a request with the spans in it.
#[derive(Debug)]
pub(crate) struct Tracing {
    pub(crate) trace: Trace,
    ended: RefCell<Vec<Ended>>,
}

impl Tracing {
    pub(crate) fn new(trace: Trace) -> Tracing {
        Tracing { trace, ended: RefCell::default() }
    }

    pub(crate) fn take(&self) -> Vec<Ended> {
        self.ended.take()
    }
}

/// A span of a request that lasts until it is dropped. Where the request is not traced it is nothing, and costs nothing.
pub struct Span(Option<Box<Open>>);

struct Open {
    of: std::rc::Rc<crate::request::Inner>,
    span: Ended,
}

impl Span {
    pub(crate) fn none() -> Span {
        Span(None)
    }

    pub(crate) fn begin(
        of: std::rc::Rc<crate::request::Inner>,
        parent: SpanId,
        name: Cow<'static, str>,
        kind: SpanKind,
    ) -> Span {
        let start = now();
        let span =
            Ended { name, kind, id: new_span_id(), parent, start, end: start, attributes: Vec::new(), error: None };
        Span(Some(Box::new(Open { of, span })))
    }

    /// Sets an attribute, with a name of OpenTelemetry's semantic conventions where there is one.
    pub fn set(&mut self, name: &'static str, value: impl Into<FieldValue>) {
        if let Some(open) = &mut self.0
            && open.span.attributes.len() < MAX_ATTRIBUTES
        {
            open.span.attributes.push((name, value.into()));
        }
    }

    /// Says that what it is of went wrong.
    pub fn fail(&mut self, reason: impl Into<Cow<'static, str>>) {
        if let Some(open) = &mut self.0 {
            open.span.error = Some(reason.into());
        }
    }

    /// Whether it is recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn id(&self) -> Option<SpanId> {
        self.0.as_ref().map(|open| open.span.id)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.0.as_ref().map(|open| &open.span.name)).finish()
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        let Open { of, mut span } = *open;
        span.end = now();
        if let Some(tracing) = &*of.tracing.borrow() {
            let mut ended = tracing.ended.borrow_mut();
            if ended.len() < MAX_SPANS {
                ended.push(span);
            }
        }
    }
}

/// Names this place in the trace in the head of a request to another service.
pub(crate) fn inject(trace: &Trace, span: Option<SpanId>, headers: &mut HeaderMap) {
    let place = Parent { span: span.unwrap_or(trace.own.span), ..trace.own };
    // In the place of what the client sent.
    for (name, value) in [(TRACEPARENT, place.header()), (TRACESTATE, trace.state.clone())] {
        match value {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RequestTelemetry;

    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn parents_are_read_as_the_specification_says() {
        let parent = Parent::parse(HEADER).expect("is valid");
        assert_eq!(parent.header().expect("is one").to_str().expect("text"), HEADER);
        assert!(Parent::parse(&HEADER.replace("-01", "-00")).is_some_and(|p| !p.sampled));
        // A later version may have more parts.
        assert!(Parent::parse(&format!("{}-more", HEADER.replacen("00-", "cc-", 1))).is_some());
        for wrong in [
            "",
            &HEADER.to_uppercase(),
            &HEADER.replacen("00-", "ff-", 1),
            &format!("{HEADER}-more"),
            &HEADER.replace("b7ad6b7169203331", "0000000000000000"),
            &HEADER.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            &HEADER.replace("ä", "a").replace("b7", "zz"),
            &HEADER[..54],
        ] {
            assert_eq!(Parent::parse(wrong), None, "{wrong}");
        }
    }

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        values.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).expect("value"))).collect()
    }

    #[test]
    fn a_trace_goes_on_or_begins_anew_with_a_link() {
        let incoming = headers(&[("traceparent", HEADER), ("tracestate", "a=1"), ("tracestate", "b=2")]);
        let trace = Trace::begin(&incoming, false, true);
        assert_eq!((trace.own.trace[0], trace.parent.map(|p| p[0])), (0x0a, Some(0xb7)));
        assert_eq!(trace.state.as_ref().map(HeaderValue::as_bytes), Some(&b"a=1,b=2"[..]));
        let mut sent = incoming.clone();
        inject(&trace, None, &mut sent);
        let next = Parent::of(&sent).expect("is one");
        assert_eq!((next.trace, next.span), (trace.own.trace, trace.own.span));
        let restarted = Trace::begin(&incoming, true, true);
        assert_ne!(restarted.own.trace, trace.own.trace);
        assert!(restarted.link.is_some() && restarted.parent.is_none() && restarted.state.is_none());
        inject(&restarted, None, &mut sent);
        assert!(!sent.contains_key("tracestate"));
    }

    #[test]
    fn spans_end_with_what_made_them_and_stand_in_their_request() {
        let telemetry = RequestTelemetry::on();
        assert!(!telemetry.span("nothing", SpanKind::Client).is_on(), "the request is not traced");
        telemetry.begin_trace(Trace::begin(&HeaderMap::new(), false, true));
        let mut span = telemetry.span("try", SpanKind::Client);
        span.set("http.response.status_code", 503_u32);
        span.fail("connect");
        let mut sent = HeaderMap::new();
        telemetry.propagate(&span, &mut sent);
        drop(span);
        let (trace, ended) = telemetry.end_trace().expect("is traced");
        assert_eq!(ended.len(), 1);
        assert_eq!((ended[0].parent, &*ended[0].name), (trace.own.span, "try"));
        assert_eq!(Parent::of(&sent).expect("is one").span, ended[0].id);
        assert!(ended[0].end >= ended[0].start && ended[0].error.as_deref() == Some("connect"));
    }

    #[test]
    fn what_is_not_sampled_is_passed_on_as_such_and_records_nothing() {
        let telemetry = RequestTelemetry::on();
        telemetry.begin_trace(Trace::begin(&HeaderMap::new(), false, false));
        let span = telemetry.span("try", SpanKind::Client);
        assert!(!span.is_on());
        let mut sent = HeaderMap::new();
        telemetry.propagate(&span, &mut sent);
        assert!(Parent::of(&sent).is_some_and(|p| !p.sampled));
    }
}
