//! Limits of the tokens of language models: what serves a model takes an estimate when a request comes, and corrects it when
//! the usage is known.

use std::sync::Arc;

use agentgateway_upstream::Upstream;
use http::HeaderMap;
use http::request::Parts;
use tokio::time::Instant;

use super::bucket::Taken;
use super::limit::Place;
use super::quota::Quota;
use crate::global_rate_limit::RemoteCharge;
use crate::{Chain, Reply, RequestContext, Services};

/// What an admitted request has taken. Dropped without [`settle`](TokenCharge::settle), as when the usage never becomes known,
/// the estimate stays taken.
#[derive(Debug, Default)]
pub struct TokenCharge {
    estimate: u64,
    places: Vec<Place>,
    remote: Vec<RemoteCharge>,
    quota: Option<Quota>,
}

/// Whether a limit of these chains counts tokens, so that an estimate is worth its cost.
pub fn limits_tokens(chains: &[Arc<Chain>]) -> bool {
    chains.iter().any(|chain| {
        chain.rate_limits().any(super::RateLimit::limits_tokens)
            || chain.global_rate_limits().any(crate::global_rate_limit::GlobalRateLimit::limits_tokens)
    })
}

/// Takes `estimate` tokens from every limit of tokens in `chains`, or from none. An estimate of 0 passes while there is any token
/// left, so usage can be charged for afterwards where nobody can tell before.
///
/// # Errors
/// The answer to a request that must not be served now.
#[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
pub async fn admit_tokens(
    chains: &[Arc<Chain>],
    head: &Parts,
    context: &RequestContext,
    estimate: u64,
    services: &dyn Services,
) -> Result<TokenCharge, Reply> {
    let mut charge = TokenCharge { estimate, ..TokenCharge::default() };
    for chain in chains {
        for limit in chain.rate_limits() {
            if let Err(reply) = limit.admit_tokens(head, context, &mut charge) {
                charge.release(0);
                return Err(reply);
            }
        }
    }
    // Afterwards: they cost a question.
    for chain in chains {
        for limit in chain.global_rate_limits() {
            if let Err(reply) = limit.admit_tokens(&context.input(head), estimate, services, &mut charge).await {
                charge.settle(0, services.upstream()).await;
                return Err(reply);
            }
        }
    }
    Ok(charge)
}

impl TokenCharge {
    /// Whether nothing limits the request's tokens, so that nobody need count them.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && self.remote.is_empty()
    }

    /// Puts what the request used in the place of the estimate; 0 where no model was asked. More than there was puts the buckets
    /// in debt: requests are refused until fills have paid it.
    pub async fn settle(mut self, used: u64, upstream: &Upstream) {
        self.release(used);
        for remote in self.remote {
            remote.settle(self.estimate, used, upstream).await;
        }
    }

    /// As [`settle`](TokenCharge::settle), for those limits that are the proxy's own. What is left, of other services, is still to
    /// be settled.
    pub fn settle_own(mut self, used: u64) -> Option<TokenCharge> {
        self.release(used);
        (!self.remote.is_empty()).then_some(self)
    }

    /// Says in the response how much is left, where a limit asks for that.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        if let Some(quota) = &self.quota {
            quota.write(headers);
        }
    }

    pub(super) fn release(&mut self, used: u64) {
        let now = Instant::now();
        for place in self.places.drain(..) {
            place.correct(now, self.estimate, used);
        }
    }

    /// Takes the estimate from one bucket.
    pub(super) fn take(&mut self, place: Place, now: Instant) -> Taken {
        let taken = place.take(now, self.estimate);
        if matches!(taken, Taken::Yes { .. }) {
            self.places.push(place);
        }
        taken
    }

    pub(crate) fn add_remote(&mut self, remote: RemoteCharge) {
        self.remote.push(remote);
    }

    pub(crate) fn note(&mut self, quota: Quota) {
        quota.keep_least(&mut self.quota);
    }
}
