//! What the discovery server counts.

use agentgateway_proto::kind::Kind;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type PerKind = Family<[(&'static str, &'static str); 1], Counter>;

/// Counters of all streams together; a clone counts into the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Open streams.
    pub streams: Gauge,
    /// Pushes begun.
    pub pushes: Counter,
    /// Bytes of resources sent.
    pub bytes: Counter,
    /// Peers refused.
    pub refused: Counter,
    /// Seconds from the begin of a push to the answer to its last response.
    pub push_seconds: Histogram,
    sent: PerKind,
    removed: PerKind,
    rejected: PerKind,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            streams: Gauge::default(),
            pushes: Counter::default(),
            bytes: Counter::default(),
            refused: Counter::default(),
            push_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            sent: PerKind::default(),
            removed: PerKind::default(),
            rejected: PerKind::default(),
        }
    }
}

impl Metrics {
    /// Makes them part of a registry.
    pub fn register(&self, registry: &mut Registry) {
        let xds = registry.sub_registry_with_prefix("xds");
        xds.register("streams", "Open discovery streams", self.streams.clone());
        xds.register("pushes", "Pushes begun", self.pushes.clone());
        xds.register("sent_bytes", "Bytes of resources sent", self.bytes.clone());
        xds.register(
            "refused_peers",
            "Peers without a valid token, or asking for another gateway",
            self.refused.clone(),
        );
        xds.register(
            "push_seconds",
            "Time from the begin of a push to the proxy's last answer",
            self.push_seconds.clone(),
        );
        xds.register("resources_sent", "Resources sent, by kind", self.sent.clone());
        xds.register("resources_removed", "Removals sent, by kind", self.removed.clone());
        xds.register("resources_rejected", "Resources that a proxy could not apply, by kind", self.rejected.clone());
    }

    /// Resources of a kind sent so far.
    pub fn sent(&self, kind: Kind) -> Counter {
        self.sent.get_or_create_owned(&[("kind", kind.message())])
    }

    /// Removals of a kind sent so far.
    pub fn removed(&self, kind: Kind) -> Counter {
        self.removed.get_or_create_owned(&[("kind", kind.message())])
    }

    /// Rejections of a kind received so far.
    pub fn rejected(&self, kind: Kind) -> Counter {
        self.rejected.get_or_create_owned(&[("kind", kind.message())])
    }
}
