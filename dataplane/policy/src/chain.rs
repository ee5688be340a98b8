//! The chain: all policies of one level, merged in the order of phases.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentgateway_proto::v1::{self, policy_spec::Kind};
use agentgateway_telemetry::live::micros;
use agentgateway_telemetry::trace::SpanKind;
use agentgateway_upstream::Body;
use http::{Response, request, response};

use crate::api_key::ApiKeyAuthentication;
use crate::authorization::Authorization;
use crate::backend_auth::BackendAuthentication;
use crate::basic_auth::BasicAuthentication;
use crate::buffer::RequestBuffer;
use crate::concurrency::ConcurrencyLimit;
use crate::context::Remembered;
use crate::cors::Cors;
use crate::csrf::Csrf;
use crate::direct_response::DirectResponse;
use crate::ext_authz::ExternalAuthorization;
use crate::ext_proc::ExternalProcessing;
use crate::fault::FaultInjection;
use crate::global_rate_limit::GlobalRateLimit;
use crate::headers::HeaderModifier;
use crate::jwt::JwtAuthentication;
use crate::observe::{Observer, Observers};
use crate::rate_limit::RateLimit;
use crate::redirect::RequestRedirect;
use crate::request_limits::RequestLimits;
use crate::retry::Retry;
use crate::rewrite::UrlRewrite;
use crate::session::SessionPersistence;
use crate::settings::{Mirror, Settings};
use crate::transformation::Transformation;
use crate::{A2aRules, McpRules, PolicyError, Reach, Reply, RequestContext, State, deny};

/// A policy, and where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Attached<'a> {
    /// What it does.
    pub spec: &'a v1::PolicySpec,
    /// The user's object, "TrafficPolicy ns/name" or "HTTPRoute ns/name rule 0".
    pub source: &'a str,
    /// Identity of the policy on its target: its state, such as a rate limit's level, is kept under it.
    pub key: &'a str,
}

/// Policies of one level (gateway, route or backend), immutable.
#[derive(Debug, Default)]
pub struct Chain {
    steps: Box<[Step]>,
    /// Whether a step asks about the request when the response is there.
    looks_back: bool,
    /// Whether a step reads bodies of responses.
    reads_responses: bool,
    mcp: Box<[McpRules]>,
    a2a: Box<[A2aRules]>,
    backend_auth: Option<Arc<BackendAuthentication>>,
    settings: Option<Box<Settings>>,
    observers: Option<Box<Observers>>,
    in_force: Box<[InForce]>,
    errors: Box<[PolicyError]>,
}

/// A policy that counts, for dumps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Its name as users write it; "deny" where it could not be applied.
    pub policy: &'static str,
    /// The user's object.
    pub source: Arc<str>,
}

/// What is done, in the order in which it is done to a request; a response meets the same steps in the opposite order.
#[derive(Debug)]
enum Step {
    Deny(Arc<str>),
    Cors(Cors),
    RequestLimits(RequestLimits),
    Csrf(Box<Csrf>),
    Jwt(JwtAuthentication),
    BasicAuth(Box<BasicAuthentication>),
    ApiKey(ApiKeyAuthentication),
    ExternalAuthorization(Box<ExternalAuthorization>),
    Authorization(Authorization),
    /// Boxed, as the other large ones: a step is as large as the largest.
    RateLimit(Box<RateLimit>),
    GlobalRateLimit(Box<GlobalRateLimit>),
    ConcurrencyLimit(Box<ConcurrencyLimit>),
    Fault(Box<FaultInjection>),
    RequestBuffer(RequestBuffer),
    ExternalProcessing(Box<ExternalProcessing>),
    Transformation(Box<Transformation>),
    RequestHeaders(HeaderModifier),
    ResponseHeaders(HeaderModifier),
    UrlRewrite(UrlRewrite),
    /// Requests get the host of their backend.
    AutoHost,
    RequestRedirect(RequestRedirect),
    DirectResponse(Box<DirectResponse>),
}

impl Step {
    /// As far as the response's body does not matter.
    fn on_response(&self, head: &mut response::Parts, context: &mut RequestContext) {
        match self {
            Step::Cors(cors) => cors.on_response(&mut head.headers, context),
            Step::Transformation(made) => made.on_response(head, context),
            Step::ResponseHeaders(modifier) => modifier.apply(&mut head.headers),
            Step::ExternalAuthorization(other) => other.on_response(head, context),
            Step::RateLimit(limit) => limit.on_response(head, context),
            Step::GlobalRateLimit(limit) => limit.on_response(head, context),
            _ => {}
        }
    }

    fn phase(&self) -> u8 {
        match self {
            Step::Deny(_) => 0,
            Step::Cors(_) => 1,
            // Before anything reads a body.
            Step::RequestLimits(_) => 2,
            Step::Csrf(_) => 3,
            Step::Jwt(_) => 4,
            Step::BasicAuth(_) => 5,
            Step::ApiKey(_) => 6,
            Step::ExternalAuthorization(_) => 7,
            Step::Authorization(_) => 8,
            // Those that give back what they took when the request is over, then those that cost nothing to ask.
            Step::ConcurrencyLimit(_) => 9,
            Step::RateLimit(_) => 10,
            Step::GlobalRateLimit(_) => 11,
            Step::Fault(_) => 12,
            Step::RequestBuffer(_) => 13,
            Step::ExternalProcessing(_) => 14,
            Step::Transformation(_) => 15,
            Step::RequestHeaders(_) | Step::ResponseHeaders(_) => 16,
            Step::UrlRewrite(_) | Step::AutoHost | Step::RequestRedirect(_) | Step::DirectResponse(_) => 17,
        }
    }

    /// Its place among others; `rank` is higher for more specific policies.
    fn order(&self, rank: usize) -> (u8, usize) {
        match self {
            Step::ExternalProcessing(_)
            | Step::Transformation(_)
            | Step::RequestHeaders(_)
            | Step::ResponseHeaders(_) => (self.phase(), rank),
            _ => (self.phase(), 0),
        }
    }
}

/// What a policy compiles to.
enum Compiled {
    Step(Step),
    Mcp(McpRules, Option<String>),
    A2a(A2aRules, Option<String>),
    BackendAuth(BackendAuthentication),
    Setting(Setting),
    Observer(Observer),
}

/// What a policy sets for the exchange with the backend.
enum Setting {
    Timeouts(v1::Timeouts),
    Retry(Retry),
    Session(SessionPersistence),
    Mirror(Option<Mirror>),
}

impl Chain {
    /// Compiles policies, the most specific first. Never fails: a policy that does not compile becomes a deny, and
    /// [`Chain::errors`] lists it.
    ///
    /// What protects counts always, beside others of its kind. Of CORS policies, of backend authentications, and of those that
    /// set one thing for the exchange with the backend, the first counts. Processors, transformations and header modifiers
    /// of other sources come before those of more specific ones, which so have the last word.
    pub fn compile(attached: &[Attached<'_>], state: &State) -> Chain {
        let (mut steps, mut mcp, mut backend_auth, mut errors) = (Vec::new(), Vec::new(), None, Vec::new());
        let mut a2a = Vec::new();
        let mut others: Vec<InForce> = Vec::new();
        let mut settings: Option<Box<Settings>> = None;
        let mut observers: Option<Box<Observers>> = None;
        let mut limits: HashMap<&str, usize> = HashMap::new();
        let (mut rank, mut before) = (usize::MAX, "");
        for policy in attached {
            let name = policy.spec.name();
            if policy.source != before {
                (rank, before) = (rank - 1, policy.source);
            }
            let in_force = |policy_name| InForce { policy: policy_name, source: policy.source.into() };
            let mut error = |reason: String| {
                errors.push(PolicyError {
                    source_object: policy.source.to_owned(),
                    key: policy.key.to_owned(),
                    policy: name,
                    reason,
                    protects: policy.spec.protects(),
                });
            };
            match compile(policy, &mut limits, state) {
                Ok(Compiled::Step(Step::Cors(_))) if steps.iter().any(|(_, step, _)| matches!(step, Step::Cors(_))) => {
                }
                Ok(Compiled::Step(step)) => steps.push((step.order(rank), step, in_force(name))),
                Ok(Compiled::BackendAuth(auth)) => {
                    if backend_auth.is_none() {
                        backend_auth = Some(Arc::new(auth));
                        others.push(in_force(name));
                    }
                }
                Ok(Compiled::Setting(setting)) => {
                    if add(settings.get_or_insert_default(), setting) {
                        others.push(in_force(name));
                    }
                }
                Ok(Compiled::Observer(observer)) => {
                    if observers.get_or_insert_default().add(observer) {
                        others.push(in_force(name));
                    }
                }
                // Nothing is refused for want of a log.
                Err(reason) if is_observer(policy.spec) => error(reason),
                Ok(Compiled::Mcp(rules, failed)) => {
                    mcp.push(rules);
                    others.push(in_force(name));
                    failed.into_iter().for_each(error);
                }
                Ok(Compiled::A2a(rules, failed)) => {
                    a2a.push(rules);
                    others.push(in_force(name));
                    failed.into_iter().for_each(error);
                }
                Err(reason) => {
                    let deny = Step::Deny(format!("{}: {name}: {reason}", policy.source).into());
                    steps.push((deny.order(rank), deny, in_force("deny")));
                    error(reason);
                }
            }
        }
        // Stable: policies of one kind keep their order.
        steps.sort_by_key(|(order, ..)| *order);
        let mut in_force = Vec::with_capacity(steps.len() + others.len());
        let step = |(_, step, told)| {
            in_force.push(told);
            step
        };
        let steps: Box<[Step]> = steps.into_iter().map(step).collect();
        in_force.extend(others);
        let of = |step: &Step, holds: fn(&Transformation) -> bool| matches!(step, Step::Transformation(t) if holds(t));
        Chain {
            looks_back: steps.iter().any(|step| match step {
                Step::ExternalProcessing(processor) => processor.looks_back(),
                step => of(step, Transformation::looks_back),
            }),
            reads_responses: steps
                .iter()
                .any(|step| matches!(step, Step::ExternalProcessing(_)) || of(step, Transformation::reads_response)),
            steps,
            mcp: mcp.into(),
            a2a: a2a.into(),
            backend_auth,
            settings,
            observers,
            in_force: in_force.into(),
            errors: errors.into(),
        }
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
            && self.mcp.is_empty()
            && self.a2a.is_empty()
            && self.backend_auth.is_none()
            && self.settings.is_none()
    }

    /// Whether it does something to a request itself; without that [`Chain::on_request`] need not be asked.
    pub fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    /// What is told of requests; None: nothing of it is said here.
    pub fn observers(&self) -> Option<&Observers> {
        self.observers.as_deref()
    }

    pub(crate) fn settings(&self) -> Option<&Settings> {
        self.settings.as_deref()
    }

    /// Policies that count: first those that do something to requests, in the order in which they do.
    pub fn in_force(&self) -> &[InForce] {
        &self.in_force
    }

    /// Policies that do not compile.
    pub fn errors(&self) -> &[PolicyError] {
        &self.errors
    }

    /// Applies the policies to a request.
    ///
    /// # Errors
    /// The answer that a policy gives in the backend's stead; it passes [`Chain::on_response`] as any response does.
    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub async fn on_request(
        &self,
        head: &mut request::Parts,
        context: &mut RequestContext,
        reach: &mut Reach<'_>,
    ) -> Result<(), Reply> {
        if self.looks_back && context.request.is_none() {
            context.request = Some(Remembered::of(head));
        }
        let watched = context.telemetry.live().is_some();
        for (i, step) in self.steps.iter().enumerate() {
            let begun = watched.then(Instant::now);
            let outcome = async {
                match step {
                    Step::Deny(reason) => return Err(deny::reply(reason)),
                    Step::Cors(cors) => cors.on_request(head, context)?,
                    Step::Csrf(csrf) => csrf.on_request(head, context, reach.services)?,
                    Step::Jwt(jwt) if jwt.may_wait() => Box::pin(jwt.on_request_or_wait(head, context)).await?,
                    Step::Jwt(jwt) => jwt.on_request(head, context)?,
                    Step::BasicAuth(basic) => Box::pin(basic.on_request(head, context)).await?,
                    Step::ApiKey(keys) => keys.on_request(head, context)?,
                    // Boxed: other policies do not pay for its size.
                    Step::ExternalAuthorization(other) => {
                        let _span = context.telemetry.span("ext_authz", SpanKind::Client);
                        Box::pin(other.on_request(head, context, reach)).await?;
                    }
                    Step::Authorization(authorization) => authorization.on_request(head, context)?,
                    // Boxed: other policies do not pay for its timer.
                    Step::Fault(fault) => Box::pin(fault.on_request()).await?,
                    Step::RateLimit(limit) => limit.on_request(head, context)?,
                    Step::GlobalRateLimit(limit) => {
                        let _span = context.telemetry.span("rate_limit", SpanKind::Client);
                        Box::pin(limit.on_request(head, context, reach.services)).await?;
                    }
                    Step::ConcurrencyLimit(limit) => limit.on_request(head, context)?,
                    Step::RequestLimits(limits) => limits.on_request(head, context, reach.body)?,
                    Step::RequestBuffer(buffer) => Box::pin(buffer.on_request(reach)).await?,
                    Step::ExternalProcessing(processor) => {
                        let _span = context.telemetry.span("ext_proc", SpanKind::Client);
                        Box::pin(processor.on_request(head, context, reach)).await?;
                    }
                    Step::Transformation(made) if made.reads_request() => {
                        Box::pin(made.on_request_with_body(head, context, reach)).await?;
                    }
                    Step::Transformation(made) => made.on_request(head, context)?,
                    Step::RequestHeaders(modifier) => modifier.apply(&mut head.headers),
                    Step::ResponseHeaders(_) => {}
                    Step::UrlRewrite(rewrite) => rewrite.on_request(head, context)?,
                    Step::AutoHost => context.takes_host_of_backend = true,
                    Step::RequestRedirect(redirect) => return Err(redirect.reply(head, context)),
                    Step::DirectResponse(response) => return Err(response.reply()),
                }
                Ok(())
            }
            .await;
            if let Some(begun) = begun {
                self.told(i, begun.elapsed(), &outcome, context);
            }
            outcome?;
        }
        Ok(())
    }

    /// Tells whoever watches the request what a step made of it.
    #[cold]
    fn told(&self, step: usize, took: Duration, outcome: &Result<(), Reply>, context: &RequestContext) {
        let (Some(live), Some(policy)) = (context.telemetry.live(), self.in_force.get(step)) else { return };
        let own = [("policy", policy.policy.into()), ("from", (&*policy.source).into()), ("took_us", micros(took))];
        let verdict = match outcome {
            Ok(()) => vec![("verdict", "passed".into())],
            Err(reply) => vec![
                ("verdict", "answered".into()),
                ("status", reply.response.status().as_u16().into()),
                ("reason", reply.reason.to_string().into()),
            ],
        };
        live.step("policy", own.into_iter().chain(verdict));
    }

    /// Whether responses must pass [`Chain::on_response_with_body`].
    pub fn reads_responses(&self) -> bool {
        self.reads_responses
    }

    /// Applies the policies to a response, also to one that a policy gave.
    pub fn on_response(&self, head: &mut response::Parts, context: &mut RequestContext) {
        self.steps.iter().rev().for_each(|step| step.on_response(head, context));
    }

    /// As [`Chain::on_response`], for policies that read bodies.
    pub async fn on_response_with_body(
        &self,
        mut response: Response<Body>,
        context: &mut RequestContext,
    ) -> Response<Body> {
        for step in self.steps.iter().rev() {
            if let Step::ExternalProcessing(processor) = step {
                let _span = context.telemetry.span("ext_proc response", SpanKind::Client);
                response = Box::pin(processor.on_response(response, context)).await;
                continue;
            }
            if let Step::Transformation(made) = step
                && made.reads_response()
            {
                response = made.on_response_with_body(response, context).await;
                continue;
            }
            let (mut head, body) = response.into_parts();
            step.on_response(&mut head, context);
            response = Response::from_parts(head, body);
        }
        response
    }

    /// Rules on MCP items; each policy is evaluated by itself, and all must allow.
    pub fn mcp_authorization(&self) -> &[McpRules] {
        &self.mcp
    }

    /// Rules on calls of agents; each policy is evaluated by itself, and all must allow.
    pub fn a2a_authorization(&self) -> &[A2aRules] {
        &self.a2a
    }

    pub(crate) fn rate_limits(&self) -> impl Iterator<Item = &RateLimit> {
        self.steps.iter().filter_map(|step| match step {
            Step::RateLimit(limit) => Some(&**limit),
            _ => None,
        })
    }

    pub(crate) fn global_rate_limits(&self) -> impl Iterator<Item = &GlobalRateLimit> {
        self.steps.iter().filter_map(|step| match step {
            Step::GlobalRateLimit(limit) => Some(&**limit),
            _ => None,
        })
    }

    /// How the gateway authenticates to backends.
    pub fn backend_auth(&self) -> Option<&Arc<BackendAuthentication>> {
        self.backend_auth.as_ref()
    }
}

fn is_observer(spec: &v1::PolicySpec) -> bool {
    matches!(spec.kind, Some(Kind::AccessLogs(_) | Kind::Tracing(_) | Kind::Metrics(_)))
}

/// Says whether the setting counts.
fn add(settings: &mut Settings, setting: Setting) -> bool {
    match setting {
        Setting::Timeouts(spec) => return settings.add_timeouts(&spec),
        Setting::Retry(_) if settings.retry.is_some() => return false,
        Setting::Retry(retry) => settings.retry = Some(Arc::new(retry)),
        Setting::Session(_) if settings.session.is_some() => return false,
        Setting::Session(session) => settings.session = Some(Arc::new(session)),
        Setting::Mirror(mirror) => settings.mirrors.extend(mirror),
    }
    true
}

fn compile<'a>(policy: &Attached<'a>, limits: &mut HashMap<&'a str, usize>, state: &State) -> Result<Compiled, String> {
    let Some(kind) = &policy.spec.kind else {
        return Err("it is of a kind that this proxy does not know".into());
    };
    Ok(Compiled::Step(match kind {
        Kind::Deny(deny) => Step::Deny(format!("{}: {}", deny.policy, deny.reason).into()),
        Kind::Cors(spec) => Step::Cors(Cors::compile(spec)?),
        Kind::Jwt(spec) => Step::Jwt(JwtAuthentication::compile(spec, state)?),
        Kind::Authorization(spec) => Step::Authorization(Authorization::compile(spec, policy.source)?),
        Kind::McpAuthorization(spec) => {
            let (rules, error) = McpRules::compile(spec);
            return Ok(Compiled::Mcp(rules, error));
        }
        Kind::A2aAuthorization(spec) => {
            let (rules, error) = A2aRules::compile(spec);
            return Ok(Compiled::A2a(rules, error));
        }
        Kind::LocalRateLimit(spec) => {
            let nth = limits.entry(policy.key).or_insert(0);
            let key = format!("{}#{nth}", policy.key);
            *nth += 1;
            Step::RateLimit(Box::new(RateLimit::compile(spec, &key, policy.source, state)?))
        }
        Kind::FaultInjection(spec) => Step::Fault(Box::new(FaultInjection::compile(spec)?)),
        Kind::ConcurrencyLimit(spec) => {
            let nth = limits.entry(policy.key).or_insert(0);
            let key = format!("{}#{nth}", policy.key);
            *nth += 1;
            Step::ConcurrencyLimit(Box::new(ConcurrencyLimit::compile(spec, &key, policy.source, state)?))
        }
        Kind::GlobalRateLimit(spec) => {
            let counters = state.limit_counters();
            Step::GlobalRateLimit(Box::new(GlobalRateLimit::compile(spec, policy.source, counters)?))
        }
        Kind::RequestLimits(spec) => Step::RequestLimits(RequestLimits::compile(spec)?),
        Kind::BackendAuth(spec) => return Ok(Compiled::BackendAuth(BackendAuthentication::compile(spec)?)),
        Kind::ApiKey(spec) => Step::ApiKey(ApiKeyAuthentication::compile(spec)?),
        Kind::BasicAuth(spec) => Step::BasicAuth(Box::new(BasicAuthentication::compile(spec, state)?)),
        Kind::DirectResponse(spec) => Step::DirectResponse(Box::new(DirectResponse::compile(spec)?)),
        Kind::AutoHostRewrite(_) => Step::AutoHost,
        Kind::Csrf(spec) => Step::Csrf(Box::new(Csrf::compile(spec, policy.source)?)),
        Kind::RequestBuffer(spec) => Step::RequestBuffer(RequestBuffer::compile(spec)?),
        Kind::Transformation(spec) => {
            Step::Transformation(Box::new(Transformation::compile(spec, policy.source, state)?))
        }
        Kind::RequestHeaderModifier(spec) => Step::RequestHeaders(HeaderModifier::compile(spec)?),
        Kind::ResponseHeaderModifier(spec) => Step::ResponseHeaders(HeaderModifier::compile(spec)?),
        Kind::UrlRewrite(spec) => Step::UrlRewrite(UrlRewrite::compile(spec)?),
        Kind::RequestRedirect(spec) => Step::RequestRedirect(RequestRedirect::compile(spec)?),
        Kind::RequestMirror(spec) => return Ok(Compiled::Setting(Setting::Mirror(Mirror::compile(spec)?))),
        Kind::Timeouts(spec) => return Ok(Compiled::Setting(Setting::Timeouts(*spec))),
        Kind::Retry(spec) => return Ok(Compiled::Setting(Setting::Retry(Retry::compile(spec)?))),
        Kind::AccessLogs(spec) => return Observers::compile_logs(spec, state).map(Compiled::Observer),
        Kind::Tracing(spec) => return Observers::compile_tracing(spec, state).map(Compiled::Observer),
        Kind::Metrics(spec) => return Observers::compile_metrics(spec, policy.key, state).map(Compiled::Observer),
        Kind::SessionPersistence(spec) => {
            let session = SessionPersistence::compile(spec, policy.key)?;
            return Ok(Compiled::Setting(Setting::Session(session)));
        }
        Kind::ExternalAuthorization(spec) => {
            Step::ExternalAuthorization(Box::new(ExternalAuthorization::compile(spec, policy.source)?))
        }
        Kind::ExternalProcessing(spec) => {
            Step::ExternalProcessing(Box::new(ExternalProcessing::compile(spec, policy.source, false)?))
        }
        Kind::OutlierDetection(_)
        | Kind::CircuitBreakers(_)
        | Kind::RetryConstraint(_)
        | Kind::LoadBalancer(_)
        | Kind::HealthCheck(_)
        | Kind::BackendConnection(_) => return Err("it is for backends".into()),
        Kind::BackendClientCertificate(_) => return Err("this release does not support it".into()),
    }))
}

#[cfg(test)]
mod tests;
