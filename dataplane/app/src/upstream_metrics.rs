//! Backends with policies about their endpoints, as metrics.

use std::sync::Arc;

use agentgateway_proto::key;
use agentgateway_upstream::balancer::{BalancerReport, Balancers};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Adds what is known of these backends to the metrics.
pub(crate) fn register(registry: &mut Registry, balancers: Arc<Balancers>) {
    registry.register_collector(Box::new(UpstreamCollector(balancers)));
}

#[derive(Debug)]
struct UpstreamCollector(Arc<Balancers>);

type Read = fn(&BalancerReport) -> usize;

const GAUGES: [(&str, &str, Read); 4] = [
    ("agentgateway_upstream_endpoints", "Endpoints of a backend", |b| b.endpoints.len()),
    ("agentgateway_upstream_endpoints_serving", "Endpoints that get requests", |b| b.serving),
    ("agentgateway_upstream_endpoints_ejected", "Endpoints that are ejected for their failures", |b| {
        b.endpoints.iter().filter(|e| e.ejected).count()
    }),
    ("agentgateway_upstream_endpoints_unhealthy", "Endpoints that are unhealthy by their health checks", |b| {
        b.endpoints.iter().filter(|e| e.unhealthy).count()
    }),
];

impl Collector for UpstreamCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let all: Vec<(String, BalancerReport)> =
            self.0.read().into_iter().map(|b| (key::print_backend_key(&b.key), b)).collect();
        for (name, help, read) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (backend, report) in &all {
                let value = i64::try_from(read(report)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&[("backend", backend.as_str())])?)?;
            }
        }
        let (name, help) = ("agentgateway_upstream_ejections", "Times that an endpoint was ejected for its failures");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (backend, report) in &all {
            let counter = ConstCounter::new(report.ejections);
            counter.encode(family.encode_family(&[("backend", backend.as_str())])?)?;
        }
        let (name, help) = ("agentgateway_upstream_in_use", "What a backend has of what its circuit breakers bound");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (backend, report) in &all {
            for (bound, now, _) in &report.bounds {
                let labels = [("backend", backend.as_str()), ("of", bound.name())];
                ConstGauge::new(i64::from(*now)).encode(family.encode_family(&labels)?)?;
            }
        }
        let (name, help) = ("agentgateway_upstream_refused", "Times that a circuit breaker or retry budget said no");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (backend, report) in &all {
            for (bound, _, refused) in &report.bounds {
                let labels = [("backend", backend.as_str()), ("of", bound.name())];
                ConstCounter::new(*refused).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
