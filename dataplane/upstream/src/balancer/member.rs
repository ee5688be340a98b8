//! An endpoint as one backend sees it: its failures in a row, and whether it gets requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode};

use super::breaker::Shared;
use crate::endpoint::{Endpoint, since_start};
use crate::error::{Error, Kind};

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered(StatusCode),
    /// No answer: no connection, or it broke, or it took too long.
    Failed,
}

impl Outcome {
    /// A call of gRPC that failed before its first message has its status in the head (gRPC over HTTP/2, "Trailers-Only").
    pub(crate) fn of_response<B>(response: &Response<B>) -> Outcome {
        let status = match response.headers().get("grpc-status").map(HeaderValue::as_bytes) {
            Some(b"14") => StatusCode::SERVICE_UNAVAILABLE,
            Some(b"4") => StatusCode::GATEWAY_TIMEOUT,
            Some(b"2" | b"13" | b"15") => StatusCode::INTERNAL_SERVER_ERROR,
            _ => response.status(),
        };
        Outcome::Answered(status)
    }

    /// None: nothing that says anything about the endpoint.
    pub(crate) fn of_error(error: &Error) -> Option<Outcome> {
        match error.kind {
            Kind::Connect | Kind::Tls | Kind::Reset | Kind::Protocol | Kind::Timeout => Some(Outcome::Failed),
            Kind::NoEndpoints
            | Kind::Resolve
            | Kind::AddressRefused
            | Kind::Overloaded
            | Kind::CircuitOpen
            | Kind::RequestBody => None,
        }
    }
}

/// An endpoint of one backend. Workers count; the keeper alone writes the states.
#[derive(Debug)]
pub(crate) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    shared: Arc<Shared>,
    failures_5xx: AtomicU32,
    failures_gateway: AtomicU32,
    /// A worker saw too many failures in a row.
    pub(super) suspect: AtomicBool,
    pub(super) ejected: AtomicBool,
    pub(super) unhealthy: AtomicBool,
    /// Milliseconds since the start; 0: it has its whole share.
    serves_since: AtomicU64,
}

impl Member {
    pub(super) fn new(endpoint: Arc<Endpoint>, shared: Arc<Shared>) -> Self {
        Member {
            endpoint,
            shared,
            failures_5xx: AtomicU32::new(0),
            failures_gateway: AtomicU32::new(0),
            suspect: AtomicBool::new(false),
            ejected: AtomicBool::new(false),
            unhealthy: AtomicBool::new(false),
            serves_since: AtomicU64::new(0),
        }
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Counts how a try ended.
    pub(crate) fn report(&self, outcome: Outcome) {
        let (most_5xx, most_gateway) = (
            self.shared.consecutive_5xx.load(Ordering::Relaxed),
            self.shared.consecutive_gateway.load(Ordering::Relaxed),
        );
        if most_5xx == 0 && most_gateway == 0 {
            return;
        }
        let (server, gateway) = match outcome {
            Outcome::Failed => (true, true),
            Outcome::Answered(status) => (status.is_server_error(), matches!(status.as_u16(), 502..=504)),
        };
        let suspect =
            count(&self.failures_5xx, server, most_5xx) | count(&self.failures_gateway, gateway, most_gateway);
        if suspect && !self.suspect.swap(true, Ordering::Relaxed) {
            self.shared.wake.notify_one();
        }
    }

    /// Begins to count anew.
    pub(super) fn forget_failures(&self) {
        self.failures_5xx.store(0, Ordering::Relaxed);
        self.failures_gateway.store(0, Ordering::Relaxed);
        self.suspect.store(false, Ordering::Relaxed);
    }

    pub(crate) fn gets_requests(&self) -> bool {
        !self.ejected.load(Ordering::Relaxed) && !self.unhealthy.load(Ordering::Relaxed)
    }

    pub(super) fn start_slowly(&self) {
        let now = u64::try_from(since_start().as_millis()).unwrap_or(u64::MAX);
        self.serves_since.store(now.max(1), Ordering::Relaxed);
    }

    pub(super) fn has_started(&self) {
        self.serves_since.store(0, Ordering::Relaxed);
    }

    /// How long it serves; None: long enough.
    pub(super) fn serves(&self) -> Option<Duration> {
        match self.serves_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(since_start().saturating_sub(Duration::from_millis(since))),
        }
    }
}

/// Whether there are `most` failures in a row with this outcome; 0: they are not counted.
fn count(failures: &AtomicU32, failed: bool, most: u32) -> bool {
    if failed {
        return failures.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= most && most > 0;
    }
    // Almost always zero already; a plain load keeps the cache line shared.
    if failures.load(Ordering::Relaxed) != 0 {
        failures.store(0, Ordering::Relaxed);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Connecting, EndpointRegistry};

    fn member(consecutive_5xx: u32, consecutive_gateway: u32) -> Member {
        let shared = Shared::default();
        shared.consecutive_5xx.store(consecutive_5xx, Ordering::Relaxed);
        shared.consecutive_gateway.store(consecutive_gateway, Ordering::Relaxed);
        let endpoint = EndpointRegistry::default().get(([10, 0, 0, 1], 80).into(), &Connecting::default());
        Member::new(endpoint, Arc::new(shared))
    }

    fn suspect_after(member: &Member, statuses: &[u16]) -> bool {
        member.forget_failures();
        for status in statuses {
            let answer = StatusCode::from_u16(*status).map(Outcome::Answered);
            member.report(answer.unwrap_or(Outcome::Failed));
        }
        member.suspect.load(Ordering::Relaxed)
    }

    #[test]
    fn calls_of_grpc_fail_by_their_own_status() {
        let of = |code: &'static str| {
            let response = Response::builder().header("grpc-status", code).body(()).expect("a response");
            Outcome::of_response(&response)
        };
        assert_eq!(of("14"), Outcome::Answered(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!((of("5"), of("0")), (Outcome::Answered(StatusCode::OK), Outcome::Answered(StatusCode::OK)));
    }

    /// 0 stands for no answer.
    #[test]
    fn failures_in_a_row_make_an_endpoint_suspect() {
        let all = member(3, 0);
        assert!(suspect_after(&all, &[500, 0, 503]));
        assert!(!suspect_after(&all, &[500, 500, 200, 500, 500]) && !suspect_after(&all, &[404, 404, 404]));
        let gateway = member(0, 2);
        assert!(suspect_after(&gateway, &[502, 0]) && !suspect_after(&gateway, &[500, 500, 502, 500, 502]));
        assert!(!suspect_after(&member(0, 0), &[500; 100]));
    }
}
