//! The endpoints of a backend that has policies about them: which there are, which of them get requests, and which one a
//! request gets.
//!
//! Found by the backend's key, so that it outlives changes of the configuration. Workers count in atomics and read the view;
//! the keeper, one task for each backend, alone changes it.

mod breaker;
mod budget;
mod check;
mod keeper;
mod member;
mod registry;
mod settings;
mod state;
mod table;
mod view;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::endpoint::{Endpoint, EndpointRegistry};
use crate::error::{Error, Kind};
use crate::limits;
use crate::upstream::Picked;

pub use breaker::{Bound, Permit};
pub(crate) use breaker::{RECLAIM, Shared};
pub use keeper::run;
pub(crate) use member::{Member, Outcome};
pub use registry::{BalancerReport, Balancers, EndpointReport};
pub use settings::Settings;
pub use table::hash;

use state::State;
use view::View;

use crate::cluster::Host;
use crate::endpoint::Connecting;

/// Where a backend's endpoints come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Known addresses.
    Fixed(Vec<Placed>),
    /// Names that the keeper looks up, with their levels.
    Names {
        /// Names or addresses; requests go to those of the lowest level first.
        hosts: Vec<(Host, u32)>,
        /// How connections are made.
        connecting: Connecting,
        /// Of the process.
        registry: Arc<EndpointRegistry>,
    },
}

/// Where the proxy is; empty where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Of a cloud.
    pub region: String,
    /// Within the region.
    pub zone: String,
}

impl Location {
    /// How far an endpoint is from it: 0 in one zone, 1 in one region, else 2.
    pub fn distance(&self, region: &str, zone: &str) -> u32 {
        if !self.zone.is_empty() && self.zone == zone {
            0
        } else if !self.region.is_empty() && self.region == region {
            1
        } else {
            2
        }
    }
}

/// An endpoint, and its level: those of the lowest get requests first.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// From 0.
    pub level: u32,
}

/// What is known of a backend's names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Resolution {
    Pending,
    Done,
    Failed(Arc<str>),
}

/// The endpoints of one backend with policies about them.
#[derive(Debug)]
pub struct Balancer {
    key: Box<str>,
    shared: Arc<Shared>,
    view: ArcSwap<View>,
    /// Written by the keeper and by changes of the configuration; no request takes it.
    state: Mutex<State>,
    resolution: watch::Sender<Resolution>,
}

impl Balancer {
    fn new(key: &str, settings: Settings, source: Source) -> Balancer {
        let shared = Arc::new(Shared::default());
        shared.configure(&settings);
        let state = State::new(settings, source, Arc::clone(&shared));
        let view = state.view();
        let resolution = if state.is_resolved() { Resolution::Done } else { Resolution::Pending };
        Balancer {
            key: key.into(),
            shared,
            view: ArcSwap::from_pointee(view),
            state: Mutex::new(state),
            resolution: watch::Sender::new(resolution),
        }
    }

    /// Changes what is set; what was counted stays.
    fn configure(&self, settings: Settings, source: Source) {
        self.shared.configure(&settings);
        let mut resolved = false;
        self.change(|state, now| {
            let changed = state.configure(settings, source, now);
            resolved = state.is_resolved();
            changed
        });
        if resolved {
            self.resolution.send_replace(Resolution::Done);
        }
        self.shared.wake.notify_one();
    }

    /// Changes the state, and makes the view anew where that is said to be needed.
    fn change(&self, change: impl FnOnce(&mut State, Instant) -> bool) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if change(&mut state, now) {
            self.view.store(Arc::new(state.view()));
        }
    }

    /// An endpoint for a request. `hash` where the policy hashes; none of `tried` while there are others.
    pub(crate) async fn pick(&self, hash: Option<u64>, tried: &[Arc<Endpoint>]) -> Result<Picked, Error> {
        if let Some(member) = self.view.load().pick(hash, tried) {
            return Ok(Picked::of_member(Arc::clone(member)));
        }
        Box::pin(self.pick_resolved(hash, tried)).await
    }

    /// Waits for the first answer about the names.
    async fn pick_resolved(&self, hash: Option<u64>, tried: &[Arc<Endpoint>]) -> Result<Picked, Error> {
        let mut resolution = self.resolution.subscribe();
        let known = resolution.wait_for(|known| *known != Resolution::Pending);
        let known = tokio::time::timeout(limits::RESOLVE_TIMEOUT, known).await;
        if let Some(member) = self.view.load().pick(hash, tried) {
            return Ok(Picked::of_member(Arc::clone(member)));
        }
        let failed = match known {
            Ok(Ok(known)) => match &*known {
                Resolution::Failed(why) => Some(why.to_string()),
                Resolution::Pending | Resolution::Done => None,
            },
            _ => Some(format!("no answer within {} s", limits::RESOLVE_TIMEOUT.as_secs())),
        };
        Err(match failed {
            Some(why) => Error::new(Kind::Resolve, why),
            None if self.view.load().all.is_empty() => {
                Error::new(Kind::NoEndpoints, "the backend has no ready endpoint")
            }
            None => Error::new(Kind::NoEndpoints, "all endpoints of the backend are ejected or unhealthy"),
        })
    }

    /// The endpoint with this address, if the backend has it.
    pub(crate) fn known(&self, address: SocketAddr) -> Option<Picked> {
        let view = self.view.load();
        let member = view.all.iter().find(|m| m.endpoint.address() == address)?;
        Some(Picked::of_member(Arc::clone(member)))
    }

    /// Shows all endpoints.
    pub(crate) fn each(&self, see: &mut dyn FnMut(Picked)) {
        self.view.load().all.iter().for_each(|member| see(Picked::of_member(Arc::clone(member))));
    }

    pub(crate) fn has(&self, endpoint: &Endpoint) -> bool {
        self.view.load().all.iter().any(|m| m.endpoint.id == endpoint.id)
    }

    /// Whether a request may be sent again; None where the policies forbid it at this moment.
    pub(crate) fn retry(&self) -> Option<Permit> {
        self.shared.retry()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // The keeper finds that it has nothing to keep.
        self.shared.wake.notify_one();
    }
}
