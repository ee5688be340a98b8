//! Which provider gets a request, and which the next one when it fails.

use std::sync::Arc;
use std::time::Instant;

use crate::limits::MAX_PROVIDER_TRIES;
use crate::provider::Provider;

/// Providers by priority.
#[derive(Debug)]
pub(crate) struct Groups(pub(crate) Box<[Box<[Arc<Provider>]>]>);

impl Groups {
    pub(crate) fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.0.iter().flatten()
    }

    /// The providers to try, best first: group by group, in each by weight; those that rest come after all others, the one
    /// that is back soonest first. `random` gives a number below its argument.
    pub(crate) fn order(&self, now: Instant, mut random: impl FnMut(u64) -> u64) -> Vec<Arc<Provider>> {
        let (mut order, mut resting) = (Vec::new(), Vec::new());
        for group in &self.0 {
            let mut awake = Vec::with_capacity(group.len());
            for provider in group {
                match provider.rest.left(now) {
                    // A weight of 0 asks for no requests at all.
                    _ if provider.weight == 0 => {}
                    None => awake.push(provider),
                    Some(left) => resting.push((left, provider)),
                }
            }
            while let Some(at) = draw(&awake, &mut random) {
                order.push(Arc::clone(awake.swap_remove(at)));
            }
        }
        resting.sort_by_key(|(left, _)| *left);
        order.extend(resting.into_iter().map(|(_, provider)| Arc::clone(provider)));
        order.truncate(MAX_PROVIDER_TRIES);
        order
    }
}

fn draw(among: &[&Arc<Provider>], random: &mut impl FnMut(u64) -> u64) -> Option<usize> {
    let sum: u64 = among.iter().map(|provider| u64::from(provider.weight)).sum();
    if among.len() < 2 || sum == 0 {
        return (!among.is_empty()).then_some(0);
    }
    let mut left = random(sum);
    among.iter().position(|provider| {
        let weight = u64::from(provider.weight);
        let hit = left < weight;
        left = left.saturating_sub(weight);
        hit
    })
}
