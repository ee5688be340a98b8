//! The `vllm:*` metrics, and what a test makes them say instead.

use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;

use crate::engine::Engine;

const BOUNDS: [f64; 12] = [0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 10.24];

#[derive(Debug, Default)]
pub(crate) struct Counters {
    first_token: Histogram,
    whole: Histogram,
    pub(crate) generation_tokens: u64,
    pub(crate) prompt_tokens: u64,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Counters {
    pub(crate) fn first_token(&mut self, took: Duration) {
        self.first_token.observe(took);
    }

    pub(crate) fn ended(&mut self, took: Duration) {
        self.whole.observe(took);
    }
}

impl Histogram {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.count += 1;
        self.sum += seconds;
        for (bucket, bound) in self.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let _ = writeln!(out, "# TYPE {name} histogram");
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\",{labels}}} {bucket}");
        }
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\",{labels}}} {}", self.count);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}\n{name}_sum{{{labels}}} {}", self.count, self.sum);
    }
}

/// What a server does instead of the truth, set by `POST /admin/config`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Fake {
    /// Values in the metrics, as text.
    pub(crate) waiting: Option<String>,
    pub(crate) running: Option<String>,
    pub(crate) usage: Option<String>,
    /// Other metrics are added until there are so many bytes.
    pub(crate) metrics_bytes: usize,
    /// The metrics are not answered.
    pub(crate) metrics_stall: bool,
    /// The metrics are answered with this status.
    pub(crate) metrics_status: Option<u16>,
    /// Completions are answered with this status.
    pub(crate) status: Option<u16>,
    /// Completions are never answered.
    pub(crate) stall: bool,
}

/// The text of `/metrics`.
pub(crate) fn text(engine: &Engine) -> String {
    let (p, fake) = (&engine.parameters, engine.fake.borrow());
    let labels = format!("engine=\"0\",model_name=\"{}\"", p.model);
    let gauge = |out: &mut String, name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(out, "# TYPE {name} gauge\n{name}{{{labels}}} {value}");
    };
    let mut out = String::with_capacity(4096);
    while out.len() < fake.metrics_bytes {
        let _ = writeln!(out, "python_gc_objects_collected_total{{generation=\"{}\"}} 1.0", out.len());
    }
    let text = |fake: &Option<String>, value: f64| fake.clone().unwrap_or_else(|| value.to_string());
    gauge(&mut out, "vllm:num_requests_running", &text(&fake.running, engine.running() as f64));
    gauge(&mut out, "vllm:num_requests_waiting", &text(&fake.waiting, engine.queue_length() as f64));
    let cache = engine.cache.borrow();
    let usage = cache.in_use() as f64 / p.kv_cache_size.max(1) as f64;
    gauge(&mut out, "vllm:kv_cache_usage_perc", &text(&fake.usage, usage));
    let _ = writeln!(
        out,
        "# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{block_size=\"{}\",num_gpu_blocks=\"{}\"}} 1.0",
        p.block_size, p.kv_cache_size
    );
    for (name, value) in [
        ("vllm:prefix_cache_queries_total", cache.queries),
        ("vllm:prefix_cache_hits_total", cache.hits),
        ("vllm:generation_tokens_total", engine.counters.borrow().generation_tokens),
        ("vllm:prompt_tokens_total", engine.counters.borrow().prompt_tokens),
    ] {
        let _ = writeln!(out, "# TYPE {name} counter\n{name}{{{labels}}} {value}");
    }
    if !p.lora_modules.is_empty() {
        let adapters = engine.adapters.borrow();
        let running: Vec<&str> = adapters.running().collect();
        let _ = writeln!(
            out,
            "# TYPE vllm:lora_requests_info gauge\nvllm:lora_requests_info{{max_lora=\"{}\",running_lora_adapters=\"{}\",waiting_lora_adapters=\"{}\"}} {}",
            p.max_loras,
            running.join(","),
            engine.waiting_adapters().join(","),
            adapters.changed
        );
    }
    let counters = engine.counters.borrow();
    counters.first_token.write(&mut out, "vllm:time_to_first_token_seconds", &labels);
    counters.whole.write(&mut out, "vllm:e2e_request_latency_seconds", &labels);
    out
}
