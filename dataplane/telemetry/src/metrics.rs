//! The metrics of the gateway's traffic, and how they are exposed in the OpenMetrics text format.

mod streams;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub use streams::{HandshakeFailure, HandshakeMetrics, StreamMetrics};

use crate::counters::StatusCounters;
use crate::histogram::DurationHistogram;

/// What one route counts. Kept for as long as a configuration holds the route.
#[derive(Debug)]
pub struct RouteMetrics {
    gateway: Arc<str>,
    listener: Arc<str>,
    route: Arc<str>,
    /// Responses by status.
    pub responses: StatusCounters,
}

/// What one listener counts.
#[derive(Debug)]
pub struct ListenerMetrics {
    gateway: Arc<str>,
    listener: Arc<str>,
    /// Requests that no route matched.
    pub unmatched: StatusCounters,
    /// From the head of the request to the end of the response.
    pub duration: DurationHistogram,
}

impl ListenerMetrics {
    fn labels(&self) -> [(&'static str, String); 2] {
        [("gateway", self.gateway.to_string()), ("listener", self.listener.to_string())]
    }
}

/// All counters.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    routes: DashMap<Arc<str>, Weak<RouteMetrics>>,
    listeners: DashMap<String, Weak<ListenerMetrics>>,
    streams: DashMap<String, Weak<StreamMetrics>>,
    /// TLS with clients.
    pub handshakes: HandshakeMetrics,
    /// Open connections from clients.
    pub connections: AtomicI64,
    /// Connections accepted since the start.
    pub accepted: AtomicU64,
    /// Connections that were given to another worker to even the load out.
    pub handed_over: AtomicU64,
    /// Connections refused because there were too many.
    pub refused: AtomicU64,
    /// Connections closed for want of a PROXY protocol header that can be used.
    pub proxy_protocol_failures: AtomicU64,
    /// Requests sent again.
    pub retries: AtomicU64,
    /// Copies of requests for mirrors.
    pub mirrored: AtomicU64,
    /// Of these, those that were not answered completely.
    pub mirror_failures: AtomicU64,
    /// Connections that switched protocols.
    pub upgrades: AtomicU64,
    /// Lines of the access log that were dropped because its reader was too slow.
    pub access_log_dropped: AtomicU64,
    /// Times that a worker did not get to its tasks for longer than it should.
    pub worker_stalls: AtomicU64,
}

impl HttpMetrics {
    /// The counters of a route; the same as before when the route was known. There may be many routes: what they are called is
    /// shared with whoever knows them.
    pub fn route(&self, key: &Arc<str>, listener: &ListenerMetrics, route: &Arc<str>) -> Arc<RouteMetrics> {
        let mut slot = self.routes.entry(Arc::clone(key)).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new(RouteMetrics {
                gateway: Arc::clone(&listener.gateway),
                listener: Arc::clone(&listener.listener),
                route: Arc::clone(route),
                responses: StatusCounters::default(),
            });
            *slot = Arc::downgrade(&fresh);
            fresh
        })
    }

    /// The counters of a listener; the same as before when the listener was known.
    pub fn listener(&self, key: &str, gateway: &str, listener: &str) -> Arc<ListenerMetrics> {
        let mut slot = self.listeners.entry(key.to_owned()).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new(ListenerMetrics {
                gateway: gateway.into(),
                listener: listener.into(),
                unmatched: StatusCounters::default(),
                duration: DurationHistogram::default(),
            });
            *slot = Arc::downgrade(&fresh);
            fresh
        })
    }

    /// The counters of a listener of streams; the same as before when the listener was known.
    pub fn streams(&self, key: &str, gateway: &str, listener: &str) -> Arc<StreamMetrics> {
        let mut slot = self.streams.entry(key.to_owned()).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new(StreamMetrics::new(gateway, listener));
            *slot = Arc::downgrade(&fresh);
            fresh
        })
    }

    /// Adds these metrics to a registry.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(HttpCollector(Arc::clone(self))));
    }
}

#[derive(Debug)]
struct HttpCollector(Arc<HttpMetrics>);

impl Collector for HttpCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let m = &self.0;
        // A dead entry means that no configuration holds the route any more.
        m.routes.retain(|_, r| r.strong_count() > 0);
        m.listeners.retain(|_, l| l.strong_count() > 0);
        m.streams.retain(|_, s| s.strong_count() > 0);
        let mut family = encoder.encode_descriptor(
            "agentgateway_requests",
            "Responses sent, by gateway, listener, route (empty when none matched) and status",
            None,
            MetricType::Counter,
        )?;
        let mut responses = |labels: &[(&'static str, String)], counters: &StatusCounters| {
            for (status, count) in counters.read() {
                let mut all: Vec<(&str, String)> = labels.to_vec();
                all.push(("status", status.to_string()));
                ConstCounter::new(count).encode(family.encode_family(&all)?)?;
            }
            Ok::<(), std::fmt::Error>(())
        };
        for route in m.routes.iter().filter_map(|r| r.upgrade()) {
            let labels = [("gateway", &route.gateway), ("listener", &route.listener), ("route", &route.route)];
            responses(&labels.map(|(name, value)| (name, value.to_string())), &route.responses)?;
        }
        for listener in m.listeners.iter().filter_map(|l| l.upgrade()) {
            let [gateway, name] = listener.labels();
            responses(&[gateway, name, ("route", String::new())], &listener.unmatched)?;
        }
        let mut family = encoder.encode_descriptor(
            "agentgateway_request_duration_seconds",
            "Time from the head of a request to the end of its response",
            None,
            MetricType::Histogram,
        )?;
        for listener in m.listeners.iter().filter_map(|l| l.upgrade()) {
            let (sum, count, buckets) = listener.duration.read();
            family
                .encode_family(&listener.labels())?
                .encode_histogram::<prometheus_client::encoding::NoLabelSet>(sum, count, &buckets, None)?;
        }
        let counters = [
            ("agentgateway_downstream_accepted", "Connections accepted from clients", &m.accepted),
            ("agentgateway_downstream_handed_over", "Connections given to a less loaded worker", &m.handed_over),
            ("agentgateway_downstream_refused", "Connections refused because too many were open", &m.refused),
            (
                "agentgateway_proxy_protocol_failures",
                "Connections closed for want of a PROXY protocol header that can be used",
                &m.proxy_protocol_failures,
            ),
            ("agentgateway_retries", "Requests sent again", &m.retries),
            ("agentgateway_mirrored", "Copies of requests for mirrors", &m.mirrored),
            ("agentgateway_mirror_failures", "Copies of requests that a mirror did not answer", &m.mirror_failures),
            ("agentgateway_upgrades", "Connections that switched protocols, WebSockets for one", &m.upgrades),
            (
                "agentgateway_access_log_dropped",
                "Access log lines dropped because the reader was slow",
                &m.access_log_dropped,
            ),
            ("agentgateway_worker_stalls", "Times a worker did not reach its tasks in time", &m.worker_stalls),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        m.handshakes.encode(&mut encoder)?;
        let streams: Vec<_> = m.streams.iter().filter_map(|s| s.upgrade()).collect();
        streams::encode(&streams, &mut encoder)?;
        let open = ConstGauge::new(m.connections.load(Ordering::Relaxed));
        open.encode(encoder.encode_descriptor(
            "agentgateway_downstream_connections",
            "Open connections from clients",
            None,
            MetricType::Gauge,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposes_what_was_counted_and_forgets_what_is_gone() {
        let metrics = Arc::new(HttpMetrics::default());
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let listener = metrics.listener("l", "ns/gw", "http");
        let (key, name) = ("k".into(), "ns/r.0.0".into());
        let route = metrics.route(&key, &listener, &name);
        route.responses.count(200);
        assert!(Arc::ptr_eq(&route, &metrics.route(&key, &listener, &name)));
        listener.unmatched.count(404);
        listener.duration.observe(std::time::Duration::from_millis(3));
        let text = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
            text
        };
        let all = text();
        let line = r#"agentgateway_requests_total{gateway="ns/gw",listener="http",route="ns/r.0.0",status="200"} 1"#;
        assert!(all.contains(line), "{all}");
        assert!(all.contains(r#"route="",status="404"} 1"#), "{all}");
        assert!(all.contains(r#"agentgateway_request_duration_seconds_bucket{le="0.005","#), "{all}");
        drop(route);
        assert!(!text().contains("ns/r.0.0"));
        let streams = metrics.streams("s", "ns/gw", "tcp");
        streams.sent.fetch_add(5, Ordering::Relaxed);
        metrics.handshakes.failed(HandshakeFailure::ClientCertificate);
        let all = text();
        assert!(all.contains(r#"agentgateway_stream_sent_bytes_total{gateway="ns/gw",listener="tcp"} 5"#), "{all}");
        assert!(all.contains(r#"handshake_failures_total{reason="client_certificate"} 1"#), "{all}");
    }
}
