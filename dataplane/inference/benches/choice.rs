//! What a choice costs, from the body to the endpoint, in microseconds on one core: `cargo bench -p agentgateway-inference
//! --profile release`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use agentgateway_inference::exposition::{Parser, Sample};
use agentgateway_inference::picker::{Profile, Scratch};
use agentgateway_inference::prefix::PrefixIndex;
use agentgateway_inference::prompt::{Blocks, Prompt};
use agentgateway_inference::server::{self, Server};
use agentgateway_proto::v1::inference_metrics::Engine;

const BLOCK_TOKENS: usize = 64;
const MAX_BLOCKS: usize = 2048;

fn main() {
    for pods in [10, 100, 1000] {
        for tokens in [1_000, 10_000, 100_000] {
            // Eight in ten requests share their beginning with others.
            choices(pods, tokens);
        }
    }
    metrics();
}

/// A chat of so many tokens: words with a line break now and then, as an escaped string.
fn body(seed: usize, tokens: usize) -> Vec<u8> {
    let mut text = String::new();
    let mut state = 0;
    while text.len() < tokens * 4 {
        // The last fifth is the request's own.
        let own = text.len() > tokens * 16 / 5;
        state = (state + if own { seed } else { seed % 20 } + 7) * 31 % 1_000_003;
        text.push_str(&format!("word{state} "));
        if state % 16 == 0 {
            text.push_str("\\n");
        }
    }
    format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}],"max_tokens":100,"model":"base"}}"#).into_bytes()
}

fn choices(pods: usize, tokens: usize) {
    let servers: Vec<Server> =
        (0..pods).map(|n| Server::new(([10, 0, (n / 250) as u8, (n % 250) as u8], 8000).into())).collect();
    for (n, server) in servers.iter().enumerate() {
        let sample = Sample { waiting: (n % 3) as f32, running: (n % 7) as f32, kv_usage: 0.3, ..Sample::default() };
        server.read(sample, 0);
    }
    let (profile, mut index) = (Profile::default(), PrefixIndex::new(31_250));
    let (mut scratch, mut matched, mut random) = (Scratch::default(), Vec::new(), 1_u64);
    let bodies: Vec<Vec<u8>> = (0..100).map(|n| body(n, tokens)).collect();
    let rounds = if tokens > 50_000 { 20 } else { 100 };
    let (mut times, mut scan, mut hash, mut find, mut pick, mut record) =
        (Vec::new(), Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for round in 0..rounds {
        for body in &bodies {
            let began = Instant::now();
            let prompt = Prompt::find(black_box(body));
            let scanned = Instant::now();
            let blocks = Blocks::of(&prompt, body, BLOCK_TOKENS, MAX_BLOCKS, 7);
            let hashed = Instant::now();
            index.matches(blocks.hashes(), &mut matched);
            let found = Instant::now();
            let now = server::now();
            scratch.candidates.clear();
            for (at, server) in servers.iter().enumerate() {
                let mut candidate = server.candidate(prompt.model(body), now);
                candidate.matched_blocks = matched.get(at).copied().unwrap_or_default();
                scratch.candidates.push(candidate);
            }
            let choice = profile.choose(&mut scratch, blocks.hashes().len() as u32, &mut || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                random
            });
            let picked = Instant::now();
            if let Some(first) = choice.and_then(|choice| choice.order.first().copied()) {
                index.record(first as u32, blocks.hashes());
            }
            let done = Instant::now();
            if round > 0 {
                times.push(done - began);
                scan += scanned - began;
                hash += hashed - scanned;
                find += found - hashed;
                pick += picked - found;
                record += done - picked;
            }
        }
    }
    times.sort_unstable();
    let of = |part: Duration| part.as_secs_f64() * 1e6 / times.len() as f64;
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!(
        "{pods:>4} pods, {tokens:>6} tokens: p50 {:7.1} us, p99 {:7.1} us (scan {:.1}, hash {:.1}, match {:.1}, score {:.1}, record {:.1})",
        at(0.5),
        at(0.99),
        of(scan),
        of(hash),
        of(find),
        of(pick),
        of(record),
    );
}

/// Metrics of the size that a vLLM server shows.
fn metrics() {
    let mut text = String::new();
    for n in 0..900 {
        text.push_str(&format!("vllm:some_histogram_bucket{{engine=\"0\",le=\"{n}\",model_name=\"base\"}} {n}.0\n"));
    }
    text.push_str("vllm:num_requests_running 1\nvllm:num_requests_waiting 2\nvllm:kv_cache_usage_perc 0.5\n");
    let began = Instant::now();
    for _ in 0..1000 {
        let mut parser = Parser::new(Engine::Vllm);
        text.as_bytes().chunks(16 << 10).for_each(|piece| assert!(parser.push(piece)));
        assert!(black_box(parser.finish()).is_ok());
    }
    println!("metrics of {} KiB: {:.1} us", text.len() >> 10, began.elapsed().as_secs_f64() * 1e3);
}
