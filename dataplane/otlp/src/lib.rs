//! Spans and log records for collectors that speak OTLP, OpenTelemetry's protocol, over gRPC or HTTP.
//!
//! Workers put what they have into a bounded queue for each collector; a thread of its own sends batches over the gateway's own
//! connections, so that a collector is a backend like any other, with its TLS. What there is no place for is dropped and
//! counted: telemetry never delays a request.

mod export;
mod message;
mod registry;

pub use message::{log_record, span};
pub use registry::{Counters, Exporter, Exporters, Item, Network};

/// Items that may wait for one collector.
pub const MAX_QUEUED: usize = 8192;
/// Items of one batch.
pub const MAX_BATCH: usize = 512;
/// A batch is sent after this time at the latest.
pub const MAX_DELAY: std::time::Duration = std::time::Duration::from_secs(1);
/// How often one batch is sent, when the collector fails in a way that may pass.
pub const MAX_TRIES: u32 = 3;
/// A collector that asks for a longer pause than this loses the batch.
pub const MAX_PAUSE: std::time::Duration = std::time::Duration::from_secs(30);
/// How long one try may take where the policy does not say.
pub const DEFAULT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
