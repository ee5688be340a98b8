//! A client's session: who it belongs to, what was agreed with the client, and its link to each target.
//!
//! Shared by all threads; its locks are held for a few instructions and never across an await.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, broadcast, oneshot};

use crate::capabilities::Handshake;
use crate::fault::Fault;
use crate::jsonrpc;
use crate::limits::{CLIENT_BYTES, HELD_IDLE, UNCONFIRMED};
use crate::link::Link;
use crate::lock;
use crate::outbox::Outbox;
use crate::protocol::{Version, meta};
use crate::stream::News;
use crate::target::Target;
use crate::wishes::Wishes;

/// Id of the gateway's own `initialize` requests.
pub(crate) const INITIALIZE_ID: &str = r#""agentgateway-initialize""#;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: [u8; 16],
    /// Key of the backend that it was opened at.
    pub(crate) backend: Arc<str>,
    /// Messages that belong to no request.
    pub(crate) outbox: Outbox,
    /// What a target that forgot the session is asked for again.
    pub(crate) wishes: Wishes,
    version: AtomicU8,
    /// `{"capabilities":...,"clientInfo":...}` as the client sent it.
    client: Box<RawValue>,
    slots: Mutex<Vec<Arc<Slot>>>,
    /// Open requests whose target only the gateway knows: id as written, place of the target.
    in_flight: Mutex<Vec<(Box<str>, usize)>>,
    /// Whether it is the gateway's own, for a client without sessions.
    held: bool,
    /// The client has said `notifications/initialized`.
    initialized: AtomicBool,
    /// The client has its answer to `initialize`: a target that comes later is news.
    answered: AtomicBool,
    ended: AtomicBool,
    /// Told when a subscription changes that the gateway holds itself.
    pub(crate) rewished: Notify,
    in_use: AtomicU32,
    /// Questions of the gateway that the client has not answered: id as written.
    questions: Mutex<Vec<(Box<str>, oneshot::Sender<String>)>>,
    /// Who hears of what targets tell a held session.
    pub(crate) news: Mutex<Option<broadcast::Sender<Arc<News>>>>,
    /// Seconds since [`epoch`].
    last_used: AtomicU64,
    sequence: AtomicU64,
}

/// The session at one target.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) target: Arc<Target>,
    pub(crate) state: Mutex<SlotState>,
    pub(crate) changed: Notify,
}

#[derive(Debug, Default)]
pub(crate) enum SlotState {
    #[default]
    Idle,
    Connecting,
    Ready(Link),
    Failed(Fault, Instant),
}

/// Keeps a session from expiring.
#[derive(Debug)]
pub(crate) struct Use(Arc<Session>);

/// Takes a question back that was not answered.
#[derive(Debug)]
pub(crate) struct Expected(Arc<Session>, Box<str>);

/// Notes an open request for as long as it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Session>, Box<str>);

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn seconds() -> u64 {
    epoch().elapsed().as_secs()
}

impl Session {
    pub(crate) fn new(id: [u8; 16], backend: Arc<str>, version: Version, client: Box<RawValue>) -> Self {
        Self {
            id,
            backend,
            outbox: Outbox::default(),
            wishes: Wishes::default(),
            version: AtomicU8::new(version as u8),
            client,
            slots: Mutex::default(),
            in_flight: Mutex::default(),
            held: false,
            initialized: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            rewished: Notify::new(),
            in_use: AtomicU32::new(0),
            questions: Mutex::default(),
            news: Mutex::default(),
            last_used: AtomicU64::new(seconds()),
            sequence: AtomicU64::new(0),
        }
    }

    /// A session that the gateway holds at targets for clients that have none.
    pub(crate) fn held(id: [u8; 16], backend: Arc<str>, client: Box<RawValue>) -> Self {
        let session = Self { held: true, ..Self::new(id, backend, Version::LATEST, client) };
        session.set_initialized();
        session.set_answered();
        session
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    pub(crate) fn version(&self) -> Version {
        Version::ALL.get(usize::from(self.version.load(Ordering::Relaxed))).copied().unwrap_or(Version::LATEST)
    }

    pub(crate) fn set_version(&self, version: Version) {
        self.version.store(version as u8, Ordering::Relaxed);
    }

    pub(crate) fn client(&self) -> &RawValue {
        &self.client
    }

    /// The `initialize` request for targets, in the client's name.
    pub(crate) fn initialize_request(&self) -> String {
        let client = self.client.get().trim();
        let rest = client.get(1..).unwrap_or("}").trim_start();
        let comma = if rest == "}" { "" } else { "," };
        let version = self.version();
        format!(
            r#"{{"jsonrpc":"2.0","id":{INITIALIZE_ID},"method":"initialize","params":{{"protocolVersion":"{version}"{comma}{rest}}}"#
        )
    }

    /// The `server/discover` request for targets, in the client's name.
    pub(crate) fn discover_request(&self) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","id":{INITIALIZE_ID},"method":"server/discover","params":{{"_meta":{{{}}}}}}}"#,
            self.meta_members()
        )
    }

    /// What each request to a target of the stateless protocol says of the client: members of `_meta`.
    pub(crate) fn meta_members(&self) -> String {
        let [capabilities, client] =
            jsonrpc::members(self.client.get(), ["capabilities", "clientInfo"]).unwrap_or_default();
        let capabilities = capabilities.unwrap_or("{}");
        let mut out = format!(r#""{}":"{}","{}":{capabilities}"#, meta::VERSION, Version::MODERN, meta::CAPABILITIES);
        if let Some(client) = client {
            out.push_str(&format!(r#","{}":{client}"#, meta::CLIENT));
        }
        out
    }

    /// Notes that the client has said that it is ready; whether it is the first time.
    pub(crate) fn set_initialized(&self) -> bool {
        !self.initialized.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_initialized(&self) -> bool {
        self.initialized.load(Ordering::Acquire)
    }

    pub(crate) fn set_answered(&self) {
        self.answered.store(true, Ordering::Release);
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    /// The slot of a target of the current configuration. When the configuration says something else about the target
    /// than before, the old link is dropped.
    pub(crate) fn slot(&self, target: &Arc<Target>) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        let Some(slot) = slots.iter_mut().find(|s| s.target.name == target.name) else {
            let slot = Arc::new(Slot::new(target, SlotState::Idle));
            slots.push(Arc::clone(&slot));
            return slot;
        };
        if !Arc::ptr_eq(&slot.target, target) {
            let state = if slot.target.spec == target.spec && slot.target.index == target.index {
                let mut state = lock(&slot.state);
                match &*state {
                    SlotState::Ready(_) => std::mem::take(&mut *state),
                    // Who waits for a handshake that goes on keeps the old slot.
                    _ => SlotState::Idle,
                }
            } else {
                SlotState::Idle
            };
            *slot = Arc::new(Slot::new(target, state));
        }
        Arc::clone(slot)
    }

    /// Puts a link where none is, when a session is resumed.
    pub(crate) fn restore(&self, target: &Arc<Target>, link: Link) {
        lock(&self.slots).push(Arc::new(Slot::new(target, SlotState::Ready(link))));
    }

    /// All links that are there.
    pub(crate) fn links(&self) -> Vec<(Arc<Target>, Link)> {
        let slots = lock(&self.slots).clone();
        slots.iter().filter_map(|slot| Some((Arc::clone(&slot.target), slot.ready()?))).collect()
    }

    /// Forgets targets that the configuration has no more.
    pub(crate) fn retain(&self, targets: &[Arc<Target>]) {
        let mut slots = lock(&self.slots);
        if slots.len() > targets.len() {
            slots.retain(|slot| targets.iter().any(|t| t.name == slot.target.name));
        }
    }

    /// Ends the session: no new link is made, and its links are handed back to be told.
    pub(crate) fn end(&self) -> Vec<(Arc<Target>, Link)> {
        self.ended.store(true, Ordering::Release);
        self.outbox.close();
        let slots = std::mem::take(&mut *lock(&self.slots));
        slots
            .iter()
            .filter_map(|slot| match std::mem::take(&mut *lock(&slot.state)) {
                SlotState::Ready(link) => Some((Arc::clone(&slot.target), link)),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Notes that the open request `id` is with a target.
    pub(crate) fn note(self: &Arc<Self>, id: &str, target: usize) -> InFlight {
        lock(&self.in_flight).push((id.into(), target));
        InFlight(Arc::clone(self), id.into())
    }

    /// Says that what the client wants to hear of has changed.
    pub(crate) fn rewish(&self) {
        self.rewished.notify_waiters();
    }

    /// Notes a question to the client; its answer goes to `sender`.
    pub(crate) fn expect(self: &Arc<Self>, id: &str, sender: oneshot::Sender<String>) -> Expected {
        lock(&self.questions).push((id.into(), sender));
        Expected(Arc::clone(self), id.into())
    }

    /// Takes the client's answer to a question of the gateway, whose id it has; whether there was one.
    pub(crate) fn answer(&self, id: &str, text: &str) -> bool {
        let mut all = lock(&self.questions);
        let Some(at) = all.iter().position(|(known, _)| &**known == id) else { return false };
        let (_, sender) = all.swap_remove(at);
        drop(all);
        // Whoever asked may have given up.
        drop(sender.send(text.to_owned()));
        true
    }

    /// The target that an open request is with.
    pub(crate) fn find(&self, id: &str) -> Option<usize> {
        lock(&self.in_flight).iter().find(|(known, _)| &**known == id).map(|(_, target)| *target)
    }

    /// A request id of the gateway's own, for this session.
    pub(crate) fn next_id(&self) -> String {
        format!(r#""agentgateway-{}""#, self.sequence.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn hold(self: &Arc<Self>) -> Use {
        self.in_use.fetch_add(1, Ordering::Relaxed);
        self.last_used.store(seconds(), Ordering::Relaxed);
        Use(Arc::clone(self))
    }

    pub(crate) fn is_idle(&self, limit: Duration) -> bool {
        let limit = match (self.held, self.is_initialized()) {
            (true, _) => limit.min(HELD_IDLE),
            (false, true) => limit,
            (false, false) => limit.min(UNCONFIRMED),
        };
        self.in_use.load(Ordering::Relaxed) == 0
            && seconds().saturating_sub(self.last_used.load(Ordering::Relaxed)) > limit.as_secs()
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.last_used.store(seconds(), Ordering::Relaxed);
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        lock(&self.0.questions).retain(|(id, _)| *id != self.1);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut all = lock(&self.0.in_flight);
        if let Some(at) = all.iter().position(|(id, _)| *id == self.1) {
            all.swap_remove(at);
        }
    }
}

impl Slot {
    fn new(target: &Arc<Target>, state: SlotState) -> Self {
        Self { target: Arc::clone(target), state: Mutex::new(state), changed: Notify::new() }
    }

    /// The link, if there is one that may work.
    pub(crate) fn ready(&self) -> Option<Link> {
        match &*lock(&self.state) {
            SlotState::Ready(link) if link.is_alive() => Some(link.clone()),
            _ => None,
        }
    }

    /// Forgets a link that turned out to be of no use, unless it was replaced already.
    pub(crate) fn discard(&self, link: &Link) {
        let mut state = lock(&self.state);
        if matches!(&*state, SlotState::Ready(current) if current.same(link)) {
            *state = SlotState::Idle;
        }
    }

    pub(crate) fn settle(&self, result: Result<Link, Fault>) {
        *lock(&self.state) = match result {
            Ok(link) => SlotState::Ready(link),
            Err(fault) => SlotState::Failed(fault, Instant::now()),
        };
        self.changed.notify_waiters();
    }
}

/// Name and capabilities of a client, of bounded size, from the params of its `initialize`.
pub(crate) fn client_of(params: &str) -> Result<Box<RawValue>, serde_json::Error> {
    let [capabilities, info] = jsonrpc::members(params, ["capabilities", "clientInfo"])?;
    let text = match info {
        Some(info) => format!(r#"{{"capabilities":{},"clientInfo":{info}}}"#, capabilities.unwrap_or("{}")),
        None => format!(r#"{{"capabilities":{}}}"#, capabilities.unwrap_or("{}")),
    };
    if text.len() <= CLIENT_BYTES {
        return RawValue::from_string(text);
    }
    let all: Value = serde_json::from_str(&text)?;
    let mut capabilities = Map::new();
    for name in ["roots", "sampling", "elicitation"] {
        if let Some(Value::Object(own)) = all["capabilities"].get(name) {
            let flags = own.iter().filter(|(key, value)| key.len() <= 32 && (value.is_boolean() || value.is_object()));
            let flags = flags
                .take(8)
                .map(|(key, value)| (key.clone(), if value.is_boolean() { value.clone() } else { json!({}) }));
            capabilities.insert(name.into(), Value::Object(flags.collect()));
        }
    }
    let short = |name: &str| {
        let text = all["clientInfo"][name].as_str().unwrap_or_default();
        text.chars().take(64).collect::<String>()
    };
    let client = json!({
        "capabilities": capabilities,
        "clientInfo": {"name": short("name"), "version": short("version")},
    });
    RawValue::from_string(client.to_string())
}

/// A handshake that was just made, for the client's own `initialize`.
pub(crate) type Handshakes = Arc<Mutex<Vec<(usize, Handshake)>>>;

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn session() -> Arc<Session> {
        let client = client_of(r#"{"capabilities":{"roots":{}},"clientInfo":{"name":"c","version":"1"}}"#).unwrap();
        Arc::new(Session::new([0; 16], "b".into(), Version::V2025_06_18, client))
    }

    #[test]
    fn targets_are_greeted_in_the_clients_name() {
        let request = session().initialize_request();
        let value: Value = serde_json::from_str(&request).unwrap();
        assert_eq!(
            value["params"],
            json!({"protocolVersion": "2025-06-18", "capabilities": {"roots": {}}, "clientInfo": {"name": "c", "version": "1"}})
        );
    }

    #[test]
    fn a_talkative_client_is_cut_short() {
        let params = json!({
            "capabilities": {"sampling": {"tools": {"x": "y".repeat(4_000)}}, "experimental": {"a": "b".repeat(4_000)}},
            "clientInfo": {"name": "n".repeat(4_000), "version": "1"},
        });
        let client = client_of(&params.to_string()).unwrap();
        assert!(client.get().len() <= CLIENT_BYTES);
        let value: Value = serde_json::from_str(client.get()).unwrap();
        assert_eq!(value["capabilities"], json!({"sampling": {"tools": {}}}));
    }

    #[test]
    fn open_requests() {
        let session = session();
        let first = session.note("1", 0);
        let second = session.note("\"1\"", 1);
        assert_eq!((session.find("1"), session.find("\"1\"")), (Some(0), Some(1)));
        drop(first);
        assert_eq!(session.find("1"), None);
        drop(second);
    }

    #[test]
    fn a_session_in_use_is_not_idle() {
        let session = session();
        let held = session.hold();
        session.last_used.store(0, Ordering::Relaxed);
        assert!(!session.is_idle(Duration::ZERO));
        drop(held);
        assert!(!session.is_idle(Duration::from_secs(1)));
    }

    #[test]
    fn what_an_idle_session_costs() {
        // 100,000 of them must fit; the rest of a session is its client's name and its targets' session ids.
        let fixed = size_of::<Session>() + size_of::<Slot>() + size_of::<crate::link::http::HttpLink>();
        assert!(fixed < 1024, "{fixed}");
    }
}
