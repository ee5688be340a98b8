//! What the gateway tells about itself: logs, the access log and metrics.

pub mod access_log;
pub mod counters;
pub mod histogram;
pub mod labels;
pub mod lines;
pub mod live;
pub mod logging;
pub mod metrics;
mod request;
pub mod trace;

pub use request::{Field, FieldValue, MAX_FIELDS, MAX_TEXT_BYTES, RequestTelemetry};
