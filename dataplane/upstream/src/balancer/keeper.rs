//! The keeper of a backend: the one task that changes its state. It ejects endpoints that workers found failing and lets
//! them return, looks names up, and runs health checks. It ends with the Balancer.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::registry::Balancers;
use super::{Balancer, Resolution};
use crate::address::AddressRules;
use crate::dns::{Resolved, Resolver};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::limits;

/// What keepers share.
#[derive(Clone, Debug)]
struct Network {
    resolver: Resolver,
    rules: Arc<AddressRules>,
    checks: Arc<Semaphore>,
}

/// What a keeper waits for.
enum Event {
    Resolved(usize, String, Result<Resolved, Error>),
    Checked(Arc<Endpoint>, Result<(), String>),
}

type Waiting = FuturesUnordered<Pin<Box<dyn Future<Output = Event> + Send>>>;

/// Starts a keeper for each backend that comes. Runs for as long as the process, on the background runtime.
pub async fn run(balancers: Arc<Balancers>, resolver: Resolver, rules: Arc<AddressRules>) {
    let network = Network { resolver, rules, checks: Arc::new(Semaphore::new(limits::MAX_CHECKS)) };
    loop {
        let new = balancers.unkept().await;
        tokio::spawn(keep(new, network.clone()));
    }
}

async fn keep(balancer: Weak<Balancer>, network: Network) {
    let Some(shared) = balancer.upgrade().map(|balancer| Arc::clone(&balancer.shared)) else { return };
    let mut waiting = Waiting::new();
    let mut checks = 0;
    loop {
        // Held only while something is done, so that the backend can go.
        let next = match balancer.upgrade() {
            Some(balancer) => begin(&balancer, &network, &mut waiting, &mut checks),
            None => return,
        };
        let pause = next.map(|next| next.saturating_duration_since(Instant::now()));
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(pause.unwrap_or(Duration::MAX)), if pause.is_some() => {}
            Some(event) = waiting.next() => {
                let Some(balancer) = balancer.upgrade() else { return };
                checks -= usize::from(matches!(event, Event::Checked(..)));
                balancer.happened(event);
            }
        }
    }
}

/// Does what is due, begins what takes time, and gives when to look again.
fn begin(balancer: &Balancer, network: &Network, waiting: &mut Waiting, checks: &mut usize) -> Option<Instant> {
    let mut next = None;
    balancer.change(|state, now| {
        for (at, name) in state.due_names(now) {
            let lookup = network.resolver.lookup(&name);
            waiting.push(Box::pin(async move { Event::Resolved(at, name, lookup.await) }));
        }
        for (check, endpoint) in state.due_checks(now, limits::MAX_CHECKS_PER_BACKEND.saturating_sub(*checks)) {
            let network = network.clone();
            *checks += 1;
            waiting.push(Box::pin(async move {
                let _one_of_all = network.checks.acquire().await;
                let result = check.ask(Arc::clone(&endpoint), network.rules).await;
                Event::Checked(endpoint, result)
            }));
        }
        let changed = state.tend(now);
        let check = state.next_check().filter(|_| *checks < limits::MAX_CHECKS_PER_BACKEND);
        next = state.next().into_iter().chain(check).min();
        changed
    });
    next
}

impl Balancer {
    fn happened(&self, event: Event) {
        match event {
            Event::Checked(endpoint, result) => self.change(|state, now| state.checked(&endpoint, &result, now)),
            Event::Resolved(at, name, answer) => self.resolved((at, &name), answer),
        }
    }

    fn resolved(&self, (at, name): (usize, &str), answer: Result<Resolved, Error>) {
        let (addresses, failure) = match answer {
            Ok(resolved) => (Some(resolved), None),
            Err(error) => {
                tracing::warn!(host = name, %error, "lookup failed; the last known addresses stay in use");
                (None, Some(error.to_string()))
            }
        };
        let mut outcome = Resolution::Pending;
        self.change(|state, now| {
            let again = addresses.as_ref().map_or(now + limits::RESOLVE_AGAIN, |resolved| resolved.valid_until);
            let addresses: Option<Vec<IpAddr>> = addresses.map(|resolved| resolved.addresses);
            let changed = state.resolved((at, name), addresses, again, now);
            outcome = match failure {
                _ if state.kept.is_empty() && !state.is_resolved() => Resolution::Pending,
                Some(why) if state.kept.is_empty() => Resolution::Failed(why.into()),
                _ => Resolution::Done,
            };
            changed
        });
        // After the view: whoever waits for this looks at it next.
        self.resolution.send_if_modified(|known| std::mem::replace(known, outcome.clone()) != outcome);
    }
}
