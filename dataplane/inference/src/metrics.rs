//! What is counted of pools.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agentgateway_telemetry::histogram::DurationHistogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::backend::Shared;
use crate::flow::Dropped;
use crate::picker::ScorerKind;
use crate::state::Counters;

/// Adds the counters of all pools.
pub(crate) fn register(registry: &mut Registry, shared: Arc<Shared>) {
    registry.register_collector(Box::new(PoolCollector(shared)));
}

#[derive(Debug)]
struct PoolCollector(Arc<Shared>);

type Read = fn(&Counters) -> &AtomicU64;
type ReadTimes = fn(&Counters) -> &DurationHistogram;

const COUNTERS: [(&str, &str, Read); 6] = [
    ("agentgateway_inference_prompt_blocks", "Blocks of prompts", |c| &c.blocks),
    (
        "agentgateway_inference_prompt_blocks_cached",
        "Blocks that the chosen endpoint had by what was sent to it",
        |c| &c.blocks_cached,
    ),
    ("agentgateway_inference_fallbacks", "Requests that went to another endpoint than the best", |c| &c.fallbacks),
    ("agentgateway_inference_picker_failures", "Requests for which the external picker did not choose", |c| {
        &c.picker_failures
    }),
    ("agentgateway_inference_picker_answers", "Requests that the external picker answered itself", |c| {
        &c.picker_answers
    }),
    ("agentgateway_inference_rewritten", "Requests whose model was rewritten", |c| &c.rewritten),
];

const TIMES: [(&str, &str, ReadTimes); 2] = [
    ("agentgateway_inference_choice_duration_seconds", "Time that choices of an endpoint took", |c| &c.choosing),
    (
        "agentgateway_inference_first_byte_seconds",
        "From the request to the first byte of the answer's body; with streams the time to the first token",
        |c| &c.first_byte,
    ),
];

impl Collector for PoolCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut pools = self.0.pools();
        // One that is being replaced shares its state with the next.
        pools.sort_by(|a, b| a.state.printed.cmp(&b.state.printed));
        pools.dedup_by(|a, b| a.key == b.key);
        let mut family = encoder.encode_descriptor(
            "agentgateway_inference_choices",
            "Choices of an endpoint, by the scorer that decided",
            None,
            MetricType::Counter,
        )?;
        for pool in &pools {
            let names = ScorerKind::ALL.iter().map(|kind| kind.name()).chain(["none"]);
            for (name, counter) in names.zip(&pool.state.counters.choices) {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = [("pool", pool.state.printed.as_str()), ("reason", name)];
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let help = "Requests that were dropped, by the reason";
        let mut family =
            encoder.encode_descriptor("agentgateway_inference_dropped", help, None, MetricType::Counter)?;
        for pool in &pools {
            for (dropped, counter) in Dropped::ALL.iter().zip(&pool.state.counters.dropped) {
                let labels = [("pool", pool.state.printed.as_str()), ("reason", dropped.reason())];
                let count = counter.load(Ordering::Relaxed);
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Requests that wait in the proxy for a saturated pool";
        let mut family = encoder.encode_descriptor("agentgateway_inference_waiting", help, None, MetricType::Gauge)?;
        for pool in &pools {
            let gauge = ConstGauge::new(i64::try_from(pool.state.flow.waiting()).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("pool", pool.state.printed.as_str())])?)?;
        }
        for (name, help, read) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for pool in &pools {
                let counter = ConstCounter::new(read(&pool.state.counters).load(Ordering::Relaxed));
                counter.encode(family.encode_family(&[("pool", pool.state.printed.as_str())])?)?;
            }
        }
        for (name, help, read) in TIMES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for pool in &pools {
                let (sum, count, buckets) = read(&pool.state.counters).read();
                let labels = [("pool", pool.state.printed.as_str())];
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        let help = "Endpoints of a pool, by whether their metrics are of now";
        let mut family =
            encoder.encode_descriptor("agentgateway_inference_endpoints", help, None, MetricType::Gauge)?;
        for pool in &pools {
            let (all, fresh) = pool.counts();
            for (state, count) in [("fresh", fresh), ("stale", all.saturating_sub(fresh))] {
                let labels = [("pool", pool.state.printed.as_str()), ("metrics", state)];
                let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
                gauge.encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "How near to full a pool is by queues and KV caches; 1 and more is saturated";
        let mut family =
            encoder.encode_descriptor("agentgateway_inference_saturation", help, None, MetricType::Gauge)?;
        for pool in &pools {
            let labels = [("pool", pool.state.printed.as_str())];
            ConstGauge::new(f64::from(pool.saturation())).encode(family.encode_family(&labels)?)?;
        }
        let (readings, failures) = self.0.readers.counts();
        let help = "Times that the metrics of a model server were read, by whether they could be used";
        let mut family =
            encoder.encode_descriptor("agentgateway_inference_metrics_readings", help, None, MetricType::Counter)?;
        for (outcome, count) in [("ok", readings), ("error", failures)] {
            ConstCounter::new(count).encode(family.encode_family(&[("outcome", outcome)])?)?;
        }
        Ok(())
    }
}
