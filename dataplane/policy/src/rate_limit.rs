//! Local rate limit: token buckets that this proxy fills by itself, all its workers together.

mod bucket;
mod keyed;
mod limit;
mod quota;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agentgateway_proto::v1;
use http::request::Parts;
use http::{StatusCode, response};
use tokio::time::Instant;

pub(crate) use self::bucket::{Bucket, Parameters, Taken};
pub(crate) use self::keyed::Table;
use self::limit::Limit;
pub(crate) use self::limit::{Keys, cost, expression, parameters};
pub(crate) use self::quota::Quota;
pub use self::tokens::{TokenCharge, admit_tokens, limits_tokens};
use crate::{HttpInput, LimitCounters, Reason, Reply, RequestContext, State};

/// A compiled policy: buckets of which a request takes what it costs from all, or from none.
#[derive(Debug)]
pub(crate) struct RateLimit {
    limits: Box<[Limit]>,
    /// Whether one of them looks at requests; the others pay nothing for it.
    reads_requests: bool,
    headers: bool,
    origin: Arc<str>,
    counters: Arc<LimitCounters>,
}

impl RateLimit {
    /// Levels are those that `state` keeps under `key`.
    pub(crate) fn compile(
        spec: &v1::LocalRateLimit,
        key: &str,
        origin: &str,
        state: &State,
    ) -> Result<RateLimit, String> {
        let buckets = std::iter::once(spec).chain(&spec.also).enumerate();
        let compile = |(i, spec): (usize, &v1::LocalRateLimit)| Limit::compile(spec, &format!("{key}.{i}"), state);
        let limits: Box<[Limit]> = buckets.map(compile).collect::<Result<_, String>>()?;
        Ok(RateLimit {
            reads_requests: limits.iter().any(Limit::reads_requests),
            limits,
            headers: spec.headers,
            origin: origin.into(),
            counters: state.limit_counters(),
        })
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) fn on_request(&self, head: &Parts, context: &mut RequestContext) -> Result<(), Reply> {
        let now = Instant::now();
        let input = self.reads_requests.then(|| context.input(head));
        let mut least = None;
        for (i, limit) in self.requests() {
            let cost = match limit.cost(input.as_ref()) {
                Ok(cost) => cost,
                Err(error) => {
                    self.give_back(i, input.as_ref(), now);
                    return Err(self.refuse(limit, 0, Duration::ZERO, &error));
                }
            };
            match limit.take(input.as_ref(), now, cost) {
                Taken::Yes { left, next } if self.headers => limit.quota(left, next).keep_least(&mut least),
                Taken::Yes { .. } => {}
                Taken::No { left, wait } => {
                    self.give_back(i, input.as_ref(), now);
                    return Err(self.refuse(limit, left, wait, ""));
                }
            }
        }
        if let Some(least) = least {
            least.keep_least(&mut context.quota);
        }
        Ok(())
    }

    pub(crate) fn on_response(&self, head: &mut response::Parts, context: &RequestContext) {
        if self.headers
            && let Some(quota) = &context.quota
        {
            quota.write(&mut head.headers);
        }
    }

    /// Limits of requests, with their places among all.
    fn requests(&self) -> impl Iterator<Item = (usize, &Limit)> {
        self.limits.iter().enumerate().filter(|(_, limit)| !limit.of_tokens)
    }

    /// What was taken from the limits before the one that refuses.
    fn give_back(&self, before: usize, input: Option<&HttpInput<'_>>, now: Instant) {
        for (_, limit) in self.requests().take_while(|(i, _)| *i < before) {
            if let Ok(cost) = limit.cost(input) {
                limit.give_back(input, now, cost);
            }
        }
    }

    /// Whether one of them counts the tokens of language models.
    fn limits_tokens(&self) -> bool {
        self.limits.iter().any(|limit| limit.of_tokens)
    }

    /// Takes the tokens of language models.
    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    fn admit_tokens(&self, head: &Parts, context: &RequestContext, charge: &mut TokenCharge) -> Result<(), Reply> {
        let now = Instant::now();
        let input = self.reads_requests.then(|| context.input(head));
        for limit in self.limits.iter().filter(|limit| limit.of_tokens) {
            match charge.take(limit.place(input.as_ref()), now) {
                Taken::Yes { left, next } if self.headers => charge.note(limit.quota(left, next)),
                Taken::Yes { .. } => {}
                Taken::No { left, wait } => return Err(self.refuse(limit, left, wait, "tokens")),
            }
        }
        Ok(())
    }

    fn refuse(&self, limit: &Limit, left: u64, wait: Duration, why: &str) -> Reply {
        self.counters.rate_limited.fetch_add(1, Ordering::Relaxed);
        let detail = if why.is_empty() { Arc::clone(&self.origin) } else { format!("{}: {why}", self.origin).into() };
        let mut reply = Reply::new(StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded", Reason::RateLimited(detail));
        limit.quota(left, wait).write_refusal(reply.response.headers_mut());
        reply
    }
}

#[cfg(test)]
mod tests;
