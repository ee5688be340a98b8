//! Limits of a bind: connections, of all clients and of each, and load that is shed before anything is done for it. Counted
//! for all workers together, and over changes of the configuration.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agentgateway_policy::{InFlight, LimitCounters, Permits, State};
use agentgateway_proto::v1;
use agentgateway_upstream::Body;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::reply;

/// Compiled limits; what is not limited is as large as can be.
#[derive(Debug)]
pub struct BindLimits {
    max_connections: u32,
    max_per_client: Option<u32>,
    max_requests: Option<u32>,
    max_lag: Duration,
    connections: Arc<InFlight>,
    requests: Arc<InFlight>,
    counters: Arc<LimitCounters>,
}

impl BindLimits {
    /// Counts with whatever `state` keeps for the bind.
    pub(crate) fn compile(spec: &v1::BindLimits, bind_key: &str, state: &State) -> BindLimits {
        let some = |limit: u32| Some(limit).filter(|limit| *limit > 0);
        BindLimits {
            max_connections: some(spec.max_connections).unwrap_or(u32::MAX),
            max_per_client: some(spec.max_connections_per_client),
            max_requests: some(spec.max_requests),
            max_lag: match spec.max_lag_milliseconds {
                0 => Duration::MAX,
                milliseconds => Duration::from_millis(milliseconds),
            },
            connections: state.in_flight(&format!("connections of {bind_key}")),
            requests: state.in_flight(&format!("requests of {bind_key}")),
            counters: state.limit_counters(),
        }
    }

    /// Counts a connection; None: there are too many.
    pub(crate) fn connection(&self) -> Option<Permits> {
        self.connections.enter(None, self.max_connections)
    }

    /// Counts a connection against its client; None: it has too many.
    pub(crate) fn connection_of(&self, client: IpAddr) -> Option<Permits> {
        let Some(max) = self.max_per_client else { return Some(Permits::default()) };
        let key = match client.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        self.connections.enter(Some(key), max)
    }

    /// Counts a request, on a worker that comes to its tasks so late.
    ///
    /// # Errors
    /// Why it must not be served now, for the access log.
    pub(crate) fn request(&self, lag: Duration) -> Result<Permits, &'static str> {
        let refused = |why| {
            self.counters.shed.fetch_add(1, Ordering::Relaxed);
            Err(why)
        };
        if lag > self.max_lag {
            return refused("overload: the worker is late");
        }
        match self.max_requests {
            None => Ok(Permits::default()),
            Some(max) => self.requests.enter(None, max).map_or_else(|| refused("overload: too many requests"), Ok),
        }
    }
}

/// The answer to a request that is shed.
pub(crate) fn overloaded() -> Response<Body> {
    let mut response = reply::text(StatusCode::SERVICE_UNAVAILABLE, "the gateway is overloaded\n");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(spec: v1::BindLimits) -> BindLimits {
        BindLimits::compile(&spec, "b", &State::new())
    }

    #[test]
    fn connections_are_bounded_together_and_by_client() {
        let limits = limits(v1::BindLimits { max_connections: 3, max_connections_per_client: 2, ..Default::default() });
        let of = |client: &str| limits.connection_of(client.parse().expect("an address"));
        let (one, two) = (of("10.0.0.1").expect("is served"), of("::ffff:10.0.0.1").expect("is served"));
        assert!(of("10.0.0.1").is_none(), "both ways of writing it are one client");
        assert!(of("10.0.0.2").is_some());
        drop((one, two));
        assert!(of("10.0.0.1").is_some());
        let all: Vec<_> = (0..3).map(|_| limits.connection().expect("is served")).collect();
        assert!(limits.connection().is_none());
        drop(all);
        assert!(limits.connection().is_some());
    }

    #[test]
    fn requests_are_shed_beyond_the_bound_and_while_the_worker_is_late() {
        let limits = limits(v1::BindLimits { max_requests: 1, max_lag_milliseconds: 50, ..Default::default() });
        let held = limits.request(Duration::ZERO).expect("is served");
        assert!(limits.request(Duration::ZERO).is_err());
        drop(held);
        assert!(limits.request(Duration::from_millis(51)).is_err());
        assert!(limits.request(Duration::from_millis(50)).is_ok());
        assert_eq!(limits.counters.shed.load(Ordering::Relaxed), 2);
    }
}
