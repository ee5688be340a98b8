//! Bounds of connections from clients, and of streams.

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
/// A client's TLS handshake, from its first byte on.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A PROXY protocol header with its TLVs.
pub const MAX_PROXY_HEADER: usize = 4096;
/// It must be complete after this long.
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a stream that were read and not written yet, each way.
pub const STREAM_BUFFER: usize = 32 * 1024;
/// A stream on which no byte moves either way is closed after this long.
pub const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// A UDP session without a datagram either way ends after this long.
pub const UDP_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often UDP sessions are looked through.
pub const UDP_SWEEP: Duration = Duration::from_secs(1);
/// UDP sessions of one listener on one worker. Each has a socket.
pub const MAX_UDP_SESSIONS: usize = 8192;
/// Datagrams of one session that wait for its socket to be opened.
pub const MAX_UDP_WAITING: usize = 16;
/// Largest payload of a datagram.
pub const MAX_DATAGRAM: usize = 65_535;
/// Datagrams that are taken from a socket before other tasks get their turn.
pub const UDP_BURST: usize = 64;

/// Largest body that is read whole to be signed, in bytes.
pub(crate) const MAX_SIGNED_BODY: usize = 1 << 20;
/// A backend that asks for a longer pause (`Retry-After`) is not asked again by the gateway; the client learns of it.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);
