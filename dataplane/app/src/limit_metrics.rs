//! What limits did, as metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agentgateway_policy::LimitCounters;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

/// Adds the counters of limits to the metrics.
pub(crate) fn register(registry: &mut Registry, counters: Arc<LimitCounters>) {
    registry.register_collector(Box::new(LimitCollector(counters)));
}

#[derive(Debug)]
struct LimitCollector(Arc<LimitCounters>);

impl Collector for LimitCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let refused = [
            ("local_rate", of(&self.0.rate_limited)),
            ("global_rate", of(&self.0.globally_limited)),
            ("overload", of(&self.0.shed)),
            ("concurrency", of(&self.0.concurrency_limited)),
        ];
        let mut family = encoder.encode_descriptor(
            "agentgateway_limited_requests",
            "Requests that were refused by a limit, by its kind",
            None,
            MetricType::Counter,
        )?;
        for (limit, count) in refused {
            ConstCounter::new(count).encode(family.encode_family(&[("limit", limit)])?)?;
        }
        let counters = [
            (
                "agentgateway_rate_limit_unavailable",
                "Times that a global rate limit could not be asked for",
                of(&self.0.unavailable),
            ),
            (
                "agentgateway_rate_limit_forgotten_keys",
                "Keys of local rate limits that made place for others before their buckets were full again",
                of(&self.0.forgotten_keys),
            ),
        ];
        for (name, help, value) in counters {
            ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}
