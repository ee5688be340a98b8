//! What is counted about A2A: calls by operation, version and outcome, and the states in which tasks were seen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use agentgateway_telemetry::histogram::DurationHistogram;
use dashmap::DashMap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use crate::call::Version;
use crate::observe::TaskState;
use crate::operation::Operation;

/// All counters of A2A.
#[derive(Debug, Default)]
pub struct Metrics {
    backends: DashMap<String, Weak<BackendMetrics>>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The agent answered.
    Ok,
    /// The agent answered with an error.
    Error,
    /// The agent did not answer, or not as A2A has it.
    Failed,
    /// A rule did not allow it.
    Denied,
    /// It could not be read.
    Refused,
    /// A card from the cache, because the agent did not give it.
    Stale,
}

impl Outcome {
    const ALL: [Outcome; 6] =
        [Outcome::Ok, Outcome::Error, Outcome::Failed, Outcome::Denied, Outcome::Refused, Outcome::Stale];

    fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Error => "error",
            Outcome::Failed => "failed",
            Outcome::Denied => "denied",
            Outcome::Refused => "refused",
            Outcome::Stale => "stale",
        }
    }
}

/// What one backend counts.
#[derive(Debug)]
pub(crate) struct BackendMetrics {
    backend: String,
    calls: [[[AtomicU64; Outcome::ALL.len()]; Version::ALL.len()]; Operation::COUNT],
    durations: [DurationHistogram; Operation::COUNT],
    states: [AtomicU64; TaskState::ALL.len()],
}

impl BackendMetrics {
    pub(crate) fn call(&self, operation: Operation, version: Version, outcome: Outcome) {
        let calls = self.calls.get(operation as usize).and_then(|versions| versions.get(version as usize));
        if let Some(counter) = calls.and_then(|outcomes| outcomes.get(outcome as usize)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The agent began to answer after so long.
    pub(crate) fn answered(&self, operation: Operation, took: Duration) {
        if let Some(histogram) = self.durations.get(operation as usize) {
            histogram.observe(took);
        }
    }

    /// An answer told of a task in this state.
    pub(crate) fn state(&self, state: TaskState) {
        if let Some(counter) = self.states.get(state as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Metrics {
    /// The counters of a backend; the same as before when it was known.
    pub(crate) fn backend(&self, backend: &str) -> Arc<BackendMetrics> {
        let mut slot = self.backends.entry(backend.to_owned()).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new(BackendMetrics {
                backend: backend.to_owned(),
                calls: Default::default(),
                durations: Default::default(),
                states: Default::default(),
            });
            *slot = Arc::downgrade(&fresh);
            fresh
        })
    }

    /// Adds these metrics to a registry.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(A2aCollector(Arc::clone(self))));
    }
}

#[derive(Debug)]
struct A2aCollector(Arc<Metrics>);

impl Collector for A2aCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let metrics = &self.0;
        // A dead entry means that no configuration holds the backend any more.
        metrics.backends.retain(|_, backend| backend.strong_count() > 0);
        let backends: Vec<_> = metrics.backends.iter().filter_map(|b| b.upgrade()).collect();
        if backends.is_empty() {
            return Ok(());
        }
        let mut family = encoder.encode_descriptor(
            "agentgateway_a2a_requests",
            "Calls of agents, by operation, version of A2A and how they ended",
            None,
            MetricType::Counter,
        )?;
        for backend in &backends {
            for (operation, versions) in Operation::ALL.iter().zip(&backend.calls) {
                for (version, outcomes) in Version::ALL.iter().zip(versions) {
                    for (outcome, counter) in Outcome::ALL.iter().zip(outcomes) {
                        let count = counter.load(Ordering::Relaxed);
                        if count > 0 {
                            let labels = [
                                ("backend", &*backend.backend),
                                ("method", operation.as_str()),
                                ("version", version.as_str()),
                                ("outcome", outcome.as_str()),
                            ];
                            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                        }
                    }
                }
            }
        }
        let mut family = encoder.encode_descriptor(
            "agentgateway_a2a_request_duration_seconds",
            "Time until an agent began to answer",
            None,
            MetricType::Histogram,
        )?;
        for backend in &backends {
            for (operation, histogram) in Operation::ALL.iter().zip(&backend.durations) {
                let (sum, count, buckets) = histogram.read();
                if count > 0 {
                    let labels = [("backend", &*backend.backend), ("method", operation.as_str())];
                    family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
                }
            }
        }
        let mut family = encoder.encode_descriptor(
            "agentgateway_a2a_task_states",
            "Answers that told of a task, by the last state that they told",
            None,
            MetricType::Counter,
        )?;
        for backend in &backends {
            for (state, counter) in TaskState::ALL.iter().zip(&backend.states) {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = [("backend", &*backend.backend), ("state", state.as_str())];
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposes_what_was_counted() {
        let metrics = Arc::new(Metrics::default());
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let backend = metrics.backend("agents/weather");
        backend.call(Operation::SendMessage, Version::V1_0, Outcome::Ok);
        backend.call(Operation::Other, Version::Other, Outcome::Stale);
        backend.answered(Operation::SendMessage, Duration::from_millis(2));
        backend.state(TaskState::InputRequired);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"agentgateway_a2a_requests_total{backend="agents/weather",method="SendMessage",version="1.0",outcome="ok"} 1"#,
            r#"agentgateway_a2a_requests_total{backend="agents/weather",method="other",version="other",outcome="stale"} 1"#,
            r#"agentgateway_a2a_request_duration_seconds_count{backend="agents/weather",method="SendMessage"} 1"#,
            r#"agentgateway_a2a_task_states_total{backend="agents/weather",state="input-required"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
