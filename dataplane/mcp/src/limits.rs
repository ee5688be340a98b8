//! Every bound of this crate: what is queued, buffered or waited for, and how much of it.

use std::time::Duration;

/// Bounds that an operator may set.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest message taken from a client, in bytes.
    pub request_bytes: usize,
    /// Largest message taken from a target, in bytes.
    pub message_bytes: usize,
    /// Sessions of this process, all backends together.
    pub sessions: usize,
    /// Child processes, all sessions together.
    pub processes: usize,
    /// How long a session without any request or open stream is kept.
    pub session_idle: Duration,
    /// How long after its issue a session id may be resumed by a process that does not know it.
    pub session_lifetime: Duration,
    /// How long a target over HTTP may take for its handshake.
    pub http_handshake: Duration,
    /// How long a child process may take from its start to the end of its handshake.
    pub process_handshake: Duration,
    /// How long a target may take until the first part of an answer.
    pub call: Duration,
    /// How long an `initialize` waits for slow targets once another target has answered.
    pub initialize_grace: Duration,
    /// How long a list waits for a target that is still starting.
    pub list_patience: Duration,
    /// How long a list waits for a target's answer, all pages together.
    pub list_answer: Duration,
    /// How long a list waits in all for a target whose last handshake or list failed.
    pub suspect_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 4 << 20,
            message_bytes: 16 << 20,
            sessions: 100_000,
            processes: 512,
            session_idle: Duration::from_secs(30 * 60),
            session_lifetime: Duration::from_secs(24 * 60 * 60),
            http_handshake: Duration::from_secs(30),
            process_handshake: Duration::from_secs(120),
            call: Duration::from_secs(300),
            initialize_grace: Duration::from_secs(10),
            list_patience: Duration::from_secs(15),
            list_answer: Duration::from_secs(20),
            suspect_patience: Duration::from_secs(2),
        }
    }
}

/// Messages of one JSON-RPC batch.
pub(crate) const BATCH: usize = 64;
/// Bytes of a JSON-RPC id, as written.
pub(crate) const ID_BYTES: usize = 512;
/// Bytes of a session id, as it travels in a header; servers commonly refuse header blocks above 16 KiB.
pub(crate) const TOKEN_BYTES: usize = 8 << 10;
/// Bytes of the client's name and capabilities that a session keeps; a longer one keeps the capabilities that this
/// crate knows.
pub(crate) const CLIENT_BYTES: usize = 2 << 10;
/// How long a session is kept whose client has never said that it is ready: enough to fill the table is cheap to send.
pub(crate) const UNCONFIRMED: Duration = Duration::from_secs(60);
/// Session ids that were ended by their clients and must not be resumed.
pub(crate) const ENDED_SESSIONS: usize = 65_536;
/// Pages read from one target for one list.
pub(crate) const LIST_PAGES: usize = 200;
/// Items of one merged list.
pub(crate) const LIST_ITEMS: usize = 20_000;
/// Bytes of an error body that is read from a target.
pub(crate) const ERROR_BODY_BYTES: usize = 64 << 10;
/// Messages that wait for one client's stream, or for one request's answer.
pub(crate) const STREAM_QUEUE: usize = 64;
/// Messages, and their bytes, kept for a client that has no stream open.
pub(crate) const BACKLOG: usize = 32;
/// See [`BACKLOG`].
pub(crate) const BACKLOG_BYTES: usize = 256 << 10;
/// Messages that wait to be written to one child process.
pub(crate) const PROCESS_QUEUE: usize = 64;
/// Requests of one session that one target has not answered yet.
pub(crate) const IN_FLIGHT: usize = 1_024;
/// How long a request of a shared session counts as open after its caller has left, unless the target answers it.
pub(crate) const LEFT: Duration = Duration::from_secs(300);
/// Subscriptions and log levels of one session that a target's new session is asked for again.
pub(crate) const WISHES: usize = 64;
/// Bytes of the params of one of them.
pub(crate) const WISH_BYTES: usize = 2 << 10;
/// Bytes of one line of a child's stderr that reach the log.
pub(crate) const STDERR_LINE: usize = 4 << 10;
/// How long a child may take to end after its stdin is closed, and again after SIGTERM, before it is killed.
pub(crate) const PROCESS_EXIT: Duration = Duration::from_secs(2);
/// Shortest time between two starts of one session's child.
pub(crate) const PROCESS_RESTART: Duration = Duration::from_secs(1);
/// Time for telling a target that its session has ended.
pub(crate) const GOODBYE: Duration = Duration::from_secs(5);
/// Time between two attempts to open a target's stream, at first and at most.
pub(crate) const STREAM_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Time between two comments on a stream that carries nothing else.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// Time between two looks for idle sessions.
pub(crate) const SWEEP: Duration = Duration::from_secs(15);
/// Time for telling targets what the client said without wanting an answer.
pub(crate) const NOTIFY: Duration = Duration::from_secs(10);
/// Time for looking up the endpoints of one target when a session is resumed.
pub(crate) const RESUME: Duration = Duration::from_secs(2);
/// How long a session is kept that the gateway holds for clients without one: each new name of a client makes one.
pub(crate) const HELD_IDLE: Duration = Duration::from_secs(5 * 60);
/// How long a target that did not understand the stateless protocol is not asked again whether it does.
pub(crate) const ERA_RETRY: Duration = Duration::from_secs(300);
/// How long a target may take to say whether it speaks the stateless protocol.
pub(crate) const DISCOVER: Duration = Duration::from_secs(10);
/// How long `server/discover` waits for targets of a federation that were never heard of before.
pub(crate) const DISCOVER_GRACE: Duration = Duration::from_millis(1_500);
/// Calls that wait for a client's answer to a target's question, and how long each of them waits.
pub(crate) const PARKED: usize = 4_096;
/// See [`PARKED`].
pub(crate) const PARKED_FOR: Duration = Duration::from_secs(300);
/// Resources that one client watches at once.
pub(crate) const LISTENED_URIS: usize = 256;
/// News of a held session that wait for one slow listener.
pub(crate) const NEWS_QUEUE: usize = 64;
/// Rounds of questions that one call of a client with sessions may lead to.
pub(crate) const ROUNDS: usize = 32;
/// Questions of a target in one round.
pub(crate) const ROUND_QUESTIONS: usize = 32;
/// Tools of one target that are counted by their names; the rest is one.
pub(crate) const COUNTED_TOOLS: usize = 100;
/// Names of tools, and again of prompts, whose target one backend keeps in mind.
pub(crate) const OWNERS: usize = 50_000;
