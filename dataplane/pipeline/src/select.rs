//! Which backend of a route a request goes to.

use std::sync::Arc;

use crate::snapshot::{Backend, Route, Snapshot, WeightedBackend};
use crate::worker::Worker;

/// A share of the route's requests, and the backend behind it.
pub(crate) type Choice<'a> = (&'a WeightedBackend, &'a Arc<Backend>);

/// A backend by weight, or why there is none.
pub(crate) fn choose<'a>(
    snapshot: &'a Snapshot,
    route: &'a Route,
    worker: &Worker,
) -> Result<Choice<'a>, &'static str> {
    let mut draw = match route.total_weight {
        0 => return Err("the route has no backend"),
        total => worker.random_below(total),
    };
    for share in &route.backends {
        let weight = u64::from(share.weight);
        if draw < weight {
            return of_share(snapshot, share);
        }
        draw -= weight;
    }
    Err("the route has no backend")
}

/// The backend of a share.
pub(crate) fn of_share<'a>(snapshot: &'a Snapshot, share: &'a WeightedBackend) -> Result<Choice<'a>, &'static str> {
    let key = share.backend.as_ref().ok_or("the backend reference is invalid")?;
    snapshot.backends.get(key).map(|b| (share, b)).ok_or("the backend does not exist")
}
