//! What is counted about MCP: requests by method and target, handshakes, sessions and processes.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use agentgateway_telemetry::histogram::DurationHistogram;
use dashmap::DashMap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::limits::COUNTED_TOOLS;
use crate::protocol::Method;

/// All counters of MCP.
#[derive(Debug, Default)]
pub struct Metrics {
    targets: DashMap<(String, String), Weak<TargetMetrics>>,
    /// Open sessions.
    pub(crate) sessions: AtomicI64,
    /// Sessions begun by a client.
    pub(crate) sessions_begun: AtomicU64,
    /// Sessions taken over from another process, or from before a restart.
    pub(crate) sessions_resumed: AtomicU64,
    /// Requests with a session id that is not known here.
    pub(crate) sessions_refused: AtomicU64,
    /// Sessions that nobody used for too long.
    pub(crate) sessions_expired: AtomicU64,
}

/// What one target of one backend counts.
#[derive(Debug)]
pub(crate) struct TargetMetrics {
    backend: String,
    target: String,
    methods: [MethodMetrics; Method::COUNT],
    handshakes: AtomicU64,
    handshakes_failed: AtomicU64,
    circuit: Circuit,
    /// Calls by the tool's own name, of tools that have once answered: clients can call what they like.
    tools: DashMap<Box<str>, Arc<MethodMetrics>>,
    /// Calls of all other tools.
    other_tools: Arc<MethodMetrics>,
}

/// Where a call of a tool is counted.
#[derive(Debug)]
pub(crate) enum Tool {
    Known(Arc<MethodMetrics>),
    /// One that has not answered yet, by its name.
    New(Box<str>),
}

/// Of its circuit breaker.
#[derive(Debug, Default)]
struct Circuit {
    /// It has one.
    exists: AtomicBool,
    is_open: AtomicBool,
    opened: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct MethodMetrics {
    succeeded: AtomicU64,
    failed: AtomicU64,
    duration: DurationHistogram,
}

impl MethodMetrics {
    fn count(&self, ok: bool, took: Duration) {
        let counter = if ok { &self.succeeded } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        self.duration.observe(took);
    }

    fn is_used(&self) -> bool {
        self.succeeded.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed) > 0
    }
}

impl TargetMetrics {
    /// Where calls of this tool are counted.
    pub(crate) fn tool(&self, name: &str) -> Tool {
        match self.tools.get(name) {
            Some(known) => Tool::Known(Arc::clone(&known)),
            None => Tool::New(name.into()),
        }
    }

    /// A call of a tool was answered, or failed, after so long.
    pub(crate) fn call(&self, tool: Tool, ok: bool, took: Duration) {
        match tool {
            Tool::Known(metrics) => metrics.count(ok, took),
            Tool::New(name) if ok && self.tools.len() < COUNTED_TOOLS => {
                self.tools.entry(name).or_default().count(ok, took);
            }
            Tool::New(_) => self.other_tools.count(ok, took),
        }
    }

    /// A request was answered, or failed, after so long.
    pub(crate) fn request(&self, method: Method, ok: bool, took: Duration) {
        if let Some(metrics) = self.methods.get(method as usize) {
            metrics.count(ok, took);
        }
    }

    pub(crate) fn handshake(&self, ok: bool) {
        let counter = if ok { &self.handshakes } else { &self.handshakes_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The state of its circuit breaker.
    pub(crate) fn circuit(&self, is_open: bool) {
        self.circuit.exists.store(true, Ordering::Relaxed);
        if !self.circuit.is_open.swap(is_open, Ordering::Relaxed) && is_open {
            self.circuit.opened.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request or handshake was refused because the circuit is open.
    pub(crate) fn circuit_refused(&self) {
        self.circuit.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// The counters of a target; the same as before when it was known.
    pub(crate) fn target(&self, backend: &str, target: &str) -> Arc<TargetMetrics> {
        let mut slot = self.targets.entry((backend.to_owned(), target.to_owned())).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new(TargetMetrics {
                backend: backend.to_owned(),
                target: target.to_owned(),
                methods: std::array::from_fn(|_| MethodMetrics::default()),
                handshakes: AtomicU64::new(0),
                handshakes_failed: AtomicU64::new(0),
                circuit: Circuit::default(),
                tools: DashMap::new(),
                other_tools: Arc::default(),
            });
            *slot = Arc::downgrade(&fresh);
            fresh
        })
    }

    /// Adds these metrics to a registry.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(McpCollector(Arc::clone(self))));
    }
}

#[derive(Debug)]
struct McpCollector(Arc<Metrics>);

impl Collector for McpCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let metrics = &self.0;
        // A dead entry means that no configuration holds the target any more.
        metrics.targets.retain(|_, target| target.strong_count() > 0);
        let targets: Vec<_> = metrics.targets.iter().filter_map(|t| t.upgrade()).collect();
        let mut family = encoder.encode_descriptor(
            "agentgateway_mcp_requests",
            "Requests to MCP targets, by method and whether the target answered",
            None,
            MetricType::Counter,
        )?;
        for target in &targets {
            for (method, metrics) in target.used() {
                for (outcome, counter) in [("ok", &metrics.succeeded), ("error", &metrics.failed)] {
                    let count = counter.load(Ordering::Relaxed);
                    if count > 0 {
                        let labels = [
                            ("backend", &*target.backend),
                            ("target", &*target.target),
                            ("method", method),
                            ("outcome", outcome),
                        ];
                        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                    }
                }
            }
        }
        let mut family = encoder.encode_descriptor(
            "agentgateway_mcp_request_duration_seconds",
            "Time until an MCP target began to answer",
            None,
            MetricType::Histogram,
        )?;
        for target in &targets {
            for (method, metrics) in target.used() {
                let labels = [("backend", &*target.backend), ("target", &*target.target), ("method", method)];
                let (sum, count, buckets) = metrics.duration.read();
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "agentgateway_mcp_tool_calls",
            "Calls of MCP tools, by whether the target answered; the empty name is all further tools",
            None,
            MetricType::Counter,
        )?;
        for target in &targets {
            for (tool, metrics) in target.used_tools() {
                for (outcome, counter) in [("ok", &metrics.succeeded), ("error", &metrics.failed)] {
                    let labels = [
                        ("backend", &*target.backend),
                        ("target", &*target.target),
                        ("tool", &*tool),
                        ("outcome", outcome),
                    ];
                    let count = counter.load(Ordering::Relaxed);
                    if count > 0 {
                        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                    }
                }
            }
        }
        let mut family = encoder.encode_descriptor(
            "agentgateway_mcp_tool_call_duration_seconds",
            "Time until an MCP target began to answer a call of a tool",
            None,
            MetricType::Histogram,
        )?;
        for target in &targets {
            for (tool, metrics) in target.used_tools() {
                let labels = [("backend", &*target.backend), ("target", &*target.target), ("tool", &*tool)];
                let (sum, count, buckets) = metrics.duration.read();
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "agentgateway_mcp_handshakes",
            "Sessions begun at MCP targets",
            None,
            MetricType::Counter,
        )?;
        for target in &targets {
            for (outcome, counter) in [("ok", &target.handshakes), ("error", &target.handshakes_failed)] {
                let labels = [("backend", &*target.backend), ("target", &*target.target), ("outcome", outcome)];
                ConstCounter::new(counter.load(Ordering::Relaxed)).encode(family.encode_family(&labels)?)?;
            }
        }
        let guarded: Vec<_> = targets.iter().filter(|t| t.circuit.exists.load(Ordering::Relaxed)).collect();
        let labels = |target: &TargetMetrics| [("backend", target.backend.clone()), ("target", target.target.clone())];
        let mut family = encoder.encode_descriptor(
            "agentgateway_mcp_target_circuit_open",
            "Whether the circuit breaker of an MCP target is open",
            None,
            MetricType::Gauge,
        )?;
        for target in &guarded {
            let open = i64::from(target.circuit.is_open.load(Ordering::Relaxed));
            ConstGauge::new(open).encode(family.encode_family(&labels(target))?)?;
        }
        let mut family = encoder.encode_descriptor(
            "agentgateway_mcp_target_circuit_opened",
            "How often the circuit breaker of an MCP target has opened",
            None,
            MetricType::Counter,
        )?;
        for target in &guarded {
            let opened = target.circuit.opened.load(Ordering::Relaxed);
            ConstCounter::new(opened).encode(family.encode_family(&labels(target))?)?;
        }
        let mut family = encoder.encode_descriptor(
            "agentgateway_mcp_target_circuit_refused",
            "Requests and handshakes that an open circuit breaker of an MCP target has refused",
            None,
            MetricType::Counter,
        )?;
        for target in &guarded {
            let refused = target.circuit.refused.load(Ordering::Relaxed);
            ConstCounter::new(refused).encode(family.encode_family(&labels(target))?)?;
        }
        let counters = [
            ("agentgateway_mcp_sessions_begun", "MCP sessions begun by clients", &metrics.sessions_begun),
            (
                "agentgateway_mcp_sessions_resumed",
                "MCP sessions taken over from another process",
                &metrics.sessions_resumed,
            ),
            ("agentgateway_mcp_sessions_refused", "Requests with an unknown MCP session id", &metrics.sessions_refused),
            (
                "agentgateway_mcp_sessions_expired",
                "MCP sessions dropped because nobody used them",
                &metrics.sessions_expired,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let open = ConstGauge::new(metrics.sessions.load(Ordering::Relaxed));
        open.encode(encoder.encode_descriptor(
            "agentgateway_mcp_sessions",
            "Open MCP sessions",
            None,
            MetricType::Gauge,
        )?)
    }
}

impl TargetMetrics {
    fn used(&self) -> impl Iterator<Item = (&'static str, &MethodMetrics)> {
        let named = Method::ALL.iter().map(|m| m.as_str()).zip(&self.methods);
        named.filter(|(_, metrics)| metrics.is_used())
    }

    /// Tools by name, and the rest by none.
    fn used_tools(&self) -> Vec<(String, Arc<MethodMetrics>)> {
        let mut all: Vec<_> = self.tools.iter().map(|t| (t.key().to_string(), Arc::clone(t.value()))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.push((String::new(), Arc::clone(&self.other_tools)));
        all.retain(|(_, metrics)| metrics.is_used());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_counted_by_name_as_far_as_they_exist() {
        let metrics = Metrics::default();
        let target = metrics.target("b", "t");
        let call = |name: &str, ok| target.call(target.tool(name), ok, Duration::from_millis(1));
        call("made up", false);
        call("a", true);
        call("a", false);
        for n in 0..2 * COUNTED_TOOLS {
            call(&format!("tool {n}"), true);
        }
        let used = target.used_tools();
        assert_eq!(used.len(), COUNTED_TOOLS + 1);
        let of = |name: &str| {
            let (_, metrics) = used.iter().find(|(tool, _)| tool == name).unwrap();
            (metrics.succeeded.load(Ordering::Relaxed), metrics.failed.load(Ordering::Relaxed))
        };
        assert_eq!(of("a"), (1, 1));
        assert_eq!(of(""), (COUNTED_TOOLS as u64 + 1, 1));
    }

    #[test]
    fn exposes_what_was_counted() {
        let metrics = Arc::new(Metrics::default());
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let target = metrics.target("mcp/github", "t");
        target.request(Method::ToolsCall, true, Duration::from_millis(2));
        target.request(Method::Other, false, Duration::from_millis(2));
        target.call(target.tool("search"), true, Duration::from_millis(2));
        target.handshake(true);
        target.circuit(true);
        target.circuit_refused();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"agentgateway_mcp_requests_total{backend="mcp/github",target="t",method="tools/call",outcome="ok"} 1"#,
            r#"agentgateway_mcp_requests_total{backend="mcp/github",target="t",method="other",outcome="error"} 1"#,
            r#"agentgateway_mcp_request_duration_seconds_count{backend="mcp/github",target="t",method="tools/call"} 1"#,
            r#"agentgateway_mcp_handshakes_total{backend="mcp/github",target="t",outcome="ok"} 1"#,
            r#"agentgateway_mcp_tool_calls_total{backend="mcp/github",target="t",tool="search",outcome="ok"} 1"#,
            r#"agentgateway_mcp_tool_call_duration_seconds_count{backend="mcp/github",target="t",tool="search"} 1"#,
            r#"agentgateway_mcp_target_circuit_open{backend="mcp/github",target="t"} 1"#,
            r#"agentgateway_mcp_target_circuit_opened_total{backend="mcp/github",target="t"} 1"#,
            r#"agentgateway_mcp_target_circuit_refused_total{backend="mcp/github",target="t"} 1"#,
            "agentgateway_mcp_sessions 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
