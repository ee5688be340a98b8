//! The discovery client's state as metrics.

use std::sync::Arc;

use agentgateway_xds_client::Status;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Adds the state of the discovery client to the metrics.
pub(crate) fn register(registry: &mut Registry, status: Arc<Status>) {
    registry.register_collector(Box::new(DiscoveryCollector(status)));
}

#[derive(Debug)]
struct DiscoveryCollector(Arc<Status>);

impl Collector for DiscoveryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let status = &self.0;
        let age = status.age().map_or(-1.0, |a| a.as_secs_f64());
        let gauges = [
            (
                "agentgateway_xds_connected",
                "Whether the control plane is connected (1) or not (0)",
                f64::from(u8::from(status.connected())),
            ),
            (
                "agentgateway_xds_config_age_seconds",
                "Time since the control plane confirmed the configuration in use; -1 without one",
                age,
            ),
        ];
        for (name, help, value) in gauges {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let rejected = i64::try_from(status.rejected()).unwrap_or(i64::MAX);
        ConstGauge::new(rejected).encode(encoder.encode_descriptor(
            "agentgateway_xds_rejected_resources",
            "Resources of the configuration in use that could not be applied",
            None,
            MetricType::Gauge,
        )?)?;
        let counters = [
            ("agentgateway_xds_connects", "Streams opened to the control plane", status.connects()),
            ("agentgateway_xds_generations", "Configurations applied", status.generations()),
        ];
        for (name, help, value) in counters {
            ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}
