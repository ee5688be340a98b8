//! What the control plane counts besides its streams.

use std::sync::{Arc, Mutex, PoisonError};

use agentgateway_controlplane_translate::{Counters, ObjectKind};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Label = [(&'static str, &'static str); 1];
type TwoLabels = [(&'static str, &'static str); 2];

/// Metrics of the process; a clone counts into the same.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Those of the discovery server.
    pub(crate) xds: agentgateway_controlplane_xds::Metrics,
    /// Seconds per call of the translator.
    pub(crate) translate_seconds: Histogram,
    /// 1 while this replica is the leader.
    pub(crate) leader: Gauge,
    status_writes: Family<TwoLabels, Counter>,
    /// Objects that do not fit our types at present.
    pub(crate) unreadable: Gauge,
    translated: Family<Label, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Metrics {
            registry: Arc::new(Mutex::new(Registry::with_prefix("agentgateway_controlplane"))),
            xds: agentgateway_controlplane_xds::Metrics::default(),
            translate_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            leader: Gauge::default(),
            status_writes: Family::default(),
            unreadable: Gauge::default(),
            translated: Family::default(),
        };
        let mut registry = metrics.registry.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.xds.register(&mut registry);
        registry.register("translate_seconds", "Time per translation", metrics.translate_seconds.clone());
        registry.register("leader", "1 while this replica is the leader", metrics.leader.clone());
        registry.register(
            "status_writes",
            "Attempts to write a status, by kind and outcome: written, overtaken by a newer state of the object, refused by \
             the API server, failed and tried again",
            metrics.status_writes.clone(),
        );
        registry.register("unreadable_objects", "Objects that do not fit our types", metrics.unreadable.clone());
        registry.register(
            "translated_objects",
            "Translations of single objects since the start, by kind",
            metrics.translated.clone(),
        );
        drop(registry);
        metrics
    }
}

impl Metrics {
    /// Takes over the translator's own counters.
    pub(crate) fn translated(&self, counters: Counters) {
        let kinds = [
            ("Gateway", counters.gateways),
            ("HTTPRoute", counters.routes),
            ("Backend", counters.backends),
            ("TrafficPolicy", counters.policies),
        ];
        for (kind, count) in kinds {
            let gauge = self.translated.get_or_create_owned(&[("kind", kind)]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// An attempt to write a status.
    pub(crate) fn status_write(&self, kind: ObjectKind, outcome: &'static str) {
        self.status_writes.get_or_create_owned(&[("kind", kind.kind()), ("outcome", outcome)]).inc();
    }

    /// In the text format of OpenMetrics.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}
