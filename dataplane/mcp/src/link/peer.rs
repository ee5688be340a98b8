//! The inbound side of a target that speaks over one full-duplex channel (a process, an SSE stream): finds for each
//! message the request that it belongs to.
//!
//! Responses go by id and progress by its token. What else a target sends while a request of the session is open
//! belongs, as far as anyone can tell, to the request that was sent last; lists that changed and resources that were
//! updated belong to the session.
//!
//! A session that the gateway holds has requests of several callers, who must see nothing of each other. There, what no
//! id and no token attributes goes to a request only while it is the only one; else a question is refused, and a
//! notification is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::fault::{Fault, Kind};
use crate::jsonrpc::{self, Envelope};
use crate::limits;
use crate::lock;
use crate::protocol::Method;
use crate::session::Session;

/// Shared by the task that reads from the target and the requests that wait for it.
#[derive(Debug)]
pub(crate) struct Peer {
    target: Arc<str>,
    index: usize,
    session: Weak<Session>,
    /// Its requests may be of callers who must see nothing of each other.
    is_shared: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By id as written.
    waiting: HashMap<Box<str>, Waiting>,
    sequence: u64,
    /// Why there will be no more messages.
    closed: Option<Arc<str>>,
}

#[derive(Debug)]
struct Waiting {
    messages: mpsc::Sender<String>,
    /// Progress token as written.
    progress: Option<Box<str>>,
    /// Takes messages other than its response and its progress.
    relays: bool,
    /// It stays open for as long as its client listens; what it brings belongs to the session.
    listens: bool,
    sequence: u64,
    /// Nobody waits for it any more, since then. In a shared session the target may still ask on its behalf.
    left: Option<Instant>,
}

/// A request that waits for its answer. Messages end with the response; an end without one means that the target is
/// gone.
#[derive(Debug)]
pub(crate) struct Ticket {
    peer: Arc<Peer>,
    id: Box<str>,
    messages: mpsc::Receiver<String>,
}

impl Ticket {
    pub(crate) async fn next(&mut self) -> Option<String> {
        self.messages.recv().await
    }

    /// What to say when the messages ended without a response.
    pub(crate) fn broken(&self) -> Fault {
        self.peer.gone()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = lock(&self.peer.state);
        match state.waiting.get_mut(&self.id) {
            Some(waiting) if self.peer.is_shared => waiting.left = Some(Instant::now()),
            _ => drop(state.waiting.remove(&self.id)),
        }
    }
}

/// What the reading task has to do with a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    Done,
    /// The target asked whether the other side is alive, or what nobody can be asked: this is the answer.
    Answer(bytes::Bytes),
    Garbage(String),
}

impl Peer {
    pub(crate) fn new(target: &Arc<str>, index: usize, session: &Arc<Session>) -> Arc<Self> {
        Arc::new(Self {
            target: Arc::clone(target),
            index,
            session: Arc::downgrade(session),
            is_shared: session.is_held(),
            state: Mutex::default(),
        })
    }

    /// Announces a request, before it is sent.
    pub(crate) fn expect(self: &Arc<Self>, request: &Envelope<'_>, relays: bool) -> Result<Ticket, Fault> {
        let id: Box<str> = request.id.unwrap_or_default().into();
        let progress = request.params.filter(|p| p.contains("\"progressToken\"")).and_then(progress_token);
        let (messages, receiver) = mpsc::channel(limits::STREAM_QUEUE);
        let mut state = lock(&self.state);
        if let Some(why) = &state.closed {
            // Nothing was sent, so a new session of the target may be asked instead.
            return Err(Fault::new(&self.target, Kind::SessionGone, Arc::clone(why)));
        }
        if self.is_shared {
            state.waiting.retain(|_, w| w.left.is_none_or(|since| since.elapsed() < limits::LEFT));
        }
        if state.waiting.len() >= limits::IN_FLIGHT {
            let message = format!("has {} requests of this session open", limits::IN_FLIGHT);
            return Err(Fault::new(&self.target, Kind::Overloaded, message));
        }
        if state.waiting.contains_key(&id) {
            let error = jsonrpc::error_object(
                crate::protocol::code::INVALID_REQUEST,
                "a request with this id is still open in this session",
                None,
            );
            return Err(Fault::new(&self.target, Kind::Rpc(error.into()), "was not asked: the id is in use"));
        }
        state.sequence += 1;
        let sequence = state.sequence;
        let listens = Method::parse(request.method()) == Method::Listen;
        state.waiting.insert(id.clone(), Waiting { messages, progress, relays, listens, sequence, left: None });
        drop(state);
        Ok(Ticket { peer: Arc::clone(self), id, messages: receiver })
    }

    /// Takes one message from the target.
    pub(crate) fn accept(&self, text: String) -> Inbound {
        let envelope = match Envelope::parse(&text) {
            Ok(envelope) => envelope,
            Err(error) => return Inbound::Garbage(error.to_string()),
        };
        let method = Method::parse(envelope.method());
        match envelope.kind {
            jsonrpc::Kind::Response => {
                let waiting = lock(&self.state).waiting.remove(envelope.id.unwrap_or("null"));
                if let Some(waiting) = waiting {
                    // One place of the queue is always kept for it; see `relay`.
                    drop(waiting.messages.try_send(text));
                }
                return Inbound::Done;
            }
            jsonrpc::Kind::Request if method == Method::Ping => {
                return Inbound::Answer(jsonrpc::result(envelope.id.unwrap_or("null"), "{}"));
            }
            _ => {}
        }
        let belongs_to_session = matches!(
            method,
            Method::ToolsListChanged
                | Method::PromptsListChanged
                | Method::ResourcesListChanged
                | Method::ResourcesUpdated
        );
        let token = (method == Method::Progress).then(|| envelope.params.and_then(own_progress_token)).flatten();
        let question = (envelope.kind == jsonrpc::Kind::Request).then(|| envelope.id.unwrap_or("null").to_owned());
        let text = if belongs_to_session {
            text
        } else {
            match self.relay(token.as_deref(), text) {
                Some(_) if self.is_shared => return self.unattributed(question.as_deref()),
                None => return Inbound::Done,
                Some(text) => text,
            }
        };
        if let Some(session) = self.session.upgrade() {
            session.outbox.push(self.index, text);
        }
        Inbound::Done
    }

    /// What becomes of a message when no caller can be told apart as the one that it is for.
    fn unattributed(&self, question: Option<&str>) -> Inbound {
        let Some(id) = question else {
            tracing::debug!(mcp_target = %self.target, "a message belongs to none of the callers alone; it is dropped");
            return Inbound::Done;
        };
        tracing::info!(mcp_target = %self.target, "a question belongs to none of the callers alone; it is refused");
        let message = "the gateway cannot tell which of its callers is asked: there is not exactly one request open";
        Inbound::Answer(jsonrpc::error(Some(id), crate::protocol::code::INTERNAL, message))
    }

    /// Gives a message to the open request that it belongs to, or back when there is none.
    fn relay(&self, token: Option<&str>, text: String) -> Option<String> {
        let state = lock(&self.state);
        let mut all = state.waiting.values();
        let waiting = match token {
            Some(token) => all.find(|w| w.progress.as_deref() == Some(token)),
            None if self.is_shared => {
                let mut open = all.filter(|w| !w.listens);
                open.next().filter(|only| open.next().is_none() && only.relays && only.left.is_none())
            }
            None => all.filter(|w| w.relays).max_by_key(|w| w.sequence),
        };
        let Some(waiting) = waiting else { return Some(text) };
        if waiting.messages.capacity() <= 1 {
            tracing::debug!(target = %self.target, "a client reads too slowly: a message of its request was dropped");
            return None;
        }
        waiting.messages.try_send(text).err().map(|e| match e {
            mpsc::error::TrySendError::Full(text) | mpsc::error::TrySendError::Closed(text) => text,
        })
    }

    /// No more messages will come.
    pub(crate) fn close(&self, why: impl Into<Arc<str>>) {
        let mut state = lock(&self.state);
        if state.closed.is_none() {
            state.closed = Some(why.into());
        }
        state.waiting.clear();
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed.is_some()
    }

    fn gone(&self) -> Fault {
        let why = lock(&self.state).closed.clone();
        Fault::new(&self.target, Kind::Broken, why.unwrap_or_else(|| "stopped before it answered".into()))
    }
}

fn progress_token(params: &str) -> Option<Box<str>> {
    let [meta] = jsonrpc::members(params, ["_meta"]).ok()?;
    let [token] = jsonrpc::members(meta?, ["progressToken"]).ok()?;
    token.map(Into::into)
}

fn own_progress_token(params: &str) -> Option<Box<str>> {
    let [token] = jsonrpc::members(params, ["progressToken"]).ok()?;
    token.map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Arc<Peer> {
        of(false)
    }

    fn of(is_shared: bool) -> Arc<Peer> {
        Arc::new(Peer { target: "t".into(), index: 0, session: Weak::new(), is_shared, state: Mutex::default() })
    }

    fn ticket(peer: &Arc<Peer>, request: &str) -> Ticket {
        peer.expect(&Envelope::parse(request).unwrap(), true).unwrap()
    }

    #[tokio::test]
    async fn each_message_finds_its_request() {
        let peer = peer();
        let mut first = ticket(
            &peer,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","_meta":{"progressToken":"p"}}}"#,
        );
        let mut second = ticket(&peer, r#"{"jsonrpc":"2.0","id":"1","method":"tools/call"}"#);
        let progress =
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}"#;
        let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
        for text in
            [progress, log, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, r#"{"jsonrpc":"2.0","id":"1","result":[]}"#]
        {
            assert_eq!(peer.accept(text.into()), Inbound::Done);
        }
        assert_eq!(first.next().await.unwrap(), progress);
        assert!(first.next().await.unwrap().contains("\"id\":1"));
        assert_eq!(first.next().await, None);
        assert_eq!(second.next().await.unwrap(), log);
        assert!(second.next().await.unwrap().contains("[]"));
    }

    #[tokio::test]
    async fn what_a_shared_session_cannot_attribute_reaches_nobody() {
        const QUESTION: &str = r#"{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":{}}"#;
        const LOG: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
        const STRAY: &str =
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"gone","progress":1}}"#;
        let call = |id: u32| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"x"}}}}"#);
        let refused = |peer: &Arc<Peer>| match peer.accept(QUESTION.into()) {
            Inbound::Answer(answer) => {
                let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
                assert!(answer["id"] == 5 && answer["error"]["code"].is_i64(), "{answer}");
                true
            }
            _ => false,
        };
        let peer = of(true);
        // Nobody is there to be asked.
        assert!(refused(&peer));
        let mut first = ticket(&peer, &call(1));
        // One who listens has no call open.
        let _listener = ticket(&peer, r#"{"jsonrpc":"2.0","id":9,"method":"subscriptions/listen"}"#);
        assert!(!refused(&peer));
        assert_eq!(first.next().await.unwrap(), QUESTION);
        let mut second = ticket(&peer, &call(2));
        assert!(refused(&peer));
        for text in [LOG, STRAY] {
            assert_eq!(peer.accept(text.into()), Inbound::Done);
        }
        // A caller who has left is still one for whom the target may ask.
        drop(first);
        assert!(refused(&peer));
        peer.accept(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.into());
        assert!(!refused(&peer));
        assert_eq!(second.next().await.unwrap(), QUESTION);
        peer.accept(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#.into());
        assert!(second.next().await.unwrap().contains("result"));
        assert_eq!(second.next().await, None);
    }

    #[tokio::test]
    async fn a_flood_leaves_room_for_the_response() {
        let peer = peer();
        let mut ticket = ticket(&peer, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
        for _ in 0..1_000 {
            peer.accept(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#.into());
        }
        peer.accept(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.into());
        let mut last = None;
        let mut count = 0;
        while let Some(text) = ticket.next().await {
            last = Some(text);
            count += 1;
        }
        assert_eq!(count, limits::STREAM_QUEUE);
        assert!(last.unwrap().contains("result"));
    }

    #[tokio::test]
    async fn a_target_that_ends() {
        let peer = peer();
        let mut ticket = ticket(&peer, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
        peer.close("exited with code 1");
        assert_eq!(ticket.next().await, None);
        assert_eq!(ticket.broken().to_string(), "target \"t\" exited with code 1");
        assert!(peer.expect(&Envelope::parse(r#"{"jsonrpc":"2.0","id":2,"method":"x"}"#).unwrap(), true).is_err());
    }

    #[test]
    fn ids_are_used_once_at_a_time() {
        let peer = peer();
        let request = r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#;
        let open = ticket(&peer, request);
        assert!(peer.expect(&Envelope::parse(request).unwrap(), true).is_err());
        drop(open);
        assert!(peer.expect(&Envelope::parse(request).unwrap(), true).is_ok());
    }

    #[test]
    fn pings_and_garbage() {
        let peer = peer();
        let answer = peer.accept(r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#.into());
        assert_eq!(answer, Inbound::Answer(jsonrpc::result("9", "{}")));
        assert!(matches!(peer.accept("npm notice".into()), Inbound::Garbage(_)));
    }
}
