//! Sends the items of one queue to its collector, in batches.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agentgateway_callout::{Error, exchange, unary};
use agentgateway_proto::v1::{self, open_telemetry::Protocol};
use agentgateway_upstream::{Cluster, Upstream};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request};
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::message::{
    Answer, ExportLogs, ExportTraces, LogRecord, Resource, ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span,
    resource, scope,
};
use crate::{Counters, DEFAULT_TIMEOUT, Item, MAX_BATCH, MAX_DELAY, MAX_TRIES};

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

/// Sends a batch, more than once where the failure may pass.
async fn send<M: Message>(
    collector: &Collector,
    paths: (&'static str, &'static str),
    message: &M,
    sending: &Sending,
) -> Result<u64, Error> {
    let mut tries = 1;
    loop {
        let result = once(collector, paths, message, sending).await;
        match result {
            Err(_) if tries < MAX_TRIES && !*sending.closing.borrow() => {
                tokio::time::sleep(MAX_DELAY * tries).await;
                tries += 1;
            }
            other => return other,
        }
    }
}

async fn once<M: Message>(
    collector: &Collector,
    (method, path): (&'static str, &'static str),
    message: &M,
    sending: &Sending,
) -> Result<u64, Error> {
    let Some(cluster) = (sending.cluster)(&collector.backend_key) else {
        return Err(Error::Answer("the collector's backend is not there".into()));
    };
    let (authority, limit) = (collector.authority.as_ref(), collector.timeout);
    let answer: Answer = match collector.protocol {
        Protocol::Grpc => unary(&sending.upstream, &cluster, method, authority, message, limit).await?,
        Protocol::Http => {
            let mut request = Request::new(Bytes::from(message.encode_to_vec()));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = http::Uri::from_static(path);
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            request.headers_mut().extend(authority.map(|authority| (HOST, authority.clone())));
            let response = exchange(&sending.upstream, &cluster, request, limit).await?;
            if !response.status().is_success() {
                return Err(Error::Answer(format!("it answered {}", response.status())));
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
