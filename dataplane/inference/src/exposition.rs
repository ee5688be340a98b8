//! Reads the few numbers that count out of a model server's metrics (Prometheus text format), line by line as they come.

use std::collections::BTreeMap;

use agentgateway_proto::v1::inference_metrics::Engine;

use crate::limits::{MAX_ADAPTERS, MAX_METRICS_BYTES, MAX_METRICS_LINE};

/// What a model server says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Requests that wait.
    pub waiting: f32,
    /// Requests in the batch.
    pub running: f32,
    /// Part of the KV cache that is in use, from 0 to 1.
    pub kv_usage: f32,
    /// Tokens of a block of the KV cache, and how many blocks there are; 0: not said.
    pub block_tokens: u32,
    /// Blocks of the KV cache.
    pub blocks: u32,
    /// Adapters; None where the server says nothing of them.
    pub adapters: Option<Adapters>,
}

/// LoRA adapters of a model server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adapters {
    /// How many can be in the batch.
    pub most: usize,
    /// In the batch.
    pub running: Vec<String>,
    /// Waiting for a place in it.
    pub waiting: Vec<String>,
}

/// Why metrics cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// There are too many.
    #[error("they have more than {MAX_METRICS_BYTES} bytes")]
    TooLarge,
    /// A number is missing.
    #[error("{0} is not among them")]
    Missing(&'static str),
    /// A number cannot be.
    #[error("{0} is {1}")]
    Impossible(&'static str, f64),
}

/// Takes metrics piece by piece.
#[derive(Debug)]
pub struct Parser {
    engine: Engine,
    /// A line that has begun.
    begun: Vec<u8>,
    /// The line that has begun is too long to be one of those that count.
    skips: bool,
    bytes: usize,
    waiting: Option<f64>,
    running: Option<f64>,
    kv_usage: Option<f64>,
    blocks: (u32, u32),
    /// With the time that the server gives them.
    adapters: Option<(f64, Adapters)>,
}

impl Parser {
    /// For the metrics of this engine.
    pub fn new(engine: Engine) -> Parser {
        let (begun, blocks) = (Vec::new(), (0, 0));
        Parser {
            engine,
            begun,
            skips: false,
            bytes: 0,
            waiting: None,
            running: None,
            kv_usage: None,
            blocks,
            adapters: None,
        }
    }

    /// Takes a piece; says whether it wants more.
    pub fn push(&mut self, mut piece: &[u8]) -> bool {
        self.bytes += piece.len();
        if self.bytes > MAX_METRICS_BYTES {
            return false;
        }
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let (line, rest) = piece.split_at(end);
            if self.skips {
                self.skips = false;
            } else if self.begun.is_empty() {
                self.line(line);
            } else {
                let mut whole = std::mem::take(&mut self.begun);
                whole.extend_from_slice(line);
                self.line(&whole);
                whole.clear();
                self.begun = whole;
            }
            piece = rest.get(1..).unwrap_or_default();
        }
        if self.begun.len() + piece.len() > MAX_METRICS_LINE {
            self.begun.clear();
            self.skips = true;
        } else if !self.skips {
            self.begun.extend_from_slice(piece);
        }
        true
    }

    /// What was read.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn finish(mut self) -> Result<Sample, Unusable> {
        if self.bytes > MAX_METRICS_BYTES {
            return Err(Unusable::TooLarge);
        }
        let last = std::mem::take(&mut self.begun);
        self.line(&last);
        let usable = |name, value: Option<f64>, most: f64| match value {
            None => Err(Unusable::Missing(name)),
            Some(value) if value >= 0.0 && value <= most => Ok(value as f32),
            Some(value) => Err(Unusable::Impossible(name, value)),
        };
        Ok(Sample {
            waiting: usable("the number of waiting requests", self.waiting, 1e9)?,
            running: usable("the number of running requests", self.running, 1e9)?,
            kv_usage: usable("the use of the KV cache", self.kv_usage, 1.001)?.min(1.0),
            block_tokens: self.blocks.0,
            blocks: self.blocks.1,
            adapters: self.adapters.map(|(_, adapters)| adapters),
        })
    }

    fn line(&mut self, line: &[u8]) {
        // Most lines are of others.
        let prefix: &[u8] = match self.engine {
            Engine::Vllm => b"vllm:",
            Engine::Sglang => b"sglang:",
            Engine::TritonTensorrtLlm => b"nv_trt_llm_",
            Engine::TrtllmServe => b"trtllm_",
        };
        if !line.starts_with(prefix) {
            return;
        }
        let Some((name, labels, value)) = std::str::from_utf8(line).ok().and_then(split) else { return };
        match self.engine {
            Engine::Vllm => match name {
                "vllm:num_requests_waiting" => add(&mut self.waiting, value),
                "vllm:num_requests_running" => add(&mut self.running, value),
                "vllm:kv_cache_usage_perc" | "vllm:gpu_cache_usage_perc" => most(&mut self.kv_usage, value),
                "vllm:cache_config_info" => self.cache(labels, "block_size", "num_gpu_blocks"),
                "vllm:lora_requests_info" => self.lora(labels, value),
                _ => {}
            },
            Engine::Sglang => match name {
                "sglang:num_queue_reqs" => add(&mut self.waiting, value),
                "sglang:num_running_reqs" => add(&mut self.running, value),
                "sglang:token_usage" => most(&mut self.kv_usage, value),
                "sglang:cache_config_info" => self.cache(labels, "page_size", "num_pages"),
                _ => {}
            },
            Engine::TritonTensorrtLlm => {
                let kind = |label: &str| labels_of(labels).find(|(name, _)| *name == label).map(|(_, value)| value);
                match (name, kind("request_type"), kind("kv_cache_block_type")) {
                    ("nv_trt_llm_request_metrics", Some("waiting"), _) => add(&mut self.waiting, value),
                    ("nv_trt_llm_request_metrics", Some("scheduled"), _) => add(&mut self.running, value),
                    ("nv_trt_llm_kv_cache_block_metrics", _, Some("fraction")) => most(&mut self.kv_usage, value),
                    ("nv_trt_llm_kv_cache_block_metrics", _, Some("tokens_per")) => self.blocks.0 = whole(value),
                    ("nv_trt_llm_kv_cache_block_metrics", _, Some("max")) => self.blocks.1 = whole(value),
                    _ => {}
                }
            }
            Engine::TrtllmServe => match name {
                "trtllm_num_requests_waiting" => add(&mut self.waiting, value),
                "trtllm_num_requests_running" => add(&mut self.running, value),
                "trtllm_kv_cache_utilization" => most(&mut self.kv_usage, value),
                "trtllm_kv_cache_tokens_per_block" => self.blocks.0 = whole(value),
                "trtllm_kv_cache_max_blocks" => self.blocks.1 = whole(value),
                _ => {}
            },
        }
    }

    fn cache(&mut self, labels: &str, size: &str, count: &str) {
        for (name, value) in labels_of(labels) {
            if name == size {
                self.blocks.0 = value.parse().unwrap_or_default();
            } else if name == count {
                self.blocks.1 = value.parse().unwrap_or_default();
            }
        }
    }

    /// There may be several lines, of which the one with the latest time holds.
    fn lora(&mut self, labels: &str, time: f64) {
        if self.adapters.as_ref().is_some_and(|(known, _)| *known > time) {
            return;
        }
        let mut labels: BTreeMap<&str, &str> = labels_of(labels).collect();
        let mut names = |label| {
            let all =
                labels.remove(label).unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
            all.take(MAX_ADAPTERS).map(str::to_owned).collect()
        };
        let (running, waiting) = (names("running_lora_adapters"), names("waiting_lora_adapters"));
        let most = labels.remove("max_lora").and_then(|most| most.parse().ok()).unwrap_or_default();
        self.adapters = Some((time, Adapters { most, running, waiting }));
    }
}

/// Several engines in one server count together.
fn add(sum: &mut Option<f64>, value: f64) {
    *sum = Some(sum.unwrap_or_default() + value);
}

/// NaN stays, so that it is seen.
fn most(most: &mut Option<f64>, value: f64) {
    *most = Some(most.map_or(value, |known| if value > known || value.is_nan() { value } else { known }));
}

fn whole(value: f64) -> u32 {
    value as u32
}

/// Name, labels and value of a line.
fn split(line: &str) -> Option<(&str, &str, f64)> {
    let (name, labels, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, rest) = rest.rsplit_once('}')?;
            (name, labels, rest)
        }
        None => {
            let (name, rest) = line.split_once(' ')?;
            (name, "", rest)
        }
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some((name.trim_end(), labels, value))
}

/// `name="value"` with commas between. What is escaped is left so: no value that counts has any of it.
fn labels_of(labels: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = labels;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once("=\"")?;
        let bytes = after.as_bytes();
        let mut end = 0;
        while *bytes.get(end)? != b'"' {
            end += if bytes.get(end) == Some(&b'\\') { 2 } else { 1 };
        }
        rest = after.get(end + 1..)?;
        Some((name.trim_start_matches([',', ' ']), after.get(..end)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VLLM: &str = r#"# HELP vllm:num_requests_running Number of requests
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m\"{}, x"} 3.0
vllm:num_requests_waiting{engine="0"} 7.0
vllm:num_requests_waiting{engine="1"} 2.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.5
vllm:cache_config_info{block_size="16",num_gpu_blocks="2048",x=""} 1.0
vllm:lora_requests_info{max_lora="4",running_lora_adapters="a, b",waiting_lora_adapters=""} 1.7e9
vllm:lora_requests_info{max_lora="4",running_lora_adapters="old",waiting_lora_adapters="c"} 1.6e9
"#;

    fn read(engine: Engine, text: &str, piece: usize) -> Result<Sample, Unusable> {
        let mut parser = Parser::new(engine);
        for piece in text.as_bytes().chunks(piece) {
            parser.push(piece);
        }
        parser.finish()
    }

    #[test]
    fn vllm_is_read_however_it_comes() {
        for piece in [1, 7, 10_000] {
            let sample = read(Engine::Vllm, VLLM, piece).expect("usable");
            assert_eq!((sample.waiting, sample.running, sample.kv_usage), (9.0, 3.0, 0.5));
            assert_eq!((sample.block_tokens, sample.blocks), (16, 2048));
            let adapters = sample.adapters.expect("adapters");
            assert_eq!((adapters.most, adapters.running.join("+"), adapters.waiting.len()), (4, "a+b".into(), 0));
        }
    }

    #[test]
    fn other_engines_have_other_names() {
        let sglang = "sglang:num_queue_reqs 1\nsglang:num_running_reqs{a=\"b\"} 2\nsglang:token_usage 0.5";
        let triton = r#"nv_trt_llm_request_metrics{model="m",request_type="waiting",version="1"} 1
nv_trt_llm_request_metrics{request_type="scheduled"} 2
nv_trt_llm_request_metrics{request_type="max"} 64
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"} 0.5
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per"} 64
"#;
        let serve = "trtllm_num_requests_waiting 1\ntrtllm_num_requests_running 2\ntrtllm_kv_cache_utilization 0.5\n";
        for (engine, text) in
            [(Engine::Sglang, sglang), (Engine::TritonTensorrtLlm, triton), (Engine::TrtllmServe, serve)]
        {
            let sample = read(engine, text, 5).expect("usable");
            assert_eq!((sample.waiting, sample.running, sample.kv_usage), (1.0, 2.0, 0.5), "{engine:?}");
        }
        assert_eq!(read(Engine::TritonTensorrtLlm, triton, 9).map(|s| s.block_tokens), Ok(64));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let with = |from: &str, to: &str| read(Engine::Vllm, &VLLM.replace(from, to), 100);
        assert!(matches!(with("} 7.0", "} -70.0"), Err(Unusable::Impossible(..))));
        assert!(matches!(with("} 0.5", "} NaN"), Err(Unusable::Impossible(..))));
        assert!(matches!(with("} 0.5", "} 50"), Err(Unusable::Impossible(..))));
        assert!(matches!(with("} 3.0", "} +Inf"), Err(Unusable::Impossible(..))));
        assert!(matches!(with("} 3.0", "} three"), Err(Unusable::Missing(_))));
        assert!(matches!(read(Engine::Vllm, "", 1), Err(Unusable::Missing(_))));
    }

    #[test]
    fn floods_end_early() {
        let mut parser = Parser::new(Engine::Vllm);
        let (mut taken, piece) = (0, vec![b'x'; 64 << 10]);
        while parser.push(&piece) {
            taken += piece.len();
            assert!(parser.begun.capacity() <= 2 * MAX_METRICS_LINE, "a line without an end is not kept");
        }
        assert!(taken <= MAX_METRICS_BYTES);
        assert_eq!(parser.finish(), Err(Unusable::TooLarge));
    }

    #[test]
    fn long_lines_are_passed_over() {
        let text = format!("vllm:x{{y=\"{}\"}} 1\n{VLLM}", "z".repeat(2 * MAX_METRICS_LINE));
        assert!(read(Engine::Vllm, &text, 1000).is_ok());
    }
}
