//! Rate limits that all proxies share: another service counts, Envoy's or Redis.
//!
//! A service that is not configured refuses; one that cannot be asked refuses too, unless the policy says otherwise.

mod envoy;
mod redis;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agentgateway_callout::Error;
use agentgateway_proto::v1::{self, global_rate_limit as global};
use agentgateway_upstream::{Cluster, Upstream};
use http::request::Parts;
use http::{StatusCode, response};

use self::envoy::Envoy;
use self::redis::Redis;
use crate::ext_authz::ResponseChange;
use crate::limits::DEFAULT_RATE_LIMIT_TIMEOUT;
use crate::rate_limit::{Quota, TokenCharge};
use crate::{HttpInput, LimitCounters, Reason, Reply, RequestContext, Services};

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct GlobalRateLimit {
    backend: Arc<str>,
    service: Service,
    timeout: Duration,
    fail_open: bool,
    headers: bool,
    /// Names the policy in the access log, and its changes among those of a request.
    origin: Arc<str>,
    counters: Arc<LimitCounters>,
}

#[derive(Debug)]
enum Service {
    Envoy(Envoy),
    Redis(Redis),
}

/// Whom a question goes to, and how long it may take.
struct Asked<'a> {
    upstream: &'a Upstream,
    cluster: &'a Arc<Cluster>,
    limit: Duration,
}

/// What the service says.
struct Verdict {
    /// None: the request passes.
    refusal: Option<Box<Reply>>,
    /// What is left of the limit that has the least left.
    quota: Option<Quota>,
    /// Headers that the service wants in the request and in the response.
    changes: Changes,
}

#[derive(Default)]
struct Changes {
    request: Vec<(http::HeaderName, http::HeaderValue)>,
    response: Vec<(http::HeaderName, http::HeaderValue)>,
}

/// Tokens that were taken from a service, to be corrected.
#[derive(Debug)]
pub(crate) struct RemoteCharge {
    cluster: Arc<Cluster>,
    timeout: Duration,
    origin: Arc<str>,
    kind: Remote,
}

#[derive(Debug)]
enum Remote {
    Envoy(envoy::Charge),
    Redis(redis::Charge),
}

impl GlobalRateLimit {
    /// `origin` names the policy in the access log.
    pub(crate) fn compile(
        spec: &v1::GlobalRateLimit,
        origin: &str,
        counters: Arc<LimitCounters>,
    ) -> Result<GlobalRateLimit, String> {
        if spec.backend_key.is_empty() {
            return Err("its backend reference is invalid".into());
        }
        let origin: Arc<str> = origin.into();
        let service = match &spec.service {
            Some(global::Service::Envoy(config)) => Service::Envoy(Envoy::compile(config)?),
            Some(global::Service::Redis(config)) => Service::Redis(Redis::compile(config)?),
            None => return Err("it names no service that this proxy knows".into()),
        };
        if spec.timeout_milliseconds == Some(0) {
            return Err("its timeout must be more than 0".into());
        }
        Ok(GlobalRateLimit {
            backend: spec.backend_key.as_str().into(),
            service,
            timeout: spec.timeout_milliseconds.map_or(DEFAULT_RATE_LIMIT_TIMEOUT, Duration::from_millis),
            fail_open: spec.fail_open,
            headers: spec.headers,
            origin,
            counters,
        })
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) async fn on_request(
        &self,
        head: &mut Parts,
        context: &mut RequestContext,
        services: &dyn Services,
    ) -> Result<(), Reply> {
        let cluster = self.cluster(services)?;
        let asked = Asked { upstream: services.upstream(), cluster: &cluster, limit: self.timeout };
        let answer = {
            let input = context.input(head);
            match &self.service {
                Service::Envoy(envoy) => envoy.ask(&asked, &input).await,
                Service::Redis(redis) => redis.ask(&asked, &input).await,
            }
        };
        let Some(verdict) = self.concluded(answer)? else { return Ok(()) };
        let Changes { request, response } = verdict.changes;
        for (name, value) in request {
            head.headers.insert(name, value);
        }
        context.response_changes.extend(response.into_iter().map(|header| ResponseChange::add(&self.origin, header)));
        if let Some(quota) = verdict.quota.filter(|_| self.headers) {
            quota.keep_least(&mut context.quota);
        }
        match verdict.refusal {
            Some(reply) => Err(self.refused(*reply, verdict.quota)),
            None => Ok(()),
        }
    }

    pub(crate) fn on_response(&self, head: &mut response::Parts, context: &RequestContext) {
        ResponseChange::apply_all(&self.origin, &context.response_changes, &mut head.headers);
        if let Some(quota) = context.quota.as_ref().filter(|_| self.headers) {
            quota.write(&mut head.headers);
        }
    }

    /// Whether it counts the tokens of language models.
    pub(crate) fn limits_tokens(&self) -> bool {
        match &self.service {
            Service::Envoy(envoy) => envoy.limits_tokens(),
            Service::Redis(redis) => redis.limits_tokens(),
        }
    }

    /// Takes the tokens of language models.
    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) async fn admit_tokens(
        &self,
        input: &HttpInput<'_>,
        estimate: u64,
        services: &dyn Services,
        charge: &mut TokenCharge,
    ) -> Result<(), Reply> {
        if !self.limits_tokens() {
            return Ok(());
        }
        let cluster = self.cluster(services)?;
        let asked = Asked { upstream: services.upstream(), cluster: &cluster, limit: self.timeout };
        let (answer, kind) = match &self.service {
            Service::Envoy(envoy) => {
                let taken = envoy.charge(input);
                (taken.ask(&asked).await, Remote::Envoy(taken))
            }
            Service::Redis(redis) => {
                let taken = redis.charge(input);
                (taken.take(&asked, estimate).await, Remote::Redis(taken))
            }
        };
        let Some(verdict) = self.concluded(answer)? else { return Ok(()) };
        if let Some(quota) = verdict.quota.filter(|_| self.headers) {
            charge.note(quota);
        }
        if let Some(reply) = verdict.refusal {
            return Err(self.refused(*reply, verdict.quota));
        }
        let origin = Arc::clone(&self.origin);
        charge.add_remote(RemoteCharge { cluster, timeout: self.timeout, origin, kind });
        Ok(())
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    fn cluster(&self, services: &dyn Services) -> Result<Arc<Cluster>, Reply> {
        // Not a service that is away, but one that nobody has configured.
        services.cluster(&self.backend).ok_or_else(|| self.failed("its backend does not exist"))
    }

    /// None: it could not be asked, and the request passes.
    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    fn concluded(&self, answer: Result<Verdict, Error>) -> Result<Option<Verdict>, Reply> {
        match answer {
            Ok(verdict) => Ok(Some(verdict)),
            Err(error) => {
                self.counters.unavailable.fetch_add(1, Ordering::Relaxed);
                if self.fail_open {
                    tracing::warn!(policy = &*self.origin, %error, "a limit could not be asked for; the request passes");
                    return Ok(None);
                }
                Err(self.failed(&error.to_string()))
            }
        }
    }

    fn refused(&self, mut reply: Reply, quota: Option<Quota>) -> Reply {
        self.counters.globally_limited.fetch_add(1, Ordering::Relaxed);
        if let Some(quota) = quota {
            quota.write_refusal(reply.response.headers_mut());
        }
        let detail = match reply.reason.detail() {
            "" => Arc::clone(&self.origin),
            detail => format!("{}: {detail}", self.origin).into(),
        };
        reply.reason = Reason::RateLimited(detail);
        reply
    }

    fn failed(&self, why: &str) -> Reply {
        let reason = Reason::RateLimitUnavailable(format!("{}: {why}", self.origin).into());
        Reply::new(StatusCode::SERVICE_UNAVAILABLE, "the rate limit cannot be checked", reason)
    }
}

impl RemoteCharge {
    /// Puts what was used in the place of the estimate.
    pub(crate) async fn settle(self, estimate: u64, used: u64, upstream: &Upstream) {
        let asked = Asked { upstream, cluster: &self.cluster, limit: self.timeout };
        let settled = match &self.kind {
            Remote::Envoy(charge) => charge.settle(&asked, used).await,
            Remote::Redis(charge) => charge.settle(&asked, estimate, used).await,
        };
        if let Err(error) = settled {
            tracing::warn!(policy = &*self.origin, %error, used, "the usage could not be counted");
        }
    }
}

/// A refusal; the policy adds why.
fn over_limit() -> Reply {
    Reply::new(StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded", Reason::RateLimited("".into()))
}

/// A question that cannot be asked, because the request does not say what it costs.
fn no_cost(error: &dyn std::fmt::Display) -> Verdict {
    let mut reply = over_limit();
    reply.reason = Reason::RateLimited(format!("cost: {error}").into());
    Verdict { refusal: Some(Box::new(reply)), quota: None, changes: Changes::default() }
}

#[cfg(test)]
mod tests;
