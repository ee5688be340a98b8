//! Connections of one worker thread that wait for a request, by endpoint.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use ahash::AHashMap;
use hyper::client::conn::{http1, http2};

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
    idle: VecDeque<(Instant, Http1)>,
    shared: Option<Http2>,
}

impl Pool {
    /// A connection that is ready for a request.
    pub(crate) fn take_http1(&self, endpoint: u64) -> Option<Http1> {
        let mut endpoints = self.endpoints.borrow_mut();
        let idle = &mut endpoints.get_mut(&endpoint)?.idle;
        for _ in 0..MAX_TRIES {
            let (since, sender) = idle.pop_back()?;
            if sender.is_ready() {
                return Some(sender);
            }
            // Neither ready nor closed: its last response is still being read to the end. It may become ready.
            if !sender.is_closed() {
                idle.push_front((since, sender));
            }
        }
        None
    }

    pub(crate) fn shared_http2(&self, endpoint: u64) -> Option<Http2> {
        let endpoints = self.endpoints.borrow();
        endpoints.get(&endpoint)?.shared.as_ref().filter(|s| !s.is_closed()).cloned()
    }

    pub(crate) fn share_http2(&self, endpoint: u64, sender: Http2) {
        self.endpoints.borrow_mut().entry(endpoint).or_default().shared = Some(sender);
    }

    fn put_http1(&self, endpoint: u64, sender: Http1) {
        if sender.is_closed() {
            return;
        }
        let mut endpoints = self.endpoints.borrow_mut();
        let idle = &mut endpoints.entry(endpoint).or_default().idle;
        if idle.len() >= MAX_IDLE_PER_ENDPOINT {
            idle.pop_front();
        }
        idle.push_back((Instant::now(), sender));
    }

    /// Drops connections that were idle for too long or are closed.
    pub(crate) fn sweep(&self) {
        self.endpoints.borrow_mut().retain(|_, c| {
            c.idle.retain(|(since, sender)| since.elapsed() < IDLE_TIMEOUT && !sender.is_closed());
            if c.shared.as_ref().is_some_and(Http2::is_closed) {
                c.shared = None;
            }
            !c.idle.is_empty() || c.shared.is_some()
        });
    }
}

/// Held by a response body: counts the request, and gives an HTTP/1.1 connection back when the body is done.
pub(crate) struct Lease {
    in_flight: InFlight,
    connection: Option<(Rc<Pool>, Http1)>,
}

impl Lease {
    pub(crate) fn http1(in_flight: InFlight, pool: Rc<Pool>, sender: Http1) -> Self {
        Lease { in_flight, connection: Some((pool, sender)) }
    }

    pub(crate) fn http2(in_flight: InFlight) -> Self {
        Lease { in_flight, connection: None }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((pool, sender)) = self.connection.take() {
            pool.put_http1(self.in_flight.0.id, sender);
        }
    }
}
