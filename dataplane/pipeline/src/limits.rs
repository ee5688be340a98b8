//! Bounds of connections from clients.

use std::time::Duration;

/// Bytes of a request's head over HTTP/1.1, and of its header list over HTTP/2.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Header lines of a request.
pub const MAX_HEADERS: usize = 128;
/// A request's head must be complete after this long; a connection without a request is closed after it.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How often idle connections are looked for.
pub const CONNECTION_SWEEP: Duration = Duration::from_secs(1);
/// Streams of one HTTP/2 connection at a time.
pub const MAX_CONCURRENT_STREAMS: u32 = 256;
/// A ping finds out whether an HTTP/2 client is still there.
pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(60);
/// Window of an HTTP/2 stream, bytes.
pub const HTTP2_STREAM_WINDOW: u32 = 1024 * 1024;
/// Window of an HTTP/2 connection, bytes.
pub const HTTP2_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Connections of one worker.
pub const MAX_CONNECTIONS_PER_WORKER: u32 = 50_000;
/// Accepted sockets on their way to another worker.
pub const MAX_HANDED_OVER: usize = 1024;
/// Commands on their way to a worker.
pub const MAX_COMMANDS: usize = 1024;
/// Accept queue of a listening socket.
pub const ACCEPT_QUEUE: i32 = 4096;
/// Pause after an accept that failed for want of resources.
pub const ACCEPT_ERROR_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that are read of a request's body when it was answered without it, and for how long.
pub const MAX_DISCARDED_BYTES: usize = 8 * 1024 * 1024;
/// See [`MAX_DISCARDED_BYTES`].
pub const MAX_DISCARD_TIME: Duration = Duration::from_secs(5);
/// Endpoints that are tried for one request when connections are refused.
pub const MAX_CONNECT_TRIES: usize = 3;
/// How often a worker looks whether it gets to its tasks in time, and what it calls late.
pub const STALL_PROBE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(25));
/// Bytes of a request's body that are kept so that it can be sent again. Larger ones are sent once.
pub const MAX_REPLAYED_BYTES: usize = 64 * 1024;
/// Bytes of a mirrored body that wait for the mirror; a mirror that is slower loses its copy.
pub const MAX_MIRROR_QUEUE_BYTES: usize = 256 * 1024;
/// Mirrored requests of one worker at a time.
pub const MAX_MIRRORS_PER_WORKER: usize = 1024;
/// A mirrored request is over after this long.
pub const MAX_MIRROR_TIME: Duration = Duration::from_secs(60);
/// Both sides have switched protocols this long after the answer that says so.
pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that has switched protocols is closed when nothing was sent for this long, or up to twice as long.
pub const TUNNEL_IDLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);
