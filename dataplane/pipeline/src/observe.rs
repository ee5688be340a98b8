//! What policies want to know of a request: kept while it is served, told when its response has been sent.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentgateway_policy::{Chain, Observers, RequestContext, Told, Witness};
use agentgateway_telemetry::labels::Counted;
use agentgateway_telemetry::lines::Column;
use agentgateway_telemetry::trace::{Ended, Span, SpanKind, Trace, now};
use agentgateway_telemetry::{FieldValue, RequestTelemetry};
use agentgateway_upstream::Body;
use http::Response;
use http::request::Parts;

use crate::Error;
use crate::request::{Origin, line};
use crate::tracked::{Line, Record, version};

/// A request that policies are told of.
pub(crate) struct Observed {
    observers: Observers,
    /// None where no expression looks at the request afterwards, or there is no response yet.
    witness: Option<Witness>,
}

/// Notes what the policies of a chain want to know. That of the route comes after that of the listener, and counts before it.
pub(crate) fn begin(chain: &Chain, origin: &Origin, head: &Parts, context: &mut RequestContext, record: &mut Record) {
    let Some(observers) = chain.observers() else { return };
    if !record.telemetry.is_on() {
        record.telemetry = RequestTelemetry::on();
        context.telemetry.clone_from(&record.telemetry);
    }
    record.line.get_or_insert_with(|| Box::new(line(origin, head)));
    if observers.looks_back() {
        context.remember(head);
    }
    observers.begin(head, context, &record.telemetry, &|below| origin.worker.random_below(below));
    let observers = match record.observed.take() {
        None => observers.clone(),
        Some(before) => observers.or(&before.observers),
    };
    record.observed = Some(Box::new(Observed { observers, witness: None }));
}

impl Observed {
    pub(crate) fn has_logs(&self) -> bool {
        self.observers.has_logs()
    }

    /// The head of the response is as it will be sent.
    pub(crate) fn answered(&mut self, context: &RequestContext, response: Response<Body>) -> Response<Body> {
        if !self.observers.looks_back() {
            return response;
        }
        let (head, body) = response.into_parts();
        self.witness = Some(context.witness(&head));
        Response::from_parts(head, body)
    }

    /// The response has been sent.
    pub(crate) fn tell(&self, record: &Record, line: &Line, duration: Duration) {
        let trace = record.telemetry.end_trace();
        if !self.observers.wants(trace.as_ref().is_some_and(|(trace, _)| trace.own.sampled)) {
            return;
        }
        let columns = columns(record, line, duration, trace.as_ref().map(|(trace, _)| trace));
        let trace = trace.as_ref().map(|(trace, spans)| {
            let mut all = Vec::with_capacity(1 + spans.len());
            if trace.own.sampled {
                all.push(own_span(record, line, duration, trace));
                all.extend(spans.iter().cloned());
            }
            (trace, all)
        });
        let tokens = |wanted: &str| {
            record.telemetry.with(|fields| match fields.iter().find(|(name, _)| *name == wanted) {
                Some((_, FieldValue::Integer(tokens))) => u64::try_from(*tokens).unwrap_or(0),
                _ => 0,
            })
        };
        let counted = Counted {
            status: record.status,
            duration,
            input_tokens: tokens("gen_ai.usage.input_tokens"),
            output_tokens: tokens("gen_ai.usage.output_tokens"),
        };
        self.observers.tell(Told { columns: &columns, witness: self.witness.as_ref(), trace, counted });
    }
}

fn columns(record: &Record, line: &Line, duration: Duration, trace: Option<&Trace>) -> Vec<Column> {
    let mut all: Vec<Column> = Vec::with_capacity(20);
    let mut add = |name: &'static str, value: FieldValue| all.push((name.into(), value));
    add("time", SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64()).into());
    add("listener", record.listener.as_ref().map(|l| l.printed.to_string()).unwrap_or_default().into());
    add("route", record.route.as_ref().map(|r| r.printed.to_string()).unwrap_or_default().into());
    add("source", line.source.to_string().into());
    add("method", line.method.to_string().into());
    add("host", line.host.clone().into());
    add("path", line.path.clone().into());
    add("version", version(line.version).into());
    add("status", i64::from(record.status).into());
    add("duration_ms", (duration.as_secs_f64() * 1e3).into());
    add("bytes", record.bytes.into());
    if let Some(endpoint) = record.endpoint {
        add("endpoint", endpoint.to_string().into());
    }
    if let Some(reason) = &line.reason {
        add("reason", reason.clone().into());
    }
    if let Some(trace) = trace {
        let text = |bytes: &[u8]| {
            let mut text = String::with_capacity(2 * bytes.len());
            agentgateway_telemetry::trace::push_hexadecimal(&mut text, bytes);
            FieldValue::from(text)
        };
        add("trace_id", text(&trace.own.trace));
        add("span_id", text(&trace.own.span));
    }
    record.telemetry.with(|fields| all.extend(fields.iter().map(|(name, value)| ((*name).into(), value.clone()))));
    all
}

/// The span of the request itself, as OpenTelemetry's conventions for HTTP servers have it.
fn own_span(record: &Record, line: &Line, duration: Duration, trace: &Trace) -> Ended {
    let end = now();
    let mut attributes: Vec<(&'static str, FieldValue)> = Vec::with_capacity(16);
    attributes.extend([
        ("http.request.method", line.method.to_string().into()),
        ("url.path", line.path.clone().into()),
        ("server.address", line.host.clone().into()),
        ("client.address", line.source.ip().to_string().into()),
        ("client.port", i64::from(line.source.port()).into()),
        ("network.protocol.version", version(line.version).trim_start_matches("HTTP/").into()),
        ("http.response.status_code", i64::from(record.status).into()),
        ("http.response.body.size", record.bytes.into()),
    ]);
    if let Some(listener) = &record.listener {
        attributes.push(("agentgateway.listener", listener.printed.to_string().into()));
    }
    if let Some(route) = &record.route {
        attributes.push(("agentgateway.route", route.printed.to_string().into()));
    }
    let failed = record.status >= 500;
    if let Some(reason) = line.reason.as_ref().filter(|_| record.status >= 400) {
        let word = reason.split(':').next().unwrap_or_default();
        attributes.push(("error.type", word.to_owned().into()));
    }
    record.telemetry.with(|fields| attributes.extend(fields.iter().cloned()));
    let name = match &record.route {
        Some(route) => format!("{} {}", line.method, route.printed),
        None => line.method.to_string(),
    };
    Ended {
        name: name.into(),
        kind: SpanKind::Server,
        id: trace.own.span,
        parent: trace.own.span,
        start: end.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        end,
        attributes,
        error: failed.then(|| line.reason.clone().unwrap_or_default().into()),
    }
}

/// Says how one try at a backend ended.
pub(crate) fn outcome(span: &mut Span, endpoint: Option<SocketAddr>, result: &Result<Response<Body>, Error>) {
    if !span.is_on() {
        return;
    }
    if let Some(endpoint) = endpoint {
        span.set("server.address", endpoint.ip().to_string());
        span.set("server.port", i64::from(endpoint.port()));
    }
    match result {
        Ok(response) => {
            span.set("http.response.status_code", i64::from(response.status().as_u16()));
            if response.status().is_client_error() || response.status().is_server_error() {
                span.fail("");
            }
        }
        Err(error) => {
            span.set("error.type", error.reason());
            span.fail(error.to_string());
        }
    }
}
