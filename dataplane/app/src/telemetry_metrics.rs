//! Metrics of telemetry itself, and those with labels that policies define.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agentgateway_policy::State;
use agentgateway_telemetry::labels::Counts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

/// Adds these metrics to the others.
pub(crate) fn register(registry: &mut Registry, state: Arc<State>) {
    registry.register_collector(Box::new(TelemetryCollector(state)));
}

#[derive(Debug)]
struct TelemetryCollector(Arc<State>);

impl Collector for TelemetryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counters = self.0.exporters().counters();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, help, value) in [
            ("agentgateway_telemetry_exported", "Spans and log records that a collector took", of(&counters.exported)),
            (
                "agentgateway_telemetry_overflowed",
                "Spans and log records that were dropped because too many waited",
                of(&counters.overflowed),
            ),
            (
                "agentgateway_telemetry_failed",
                "Spans and log records that a collector did not take",
                of(&counters.failed),
            ),
            (
                "agentgateway_access_log_lines_dropped",
                "Lines of policies' access logs that were dropped because they could not be written",
                self.0.sinks().dropped(),
            ),
        ] {
            ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        self.labelled(&mut encoder)
    }
}

impl TelemetryCollector {
    fn labelled(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        type Read = fn(&Counts) -> &AtomicU64;
        let families: [(&str, &str, Read); 5] = [
            ("agentgateway_labelled_requests", "Requests by the labels of metrics policies", |c| &c.requests),
            ("agentgateway_labelled_failed_requests", "Of these, those with a status from 400", |c| &c.failed),
            ("agentgateway_labelled_duration_microseconds", "Time that they took together", |c| {
                &c.duration_microseconds
            }),
            ("agentgateway_labelled_input_tokens", "Tokens of language models that they sent", |c| &c.input_tokens),
            ("agentgateway_labelled_output_tokens", "Tokens of language models that they got", |c| &c.output_tokens),
        ];
        let tables = self.0.label_tables();
        // Policies of one name count together, and so do those that differ in their labels side by side.
        let all: Vec<_> =
            tables.iter().flat_map(|table| table.read().into_iter().map(move |row| (table, row))).collect();
        let mut sums = std::collections::BTreeMap::<Vec<(String, String)>, [u64; 5]>::new();
        for (table, (values, counts)) in all {
            let labels = table.labels().iter().zip(&values);
            let labels = labels.map(|(label, value)| (label.name.to_string(), value.to_string())).collect();
            let sum = sums.entry(labels).or_default();
            for (sum, (_, _, read)) in sum.iter_mut().zip(&families) {
                *sum += read(&counts).load(Ordering::Relaxed);
            }
        }
        for (nth, (name, help, _)) in families.into_iter().enumerate() {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, sum) in &sums {
                let value = sum.get(nth).copied().unwrap_or_default();
                ConstCounter::new(value).encode(family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}
