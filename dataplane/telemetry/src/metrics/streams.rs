//! What listeners of streams (TCP, TLS without HTTP, UDP) count, and TLS handshakes.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// What one listener of streams counts. A UDP session is a stream too.
#[derive(Debug)]
pub struct StreamMetrics {
    pub(crate) labels: Vec<(&'static str, String)>,
    /// Streams that began.
    pub begun: AtomicU64,
    /// Streams that are open.
    pub open: AtomicI64,
    /// Streams that no backend got, or that broke.
    pub failed: AtomicU64,
    /// Bytes from clients.
    pub received: AtomicU64,
    /// Bytes to clients.
    pub sent: AtomicU64,
    /// Datagrams that were dropped: too many sessions, no backend, a full buffer.
    pub dropped: AtomicU64,
}

impl StreamMetrics {
    pub(crate) fn new(gateway: &str, listener: &str) -> Self {
        StreamMetrics {
            labels: vec![("gateway", gateway.to_owned()), ("listener", listener.to_owned())],
            begun: AtomicU64::new(0),
            open: AtomicI64::new(0),
            failed: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }
}

/// Why a TLS handshake with a client did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// What the client sent is no ClientHello.
    NotTls,
    /// No listener has the server name.
    NoListener,
    /// The listener's TLS settings cannot be used.
    Configuration,
    /// It did not end in time.
    Timeout,
    /// The client showed no valid certificate where it must.
    ClientCertificate,
    /// Nothing in common, a broken message, an alert of the client.
    Protocol,
}

impl HandshakeFailure {
    const ALL: [HandshakeFailure; 6] = [
        HandshakeFailure::NotTls,
        HandshakeFailure::NoListener,
        HandshakeFailure::Configuration,
        HandshakeFailure::Timeout,
        HandshakeFailure::ClientCertificate,
        HandshakeFailure::Protocol,
    ];

    /// A word for labels and the access log.
    pub fn reason(self) -> &'static str {
        match self {
            HandshakeFailure::NotTls => "not_tls",
            HandshakeFailure::NoListener => "no_listener",
            HandshakeFailure::Configuration => "configuration",
            HandshakeFailure::Timeout => "timeout",
            HandshakeFailure::ClientCertificate => "client_certificate",
            HandshakeFailure::Protocol => "protocol",
        }
    }
}

/// TLS handshakes with clients.
#[derive(Debug, Default)]
pub struct HandshakeMetrics {
    /// Those that ended well.
    pub completed: AtomicU64,
    failed: [AtomicU64; HandshakeFailure::ALL.len()],
}

impl HandshakeMetrics {
    /// Counts one that failed.
    pub fn failed(&self, why: HandshakeFailure) {
        let place = HandshakeFailure::ALL.iter().position(|f| *f == why);
        if let Some(counter) = place.and_then(|at| self.failed.get(at)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let completed = ConstCounter::new(self.completed.load(Ordering::Relaxed));
        let help = "TLS handshakes with clients that ended well";
        let family = encoder.encode_descriptor("agentgateway_tls_handshakes", help, None, MetricType::Counter)?;
        completed.encode(family)?;
        let help = "TLS handshakes with clients that failed, by reason";
        let name = "agentgateway_tls_handshake_failures";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (why, counter) in HandshakeFailure::ALL.iter().zip(&self.failed) {
            let counter = ConstCounter::new(counter.load(Ordering::Relaxed));
            counter.encode(family.encode_family(&[("reason", why.reason())])?)?;
        }
        Ok(())
    }
}

/// Writes the metrics of all listeners of streams.
pub(crate) fn encode(
    listeners: &[std::sync::Arc<StreamMetrics>],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), std::fmt::Error> {
    type Read = fn(&StreamMetrics) -> &AtomicU64;
    let counters: [(&str, &str, Read); 5] = [
        ("agentgateway_streams", "TCP connections and UDP sessions of listeners without HTTP", |m| &m.begun),
        ("agentgateway_stream_failures", "Streams that no backend got, or that broke", |m| &m.failed),
        ("agentgateway_stream_received_bytes", "Bytes from clients of streams", |m| &m.received),
        ("agentgateway_stream_sent_bytes", "Bytes to clients of streams", |m| &m.sent),
        ("agentgateway_dropped_datagrams", "Datagrams that were dropped", |m| &m.dropped),
    ];
    for (name, help, read) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for listener in listeners {
            let counter = ConstCounter::new(read(listener).load(Ordering::Relaxed));
            counter.encode(family.encode_family(&listener.labels)?)?;
        }
    }
    let name = "agentgateway_open_streams";
    let mut family = encoder.encode_descriptor(name, "Streams that are open", None, MetricType::Gauge)?;
    for listener in listeners {
        let open = ConstGauge::new(listener.open.load(Ordering::Relaxed));
        open.encode(family.encode_family(&listener.labels)?)?;
    }
    Ok(())
}
