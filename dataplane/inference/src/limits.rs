//! Bounds of what requests and model servers can make the proxy hold and do.

use std::time::Duration;

/// Endpoints of one pool that are told apart; others get requests, but no prefix is remembered for them.
pub const MAX_PODS: usize = 2048;
/// Bytes of a prompt that are read before a choice. What comes after them is passed on as it comes.
pub const MAX_READ_BYTES: usize = 1 << 20;
/// Bytes of a body whose model is rewritten: it is held as a whole.
pub const MAX_REWRITTEN_BYTES: usize = 16 << 20;
/// A prompt of more bytes is hashed beside the worker.
pub const MAX_INLINE_BYTES: usize = 96 << 10;
/// Blocks of a prompt that are recorded under one lock.
pub const RECORDED_AT_ONCE: usize = 256;
/// Tokens of a prompt that are matched, where the configuration says nothing.
pub const DEFAULT_MATCHED_TOKENS: usize = 131_072;
/// Blocks that are remembered for each pod, where the configuration says nothing.
pub const DEFAULT_LRU_CAPACITY: usize = 31_250;
/// The least tokens of a block: with fewer, looking costs more than it tells.
pub const MIN_BLOCK_TOKENS: usize = 64;
/// Tokens that an answer is reckoned with, where a request says nothing.
pub const DEFAULT_ANSWER_TOKENS: u64 = 256;

/// Bytes of a pod's metrics.
pub const MAX_METRICS_BYTES: usize = 4 << 20;
/// Bytes of one line of them; longer ones are passed over.
pub const MAX_METRICS_LINE: usize = 16 << 10;
/// LoRA adapters of a pod that are known.
pub const MAX_ADAPTERS: usize = 256;
/// How often the metrics of a pod are read while requests come.
pub const READ_INTERVAL: Duration = Duration::from_millis(50);
/// How often while none come.
pub const IDLE_READ_INTERVAL: Duration = Duration::from_secs(2);
/// A pool is idle when no request came for this long.
pub const IDLE_AFTER: Duration = Duration::from_secs(5);
/// Reading all metrics may take this part of one core's time, as a divisor.
pub const READING_SHARE: u32 = 20;
/// A pod has this long to show its metrics.
pub const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// Metrics that are older say nothing of the present, where reading them goes well at longer intervals: so many intervals.
pub const STALE_INTERVALS: u32 = 4;
/// Metrics are stale after this long at least.
pub const STALE_AFTER: Duration = Duration::from_millis(200);
/// How often the endpoints of a pool are looked through.
pub const POOL_SWEEP: Duration = Duration::from_secs(1);

/// Waiting requests at which a model server is saturated.
pub const SATURATED_QUEUE: f32 = 5.0;
/// Use of the KV cache at which a model server is saturated.
pub const SATURATED_KV_USAGE: f32 = 0.8;
