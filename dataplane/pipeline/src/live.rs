//! The live trace's view of a request: where it came from, where it goes, what came back.

use agentgateway_telemetry::RequestTelemetry;
use agentgateway_telemetry::live::{self, Watch, micros};
use agentgateway_upstream::Body;
use http::Response;
use http::request::Parts;

use crate::Error;
use crate::request::{Origin, line, request_host};
use crate::snapshot::{Backend, BackendKind};
use crate::tracked::{Record, version};

/// Where somebody watches the request its steps are told from here on.
#[cold]
pub(crate) fn begin(origin: &Origin, head: &Parts, record: &mut Record) {
    let host = request_host(head).unwrap_or_default();
    let Some(watch) = Watch::begin(&host, head) else { return };
    watch.step(
        "request",
        [
            ("method", head.method.as_str().into()),
            ("host", (*host).into()),
            ("path", head.uri.path().into()),
            ("version", version(head.version).into()),
            ("source", origin.source.to_string().into()),
            ("port", origin.port.into()),
            ("tls", origin.secure.is_some().into()),
            ("headers", live::headers(&head.headers)),
        ],
    );
    if !record.telemetry.is_on() {
        record.telemetry = RequestTelemetry::on();
    }
    record.line.get_or_insert_with(|| Box::new(line(origin, head)));
    record.telemetry.watch(watch);
}

/// What was chosen by then; `None` where nothing matches.
pub(crate) fn chosen(record: &Record, step: &'static str, name: Option<&str>) {
    if let Some(watch) = record.telemetry.live() {
        watch.step(step, [("name", name.into())]);
    }
}

/// How one exchange with a backend went.
pub(crate) fn attempt(
    telemetry: &RequestTelemetry,
    backend: &Backend,
    record: &Record,
    result: &Result<Response<Body>, Error>,
) {
    let Some(watch) = telemetry.live() else { return };
    let (kind, authority) = match &backend.kind {
        BackendKind::Cluster(cluster) => ("endpoints", Some(cluster.authority().to_string())),
        BackendKind::Inspected(cluster, _) => ("inspected", Some(cluster.authority().to_string())),
        BackendKind::Protocol(_) => ("protocol", None),
        BackendKind::Broken(_) => ("broken", None),
    };
    let (status, error) = match result {
        Ok(response) => (Some(response.status().as_u16()), None),
        Err(error) => (None, Some(error.to_string())),
    };
    watch.step(
        "attempt",
        [
            ("kind", kind.into()),
            ("authority", authority.into()),
            ("endpoint", record.endpoint.map(|endpoint| endpoint.to_string()).into()),
            ("status", status.into()),
            ("error", error.into()),
        ],
    );
}

/// The head of the response is as it will be sent.
pub(crate) fn answered(record: &Record, response: &Response<Body>) {
    if let Some(watch) = record.telemetry.live() {
        let reason = record.line.as_ref().and_then(|line| line.reason.clone());
        let headers = live::headers(response.headers());
        watch.step("response", [("status", record.status.into()), ("reason", reason.into()), ("headers", headers)]);
    }
}

/// The last byte has been sent, or the client is gone.
pub(crate) fn ended(record: &Record, duration: std::time::Duration) {
    if let Some(watch) = record.telemetry.live() {
        let reason = record.line.as_ref().and_then(|line| line.reason.clone());
        let took = ("took_us", micros(duration));
        watch.step(
            "end",
            [("status", record.status.into()), ("bytes", record.bytes.into()), took, ("reason", reason.into())],
        );
    }
}
