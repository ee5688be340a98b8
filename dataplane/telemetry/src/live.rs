//! The live trace: what becomes of single requests, told step by step to whoever watches at this moment.
//!
//! It belongs to the process, as its admin port does. While nobody watches it costs one load of an atomic for each request. No
//! step ever waits: what a watcher does not take in time is lost, and counted. Values of headers are shown for names that are
//! known to be harmless alone, and of a target only the path: keys and tokens may stand anywhere else.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

/// Those who may watch at one time.
pub const MAX_WATCHERS: usize = 4;
/// Steps that may wait for a watcher.
const MAX_QUEUED: usize = 1024;
/// Steps that are told of one request.
const MAX_STEPS: u32 = 256;
/// Headers that are told of one request.
const MAX_HEADERS: usize = 64;
/// Longer texts are cut.
const MAX_TEXT_BYTES: usize = 1024;

/// Headers whose values are shown.
const SHOWN: [HeaderName; 10] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::ORIGIN,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::USER_AGENT,
];

static WATCHED: AtomicBool = AtomicBool::new(false);
static WATCHERS: Mutex<Vec<Arc<Watcher>>> = Mutex::new(Vec::new());
static LAST_REQUEST: AtomicU64 = AtomicU64::new(0);

/// Which requests are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The host that a request names, in lower case, without a port. None: any.
    pub host: Option<String>,
    /// What the path begins with.
    pub path: String,
}

impl Filter {
    fn holds(&self, host: &str, path: &str) -> bool {
        self.host.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(host)) && path.starts_with(&self.path)
    }
}

struct Watcher {
    filter: Filter,
    /// Requests that are still to be watched.
    left: AtomicU32,
    until: Instant,
    lines: mpsc::Sender<String>,
    lost: AtomicU64,
}

/// The steps of requests, as lines of JSON. Whoever drops it watches no more.
pub struct Watching {
    lines: mpsc::Receiver<String>,
    watcher: std::sync::Weak<Watcher>,
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watching")
    }
}

/// Watches up to `limit` requests that begin within `time`. None: too many watch.
pub fn watch(filter: Filter, limit: u32, time: Duration) -> Option<Watching> {
    let mut all = WATCHERS.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|watcher| watcher.is_watching());
    if all.len() >= MAX_WATCHERS {
        return None;
    }
    let (to, lines) = mpsc::channel(MAX_QUEUED);
    let (left, until) = (AtomicU32::new(limit), Instant::now() + time);
    let watcher = Arc::new(Watcher { filter, left, until, lines: to, lost: AtomicU64::new(0) });
    let weak = Arc::downgrade(&watcher);
    all.push(watcher);
    WATCHED.store(true, Ordering::Relaxed);
    Some(Watching { lines, watcher: weak })
}

impl Watching {
    /// The next line, with its end. None: the last request that is watched has ended.
    pub fn poll_line(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<String>> {
        self.lines.poll_recv(cx)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.lines.close();
        forget(&self.watcher);
    }
}

fn forget(gone: &std::sync::Weak<Watcher>) {
    let mut all = WATCHERS.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|watcher| watcher.is_watching() && !std::ptr::eq(Arc::as_ptr(watcher), gone.as_ptr()));
    WATCHED.store(!all.is_empty(), Ordering::Relaxed);
}

impl Watcher {
    fn is_watching(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0 && !self.lines.is_closed()
    }

    /// Takes one of the requests that are still to be watched.
    fn take(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

/// Whether anybody watches.
#[inline]
pub fn is_watched() -> bool {
    WATCHED.load(Ordering::Relaxed)
}

/// A request that is watched.
pub struct Watch {
    request: u64,
    start: Instant,
    steps: Cell<u32>,
    watchers: Box<[Arc<Watcher>]>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({})", self.request)
    }
}

impl Watch {
    /// Whether somebody watches this request.
    #[cold]
    pub fn begin(host: &str, head: &Parts) -> Option<Box<Watch>> {
        let now = Instant::now();
        let path = head.uri.path();
        let mut all = WATCHERS.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |w: &&Arc<Watcher>| now < w.until && w.filter.holds(host, path) && w.take();
        let watchers: Box<[_]> = all.iter().filter(holds).cloned().collect();
        all.retain(|watcher| watcher.is_watching());
        WATCHED.store(!all.is_empty(), Ordering::Relaxed);
        drop(all);
        if watchers.is_empty() {
            return None;
        }
        let request = LAST_REQUEST.fetch_add(1, Ordering::Relaxed) + 1;
        Some(Box::new(Watch { request, start: now, steps: Cell::new(0), watchers }))
    }

    /// Tells of a step.
    pub fn step(&self, step: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) {
        let nth = self.steps.get();
        self.steps.set(nth.saturating_add(1));
        // The end is always told.
        if nth >= MAX_STEPS && step != "end" {
            return;
        }
        let mut line = Map::new();
        line.insert("request".into(), self.request.into());
        line.insert("at_us".into(), micros(self.start.elapsed()));
        line.insert("step".into(), step.into());
        line.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), shortened(value))));
        for watcher in &self.watchers {
            let lost = watcher.lost.load(Ordering::Relaxed);
            if lost > 0 {
                line.insert("lost".into(), lost.into());
            }
            if watcher.lines.try_send(format!("{}\n", Value::Object(line.clone()))).is_err() {
                watcher.lost.fetch_add(1, Ordering::Relaxed);
            }
            line.remove("lost");
        }
    }
}

/// A time, for a step.
pub fn micros(time: Duration) -> Value {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).into()
}

/// Headers, for a step: the values of those that are known to be harmless, and the names of all.
pub fn headers(all: &HeaderMap) -> Value {
    let shown = |name: &HeaderName| {
        let values = all.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let text = if SHOWN.contains(name) { values.collect::<Vec<_>>().join(", ") } else { "***".to_owned() };
        (name.as_str().to_owned(), shortened(text.into()))
    };
    Value::Object(all.keys().take(MAX_HEADERS).map(shown).collect())
}

fn shortened(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > MAX_TEXT_BYTES => {
            let end = text.floor_char_boundary(MAX_TEXT_BYTES);
            text.get(..end).unwrap_or_default().into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Requests of one host of this test's own: tests share the process.
    fn head(path: &str) -> Parts {
        http::Request::get(path).body(()).expect("a request").into_parts().0
    }

    fn lines(watching: &mut Watching) -> (Vec<Value>, bool) {
        let mut all = Vec::new();
        loop {
            match watching.poll_line(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(line)) => all.push(serde_json::from_str(&line).expect("is JSON")),
                Poll::Ready(None) => return (all, true),
                Poll::Pending => return (all, false),
            }
        }
    }

    #[test]
    fn requests_that_the_filter_holds_for_are_watched_up_to_the_limit() {
        let filter = Filter { host: Some("live.test".into()), path: "/a".into() };
        let mut watching = watch(filter.clone(), 2, Duration::from_secs(60)).expect("may watch");
        assert!(is_watched());
        assert!(Watch::begin("other.test", &head("/a")).is_none() && Watch::begin("live.test", &head("/b")).is_none());
        let first = Watch::begin("LIVE.test", &head("/a/b")).expect("is watched");
        first.step("policy", [("verdict", "passed".into())]);
        drop(first);
        let (told, over) = lines(&mut watching);
        assert_eq!((told.len(), over, told[0]["step"].as_str()), (1, false, Some("policy")));
        let second = Watch::begin("live.test", &head("/a")).expect("is watched");
        assert!(Watch::begin("live.test", &head("/a")).is_none(), "the limit is reached");
        for _ in 0..2 * MAX_STEPS {
            second.step("more", []);
        }
        second.step("end", []);
        drop(second);
        let (told, over) = lines(&mut watching);
        assert!(over, "the last request has ended");
        assert_eq!((told.len(), told.last().and_then(|l| l["step"].as_str())), (MAX_STEPS as usize + 1, Some("end")));
        drop(watch(filter, 1, Duration::from_secs(60)).expect("may watch"));
        assert!(Watch::begin("live.test", &head("/a")).is_none(), "whoever is gone watches no more");
        let expired = watch(Filter { host: Some("late.test".into()), path: String::new() }, 1, Duration::ZERO);
        assert!(Watch::begin("late.test", &head("/")).is_none() && expired.is_some());
    }

    #[test]
    fn values_of_headers_are_hidden_unless_they_are_harmless() {
        let mut all = HeaderMap::new();
        for name in ["authorization", "cookie", "x-api-key", "x-my-own-key", "referer"] {
            all.insert(HeaderName::from_static(name), http::HeaderValue::from_static("secret"));
        }
        all.insert(header::USER_AGENT, http::HeaderValue::from_static("curl"));
        let shown = headers(&all);
        assert_eq!((shown["user-agent"].as_str(), shown["x-my-own-key"].as_str()), (Some("curl"), Some("***")));
        assert!(!shown.to_string().contains("secret"));
    }
}
