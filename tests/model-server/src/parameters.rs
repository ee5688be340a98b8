//! The command line.

use std::net::IpAddr;
use std::time::Duration;

use clap::Parser;

/// Simulates vLLM servers, without a GPU.
#[derive(Debug, Parser)]
#[command(name = "model-server")]
pub(crate) struct Parameters {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    /// Port of the first server; the others follow it. 0: any ports, which are printed.
    #[arg(long, default_value_t = 8000)]
    pub(crate) port: u16,
    /// Servers.
    #[arg(long, default_value_t = 1)]
    pub(crate) pods: u16,
    /// Name of the base model.
    #[arg(long, default_value = "base")]
    pub(crate) model: String,
    /// Requests in the batch; others wait.
    #[arg(long, default_value_t = 5)]
    pub(crate) max_num_seqs: usize,
    /// Requests that may wait; more get 429.
    #[arg(long, default_value_t = 1000)]
    pub(crate) max_waiting_queue_length: usize,
    /// Tokens of prompt and answer; more get 400.
    #[arg(long, default_value_t = 1 << 20)]
    pub(crate) max_model_len: usize,
    /// Blocks of the KV cache.
    #[arg(long, default_value_t = 1024)]
    pub(crate) kv_cache_size: usize,
    /// Tokens of a block.
    #[arg(long, default_value_t = 16)]
    pub(crate) block_size: usize,
    /// Before the first token, whatever the prompt, milliseconds.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) prefill_overhead: f64,
    /// For each token of the prompt that is not cached, milliseconds.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) prefill_time_per_token: f64,
    /// Between two tokens of an answer, milliseconds.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) inter_token_latency: f64,
    /// Times are longer by this factor when the batch is full, and in proportion before.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) time_factor_under_load: f64,
    /// Adapters in the batch at a time.
    #[arg(long, default_value_t = 1)]
    pub(crate) max_loras: usize,
    /// Names of the adapters, with commas between.
    #[arg(long, value_delimiter = ',')]
    pub(crate) lora_modules: Vec<String>,
    /// To load an adapter, milliseconds.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) lora_load_time: f64,
    /// Tokens of an answer where a request says nothing.
    #[arg(long, default_value_t = 16)]
    pub(crate) default_max_tokens: usize,
}

impl Parameters {
    /// The factor with so many requests in the batch.
    pub(crate) fn load_factor(&self, running: usize) -> f64 {
        if self.max_num_seqs < 2 {
            return 1.0;
        }
        let share = running.saturating_sub(1) as f64 / (self.max_num_seqs - 1) as f64;
        1.0 + (self.time_factor_under_load - 1.0) * share
    }

    /// Time to the first token, once a request is in the batch.
    pub(crate) fn prefill(&self, uncached: usize, running: usize) -> Duration {
        milliseconds(
            (self.prefill_overhead + self.prefill_time_per_token * uncached as f64) * self.load_factor(running),
        )
    }

    /// Time to the next token.
    pub(crate) fn step(&self, running: usize) -> Duration {
        milliseconds(self.inter_token_latency * self.load_factor(running))
    }
}

pub(crate) fn milliseconds(n: f64) -> Duration {
    Duration::from_secs_f64(n.max(0.0) / 1000.0)
}
