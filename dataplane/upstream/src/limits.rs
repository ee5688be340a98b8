//! Bounds of connections to backends.

use std::time::Duration;

/// Connections to one endpoint, all threads together.
pub const MAX_CONNECTIONS_PER_ENDPOINT: u32 = 4096;
/// Connections to one endpoint that a thread keeps without a request.
pub const MAX_IDLE_PER_ENDPOINT: usize = 256;
/// An idle connection is closed after this long. Shorter than the 60 s or more that servers allow, so that a request
/// seldom meets a connection that the server is just closing.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// How often idle connections are looked through.
pub const IDLE_SWEEP: Duration = Duration::from_secs(10);
/// TCP connect.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// TLS handshake, after the TCP connect.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// One DNS lookup with all its tries.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// A DNS answer is used at least this long, whatever its time to live.
pub const MIN_RESOLVE_TTL: Duration = Duration::from_secs(1);
/// How long an endpoint that refused a connection is passed over while others are there.
pub const AVOID_AFTER_CONNECT_FAILURE: Duration = Duration::from_secs(1);
/// Addresses of one name that are used.
pub const MAX_ADDRESSES_PER_NAME: usize = 64;
/// Response header lines of one response.
pub const MAX_RESPONSE_HEADERS: usize = 200;
/// Response head in bytes.
pub const MAX_RESPONSE_HEAD: usize = 256 * 1024;
/// Requests that wait for a connection, where a policy bounds the connections and says nothing of these.
pub const DEFAULT_MAX_PENDING: u32 = 1024;
/// Endpoints that are drawn for one request.
pub const MAX_CHOICES: u32 = 32;
/// Points of a hash ring.
pub const MAX_RING: u32 = 1 << 20;
/// Interval of a retry budget.
pub const MIN_BUDGET_INTERVAL: Duration = Duration::from_millis(100);
/// Health checks of one backend that run at one time.
pub const MAX_CHECKS_PER_BACKEND: usize = 32;
/// Health checks that run at one time, all backends together.
pub const MAX_CHECKS: usize = 256;
/// Bytes of a health check's answer that are read.
pub const MAX_CHECK_BODY: usize = 64 * 1024;
/// A health check's interval and timeout.
pub const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// A name whose lookup failed is looked up again after this long.
pub const RESOLVE_AGAIN: Duration = Duration::from_secs(1);
/// Bytes that are read of a request's body when it was answered without it, and for how long.
pub const MAX_DISCARDED_BYTES: usize = 8 * 1024 * 1024;
/// See [`MAX_DISCARDED_BYTES`].
pub const MAX_DISCARD_TIME: Duration = Duration::from_secs(5);
