//! The Balancers of the process by the key of their backend, so that a change of the configuration keeps what they know.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use dashmap::DashMap;
use tokio::sync::Notify;

use super::{Balancer, Bound, Settings, Source};

/// All of them.
#[derive(Debug, Default)]
pub struct Balancers {
    known: DashMap<String, Weak<Balancer>>,
    /// Those that no keeper has yet.
    unkept: Mutex<Vec<Weak<Balancer>>>,
    added: Notify,
}

/// What is known of a backend, for metrics and dumps.
#[derive(Clone, Debug)]
pub struct BalancerReport {
    /// Key of the backend.
    pub key: String,
    /// Its endpoints.
    pub endpoints: Vec<EndpointReport>,
    /// Endpoints that get requests.
    pub serving: usize,
    /// Ejections so far.
    pub ejections: u64,
    /// How many there are now of each thing that is bounded, and how often there would have been too many.
    pub bounds: [(Bound, u32, u64); 4],
}

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct EndpointReport {
    /// Its address.
    pub address: SocketAddr,
    /// From 0; those of the lowest level get requests first.
    pub level: u32,
    /// For its failures.
    pub ejected: bool,
    /// By the health checks.
    pub unhealthy: bool,
    /// Requests, of all backends that have this endpoint.
    pub in_flight: u32,
}

impl Balancers {
    /// The one of this backend, which has these policies and endpoints now.
    pub fn get(&self, key: &str, settings: Settings, source: Source) -> Arc<Balancer> {
        let mut slot = self.known.entry(key.to_owned()).or_default();
        if let Some(known) = slot.upgrade() {
            known.configure(settings, source);
            return known;
        }
        let new = Arc::new(Balancer::new(key, settings, source));
        *slot = Arc::downgrade(&new);
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&new));
        self.added.notify_one();
        new
    }

    /// Forgets those that no configuration has any more.
    pub fn sweep(&self) {
        self.known.retain(|_, balancer| balancer.strong_count() > 0);
    }

    pub(super) async fn unkept(&self) -> Weak<Balancer> {
        loop {
            let next = self.unkept.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match next {
                Some(balancer) => return balancer,
                None => self.added.notified().await,
            }
        }
    }

    /// What is known of all, in the order of their keys.
    pub fn read(&self) -> Vec<BalancerReport> {
        let mut all: Vec<_> = self.known.iter().filter_map(|b| b.upgrade()).map(|b| b.read()).collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }
}

impl Balancer {
    fn read(&self) -> BalancerReport {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoints = state.kept.iter().map(|kept| EndpointReport {
            address: kept.member.endpoint.address(),
            level: kept.level,
            ejected: kept.member.ejected.load(Ordering::Relaxed),
            unhealthy: kept.member.unhealthy.load(Ordering::Relaxed),
            in_flight: kept.member.endpoint.in_flight(),
        });
        BalancerReport {
            key: self.key.to_string(),
            endpoints: endpoints.collect(),
            serving: self.view.load().serving(),
            ejections: state.ejections,
            bounds: Bound::ALL.map(|bound| {
                let (now, refused) = self.shared.read(bound);
                (bound, now, refused)
            }),
        }
    }
}
