//! A response body that tells when it ends: for the metrics and the access log, without a box.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use agentgateway_policy::Permits;
use agentgateway_telemetry::RequestTelemetry;
use agentgateway_telemetry::access_log::Entry;
use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::connection::registry::Busy;
use crate::live;
use crate::observe::Observed;
use crate::snapshot::{Listener, Route};
use crate::tunnel::Tunnel;
use crate::worker::Worker;

/// What is remembered of a request until its response has been sent.
pub(crate) struct Record {
    pub(crate) worker: Rc<Worker>,
    pub(crate) start: Instant,
    pub(crate) busy: Busy,
    pub(crate) listener: Option<Arc<Listener>>,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    /// What the request holds of concurrency limits.
    pub(crate) permits: Permits,
    /// Whether the request must not be sent again: a backend may have it already.
    pub(crate) once: bool,
    /// The one that answered, or was asked last.
    pub(crate) endpoint: Option<std::net::SocketAddr>,
    /// Also in the hands of policies, of the backend and of the response's body, which is dropped before the record.
    pub(crate) telemetry: RequestTelemetry,
    /// Only when the request is logged or observed.
    pub(crate) line: Option<Box<Line>>,
    /// Only when policies want to know of it.
    pub(crate) observed: Option<Box<Observed>>,
    /// Only when the connection switches protocols.
    pub(crate) tunnel: Option<Box<Tunnel>>,
}

/// What only those who record the request want to know.
pub(crate) struct Line {
    pub(crate) source: std::net::SocketAddr,
    pub(crate) method: http::Method,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) version: http::Version,
    pub(crate) reason: Option<String>,
}

impl Record {
    /// Sets the reason where a line is written.
    pub(crate) fn because(&mut self, reason: impl Into<String>) {
        if let Some(line) = &mut self.line {
            line.reason = Some(reason.into());
        }
    }

    /// Notes that the request is sent once more.
    pub(crate) fn retried(&self) {
        self.telemetry.add("retries", 1);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let now = Instant::now();
        self.busy.ended(now);
        let duration = now.duration_since(self.start);
        match (&self.route, &self.listener) {
            (Some(route), _) => route.metrics.responses.count(self.status),
            (None, Some(listener)) => listener.metrics.unmatched.count(self.status),
            (None, None) => {}
        }
        if let Some(listener) = &self.listener {
            listener.metrics.duration.observe(duration);
        }
        live::ended(self, duration);
        let observed = self.observed.take();
        if let (Some(line), Some(observed)) = (&self.line, &observed) {
            observed.tell(self, line, duration);
        }
        let is_logged = observed.is_some_and(|observed| observed.has_logs());
        if let (Some(line), Some(log), false) = (&self.line, &self.worker.access_log, is_logged) {
            self.telemetry.with(|fields| {
                log.write(&Entry {
                    listener: self.listener.as_ref().map_or("", |l| &l.printed),
                    route: self.route.as_ref().map_or("", |r| &r.printed),
                    source: line.source,
                    method: line.method.as_str(),
                    host: &line.host,
                    path: &line.path,
                    version: version(line.version),
                    status: self.status,
                    duration,
                    bytes: self.bytes,
                    endpoint: self.endpoint,
                    reason: line.reason.as_deref(),
                    fields,
                })
            });
        }
    }
}

pub(crate) fn version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 | http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// A response body with the record of its request.
pub(crate) struct Tracked {
    pub(crate) body: Body,
    /// None where a tunnel has it.
    pub(crate) record: Option<Record>,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let Some(record) = &mut self.record else { return Poll::Ready(frame) };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    record.bytes += data.len() as u64;
                }
            }
            Some(Err(error)) => record.because(format!("response_broken: {error}")),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
