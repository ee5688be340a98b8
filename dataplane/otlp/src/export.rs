//! Sends the items of one queue to its collector, in batches.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agentgateway_callout::{Error, exchange, unary};
use agentgateway_proto::v1::{self, open_telemetry::Protocol};
use agentgateway_upstream::{Cluster, Upstream};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::message::{
    Answer, ExportLogs, ExportTraces, LogRecord, Resource, ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span,
    resource, scope,
};
use crate::{Counters, DEFAULT_TIMEOUT, Item, MAX_BATCH, MAX_DELAY, MAX_PAUSE, MAX_TRIES};

const TRACES: (&str, &str) = ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", "/v1/traces");
const LOGS: (&str, &str) = ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", "/v1/logs");

/// A collector, compiled.
pub(crate) struct Collector {
    backend_key: String,
    protocol: Protocol,
    authority: Option<HeaderValue>,
    timeout: Duration,
    resource: Arc<Resource>,
}

/// What the sender of a queue uses.
pub(crate) struct Sending {
    pub(crate) upstream: Rc<Upstream>,
    pub(crate) cluster: Arc<dyn Fn(&str) -> Option<Arc<Cluster>> + Send + Sync>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) closing: watch::Receiver<bool>,
}

impl Collector {
    pub(crate) fn new(spec: &v1::OpenTelemetry) -> Result<Collector, String> {
        if spec.backend_key.is_empty() {
            return Err("the collector's backend does not exist".into());
        }
        let authority = match spec.authority.as_str() {
            "" => None,
            name => Some(HeaderValue::from_str(name).map_err(|_| format!("{name:?} is not a host name"))?),
        };
        let service = if spec.service_name.is_empty() { "agentgateway" } else { &spec.service_name };
        let attributes: Vec<_> = spec.resource_attributes.clone().into_iter().collect();
        Ok(Collector {
            backend_key: spec.backend_key.clone(),
            protocol: spec.protocol(),
            authority,
            timeout: spec.timeout_milliseconds.map_or(DEFAULT_TIMEOUT, Duration::from_millis),
            resource: resource(service, &attributes),
        })
    }
}

/// Ends when nobody gives items any more, or the process ends; what waits then is sent.
pub(crate) async fn run(collector: Collector, mut items: mpsc::Receiver<Item>, mut sending: Sending) {
    let mut batch = Vec::new();
    let mut failing = false;
    loop {
        let first = tokio::select! {
            first = items.recv() => first,
            _ = sending.closing.wait_for(|closing| *closing) => items.try_recv().ok(),
        };
        let Some(first) = first else { return };
        batch.push(first);
        let due = Instant::now() + MAX_DELAY;
        while batch.len() < MAX_BATCH && !*sending.closing.borrow() {
            tokio::select! {
                next = items.recv() => match next {
                    Some(next) => batch.push(next),
                    None => break,
                },
                () = tokio::time::sleep_until(due) => break,
                _ = sending.closing.changed() => {}
            }
        }
        while batch.len() < MAX_BATCH
            && let Ok(next) = items.try_recv()
        {
            batch.push(next);
        }
        let (mut spans, mut logs) = (Vec::new(), Vec::new());
        for item in batch.drain(..) {
            match item {
                Item::Span(span) => spans.push(*span),
                Item::Log(log) => logs.push(*log),
            }
        }
        for (count, result) in [
            (spans.len(), traces(&collector, spans, &sending).await),
            (logs.len(), records(&collector, logs, &sending).await),
        ] {
            let count = count as u64;
            match result {
                Ok(rejected) => {
                    failing = false;
                    let rejected = rejected.min(count);
                    sending.counters.exported.fetch_add(count - rejected, Ordering::Relaxed);
                    sending.counters.failed.fetch_add(rejected, Ordering::Relaxed);
                }
                Err(error) => {
                    sending.counters.failed.fetch_add(count, Ordering::Relaxed);
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(collector = collector.backend_key, %error, "telemetry cannot be sent");
                    }
                }
            }
        }
    }
}

/// Gives how many were rejected.
async fn traces(collector: &Collector, spans: Vec<Span>, sending: &Sending) -> Result<u64, Error> {
    if spans.is_empty() {
        return Ok(0);
    }
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans }];
    let resource = Some((*collector.resource).clone());
    let message = ExportTraces { resource_spans: vec![ResourceSpans { resource, scope_spans }] };
    send(collector, TRACES, &message, sending).await
}

async fn records(collector: &Collector, log_records: Vec<LogRecord>, sending: &Sending) -> Result<u64, Error> {
    if log_records.is_empty() {
        return Ok(0);
    }
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records }];
    let resource = Some((*collector.resource).clone());
    let message = ExportLogs { resource_logs: vec![ResourceLogs { resource, scope_logs }] };
    send(collector, LOGS, &message, sending).await
}

/// A try that failed.
struct Failed {
    error: Error,
    /// The least pause before another try; None: another would fail as well (OTLP specification, "Failures").
    again: Option<Duration>,
}

impl Failed {
    /// On the way to the collector, or by its gRPC status.
    fn of(error: Error) -> Failed {
        let again = match &error {
            Error::Upstream(_) | Error::Timeout(_) => Some(Duration::ZERO),
            // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
            Error::Status { code: 1 | 4 | 10 | 11 | 14 | 15, pause, .. } => Some(pause.unwrap_or_default()),
            // RESOURCE_EXHAUSTED passes only where the collector says when.
            Error::Status { code: 8, pause, .. } => *pause,
            Error::Status { .. } | Error::Answer(_) => None,
        };
        Failed { error, again }
    }

    /// By the status of HTTP.
    fn of_status(status: StatusCode, headers: &HeaderMap) -> Failed {
        let error = Error::Answer(format!("it answered {status}"));
        let again = match status.as_u16() {
            429 | 502 | 503 | 504 => Some(asked_pause(headers)),
            _ => None,
        };
        Failed { error, again }
    }
}

/// In seconds; a date is not understood, and the usual pause is made.
fn asked_pause(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

/// Sends a batch, more than once where the failure may pass.
async fn send<M: Message>(
    collector: &Collector,
    paths: (&'static str, &'static str),
    message: &M,
    sending: &Sending,
) -> Result<u64, Error> {
    let mut tries = 1;
    loop {
        let failed = match once(collector, paths, message, sending).await {
            Ok(rejected) => return Ok(rejected),
            Err(failed) => failed,
        };
        let pause = failed.again.map(|asked| asked.max(MAX_DELAY * tries));
        let Some(pause) = pause.filter(|pause| tries < MAX_TRIES && *pause <= MAX_PAUSE) else {
            return Err(failed.error);
        };
        let mut closing = sending.closing.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => tries += 1,
            _ = closing.wait_for(|closing| *closing) => return Err(failed.error),
        }
    }
}

async fn once<M: Message>(
    collector: &Collector,
    (method, path): (&'static str, &'static str),
    message: &M,
    sending: &Sending,
) -> Result<u64, Failed> {
    let Some(cluster) = (sending.cluster)(&collector.backend_key) else {
        // It may come with the next configuration.
        let error = Error::Answer("the collector's backend is not there".into());
        return Err(Failed { error, again: Some(Duration::ZERO) });
    };
    let (authority, limit) = (collector.authority.as_ref(), collector.timeout);
    let answer: Answer = match collector.protocol {
        Protocol::Grpc => {
            unary(&sending.upstream, &cluster, method, authority, message, limit).await.map_err(Failed::of)?
        }
        Protocol::Http => {
            let mut request = Request::new(Bytes::from(message.encode_to_vec()));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = http::Uri::from_static(path);
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            request.headers_mut().extend(authority.map(|authority| (HOST, authority.clone())));
            let response = exchange(&sending.upstream, &cluster, request, limit).await.map_err(Failed::of)?;
            if !response.status().is_success() {
                return Err(Failed::of_status(response.status(), response.headers()));
            }
            Answer::decode(response.into_body()).unwrap_or_default()
        }
    };
    let partial = answer.partial_success.unwrap_or_default();
    if partial.rejected > 0 {
        tracing::debug!(rejected = partial.rejected, reason = partial.error_message, "the collector took a part only");
    }
    Ok(u64::try_from(partial.rejected).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let mut headers = HeaderMap::new();
        let again = |status: u16, headers: &HeaderMap| {
            Failed::of_status(StatusCode::from_u16(status).expect("a status"), headers).again
        };
        for status in [429, 502, 503, 504] {
            assert_eq!(again(status, &headers), Some(Duration::ZERO), "{status}");
        }
        for status in [400, 401, 404, 408, 413, 500, 501] {
            assert_eq!(again(status, &headers), None, "{status}");
        }
        headers.insert(RETRY_AFTER, HeaderValue::from_static(" 7 "));
        assert_eq!(again(503, &headers), Some(Duration::from_secs(7)));
        let of = |code, pause| Failed::of(Error::Status { code, message: String::new(), pause }).again;
        let passing: Vec<i32> = (0..=16).filter(|code| of(*code, None).is_some()).collect();
        assert_eq!(passing, [1, 4, 10, 11, 14, 15]);
        let second = Some(Duration::from_secs(1));
        assert_eq!((of(8, second), of(14, second), of(3, second)), (second, second, None));
        assert!(Failed::of(Error::Timeout(Duration::from_secs(1))).again.is_some());
    }
}
