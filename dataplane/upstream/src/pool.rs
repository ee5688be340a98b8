//! Connections of one worker thread that wait for a request, by endpoint.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use http::HeaderMap;
use hyper::client::conn::{http1, http2};

use crate::balancer::Shared;
use crate::body::Body;
use crate::endpoint::InFlight;
use crate::limits::{IDLE_TIMEOUT, MAX_IDLE_PER_ENDPOINT};

type Http1 = http1::SendRequest<Body>;
type Http2 = http2::SendRequest<Body>;

/// Idle connections that are looked at in search of one that is ready.
const MAX_TRIES: usize = 4;

/// Connections of one thread.
#[derive(Default)]
pub(crate) struct Pool {
    endpoints: RefCell<AHashMap<u64, Connections>>,
}

#[derive(Default)]
struct Connections {
    /// The one returned last is used first, so that what is too many grows old.
    idle: VecDeque<Idle>,
    shared: Option<(Http2, Option<Arc<Shared>>)>,
}

struct Idle {
    /// From then on it is not used any more.
    until: Instant,
    sender: Http1,
    /// What the backend counts; None where it counts nothing.
    shared: Option<Arc<Shared>>,
}

impl Idle {
    /// Whether it may wait any longer: not when a request on another thread waits for its place.
    fn may_stay(&self, now: Instant) -> bool {
        now < self.until && !self.sender.is_closed() && !self.shared.as_ref().is_some_and(|s| s.wants_connections())
    }
}

/// How long a connection may wait for its next request. A server that says when it closes idle connections
/// (`Keep-Alive: timeout=5`, as Node does) is believed, with a margin: a request that crosses its close on the way is lost.
fn patience(response: &HeaderMap, most: Duration) -> Duration {
    const MARGIN: Duration = Duration::from_secs(1);
    let said = response.get("keep-alive").and_then(|value| value.to_str().ok());
    let timeout = said.and_then(|text| text.split(',').find_map(|part| part.trim().strip_prefix("timeout=")));
    match timeout.and_then(|seconds| seconds.trim().parse().ok()) {
        Some(seconds) => most.min(Duration::from_secs(seconds).saturating_sub(MARGIN)),
        None => most,
    }
}

impl Pool {
    /// A connection that is ready for a request.
    pub(crate) fn take_http1(&self, endpoint: u64) -> Option<Http1> {
        let mut endpoints = self.endpoints.borrow_mut();
        let idle = &mut endpoints.get_mut(&endpoint)?.idle;
        for _ in 0..MAX_TRIES {
            let connection = idle.pop_back()?;
            if connection.until <= Instant::now() {
                continue;
            }
            if connection.sender.is_ready() {
                return Some(connection.sender);
            }
            // Neither ready nor closed: its last response is still being read to the end. It may become ready.
            if !connection.sender.is_closed() {
                idle.push_front(connection);
            }
        }
        None
    }

    pub(crate) fn shared_http2(&self, endpoint: u64) -> Option<Http2> {
        let endpoints = self.endpoints.borrow();
        endpoints.get(&endpoint)?.shared.as_ref().map(|(sender, _)| sender).filter(|s| !s.is_closed()).cloned()
    }

    pub(crate) fn share_http2(&self, endpoint: u64, sender: Http2, counted: Option<&Arc<Shared>>) {
        self.endpoints.borrow_mut().entry(endpoint).or_default().shared = Some((sender, counted.cloned()));
    }

    fn put_http1(&self, endpoint: u64, idle: Idle) {
        if !idle.may_stay(Instant::now()) {
            return;
        }
        let mut endpoints = self.endpoints.borrow_mut();
        let all = &mut endpoints.entry(endpoint).or_default().idle;
        if all.len() >= MAX_IDLE_PER_ENDPOINT {
            all.pop_front();
        }
        all.push_back(idle);
    }

    /// Drops connections that were idle for too long or are closed.
    pub(crate) fn sweep(&self) {
        self.endpoints.borrow_mut().retain(|_, c| {
            let now = Instant::now();
            c.idle.retain(|connection| connection.may_stay(now));
            c.shared.take_if(|(sender, counted)| {
                sender.is_closed() || counted.as_ref().is_some_and(|counted| counted.wants_connections())
            });
            !c.idle.is_empty() || c.shared.is_some()
        });
    }
}

/// Held by a response body: counts the request, and gives an HTTP/1.1 connection back when the body is done.
pub(crate) struct Lease {
    in_flight: InFlight,
    connection: Option<(Rc<Pool>, Http1, Duration)>,
}

impl Lease {
    /// `response` is the head of the response that the connection gives.
    pub(crate) fn http1(in_flight: InFlight, pool: Rc<Pool>, sender: Http1, response: &HeaderMap) -> Self {
        let patience = patience(response, in_flight.0.idle_timeout().unwrap_or(IDLE_TIMEOUT));
        Lease { in_flight, connection: Some((pool, sender, patience)) }
    }

    pub(crate) fn http2(in_flight: InFlight) -> Self {
        Lease { in_flight, connection: None }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((pool, sender, patience)) = self.connection.take() {
            let idle = Idle { until: Instant::now() + patience, sender, shared: self.in_flight.shared().cloned() };
            pool.put_http1(self.in_flight.0.id, idle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_believed_when_it_says_how_long_it_waits() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("keep-alive", http::HeaderValue::from_static(value));
            patience(&headers, IDLE_TIMEOUT)
        };
        assert_eq!(of("timeout=5"), Duration::from_secs(4));
        assert_eq!(of("max=100, timeout=5"), Duration::from_secs(4));
        assert_eq!(of("timeout=5, max=100"), Duration::from_secs(4));
        assert_eq!(of("timeout=1"), Duration::ZERO);
        assert_eq!(of("timeout=600"), IDLE_TIMEOUT);
        assert_eq!(of("timeout=soon"), IDLE_TIMEOUT);
        assert_eq!(patience(&HeaderMap::new(), IDLE_TIMEOUT), IDLE_TIMEOUT);
    }
}
