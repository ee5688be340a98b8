//! Requests whose policies ask for more than one plain exchange: timeouts, retries, sessions, mirrors.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentgateway_policy::{Exchange, Reach, RequestContext, Retry, Services};
use agentgateway_upstream::balancer::Permit;
use agentgateway_upstream::{Blame, Body, Kind, Picked};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body::Body as _;
use tokio::time::{Instant, timeout, timeout_at};

use crate::discard::{discard, is_held_back};
use crate::exchange::{Pick, Sent, send};
use crate::limits::MAX_RETRY_AFTER;
use crate::mirror::{self, Original};
use crate::persistence::Session;
use crate::replay::Replay;
use crate::request::{Passed, Routed, failed, pass, refuse, replied};
use crate::select::{Choice, choose, of_share};
use crate::snapshot::{Listener, Route};
use crate::{Error, deadline, protocol};

/// What the chains that a request passes set for it; None for a plain exchange. Whoever routes knows more of a request than
/// whoever runs the backend, so the route comes before it.
pub(crate) fn settings(listener: &Listener, route: &Route, (share, backend): Choice<'_>) -> Option<Exchange> {
    let chains = [&share.policies, &route.policies, &backend.policies, &listener.policies];
    Exchange::of(chains.into_iter().map(|chain| &**chain))
}

/// When the request's time is over, as far as is known before its backend is chosen.
pub(crate) fn deadline(listener: &Listener, route: &Route, start: std::time::Instant) -> Option<Instant> {
    let limit = Exchange::of([&*route.policies, &*listener.policies].into_iter())?.request_timeout?;
    Some(Instant::from_std(start) + limit)
}

/// Answers the request. `context` and `passed` are those of the last try afterwards.
pub(crate) async fn run(
    mut routed: Routed<'_>,
    mut exchange: Exchange,
    mut choice: Choice<'_>,
    reach: &mut Reach<'_>,
    context: &mut RequestContext,
    passed: &mut Passed,
) -> Response<Body> {
    let policy = exchange.session.clone();
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let session = policy.as_deref().map(|policy| Session::of(policy, &routed.head.headers, since_epoch));
    if let Some(kept) = session.as_ref().and_then(|session| kept(session, &routed)) {
        choice = kept;
        exchange = settings(routed.listener, routed.route, choice).unwrap_or(exchange);
    }
    let deadline = exchange.request_timeout.map(|limit| Instant::from_std(routed.record.start) + limit);
    let retries = exchange.retry.as_ref().map_or(0, |retry| retry.attempts());
    let replay = reach.body.take().filter(|body| !body.is_end_stream()).map(|body| Replay::new(body, retries > 0));
    let discards = !is_held_back(&routed.head.headers);
    let (session, body) = (session.as_ref(), replay.as_ref());
    let tries = Tries { exchange: &exchange, session, replay: body, deadline, known: Rc::default() };
    let services = reach.services;
    let all = tries.run(&mut routed, choice, context, passed, services);
    let outcome = match deadline {
        Some(deadline) => match timeout_at(deadline, all).await {
            Ok(outcome) => outcome,
            Err(_) => {
                was_late(choice, routed.record.endpoint);
                Err(late())
            }
        },
        None => all.await,
    };
    let outcome = match exchange.stream_idle_timeout {
        Some(limit) if routed.record.tunnel.is_none() => {
            outcome.map(|response| response.map(|body| deadline::while_moving(limit, body)))
        }
        _ => outcome,
    };
    match outcome {
        Ok(response) => match deadline {
            // What a connection carries after it has switched protocols is no response any more.
            Some(deadline) if routed.record.tunnel.is_none() => response.map(|body| deadline::until(deadline, body)),
            _ => response,
        },
        Err(error) => {
            if let Some(replay) = replay.filter(|_| discards) {
                discard(replay.into_unread());
            }
            failed(&error, routed.record)
        }
    }
}

/// Where the request's session is, if the route still sends anything there.
fn kept<'a>(session: &Session<'_>, routed: &Routed<'a>) -> Option<Choice<'a>> {
    if !session.is_known() {
        return None;
    }
    let mut shares = routed.route.backends.iter().filter(|share| share.weight > 0);
    let share = shares.find(|share| share.backend.as_ref().is_some_and(|key| session.place(key).is_some()))?;
    of_share(routed.snapshot, share).ok()
}

pub(crate) fn late() -> Error {
    Error::Protocol {
        blame: Blame::Upstream,
        status: StatusCode::GATEWAY_TIMEOUT,
        reason: "request_timeout",
        message: "the route's request timeout is over".into(),
    }
}

/// The tries of one request.
struct Tries<'e> {
    exchange: &'e Exchange,
    session: Option<&'e Session<'e>>,
    /// None where the request has no body.
    replay: Option<&'e Replay>,
    /// When the request's time is over.
    deadline: Option<Instant>,
    known: Rc<RefCell<protocol::Tries>>,
}

impl Tries<'_> {
    async fn run(
        mut self,
        routed: &mut Routed<'_>,
        first: Choice<'_>,
        context: &mut RequestContext,
        passed: &mut Passed,
        services: &dyn Services,
    ) -> Result<Response<Body>, Error> {
        let base = passed.len();
        let retry = self.exchange.retry.as_deref();
        let retries = retry.map_or(0, Retry::attempts);
        let original = (retries > 0).then(|| (routed.head.clone(), context.clone()));
        let mut head = std::mem::replace(&mut routed.head, empty());
        let mut choice = Ok(first);
        let mut retried = 0;
        let mut _permit: Option<Permit> = None;
        loop {
            let (share, backend) = match choice {
                Ok(choice) => choice,
                Err(reason) => return Ok(refuse(routed.record, StatusCode::INTERNAL_SERVER_ERROR, reason)),
            };
            passed.truncate(base);
            let mut body = Some(self.replay.map_or(Body::Empty, Replay::reader));
            for chain in [&share.policies, &backend.policies] {
                let mut reach = Reach { services, body: &mut body };
                if let Err(answer) = pass(chain, &mut head, context, passed, &mut reach).await {
                    return Ok(replied(answer, routed.record));
                }
            }
            if retried == 0 && !self.exchange.mirrors.is_empty() {
                let passed = passed.get(..base).unwrap_or_default();
                let original = Original { head: &head, body: self.replay, context, passed };
                mirror::start(&routed.origin.worker, routed.snapshot, &self.exchange.mirrors, &original);
            }
            let sent = Sent { head, body: body.unwrap_or_default(), context, passed };
            let outcome = self.one((share, backend), sent, retried == 0, routed).await;
            let again = !routed.record.once
                && match &outcome {
                    Ok(response) => retry.is_some_and(|retry| retry.covers(response.status())),
                    Err(error) => may_help(error),
                };
            let whole = self.replay.is_none_or(Replay::is_whole);
            let pause = retry.filter(|_| again && whole && retried < retries).and_then(|retry| {
                let least = retry.pause(retried + 1, |below| routed.origin.worker.random_below(below));
                self.pause(retry, least, &outcome)
            });
            let next = pause.and_then(|_| next(routed));
            let (Some((first_head, first_context)), Some(pause), Some((next, permit))) = (&original, pause, next)
            else {
                let mut response = outcome?;
                self.answer_session(share.backend.as_deref(), routed, context, &mut response);
                return Ok(response);
            };
            _permit = permit;
            if let Ok(response) = outcome {
                // Read to its end, the connection can serve the next request.
                discard(response.into_body());
            }
            retried += 1;
            routed.origin.worker.metrics.retries.fetch_add(1, Ordering::Relaxed);
            routed.record.retried();
            tokio::time::sleep(pause).await;
            (head, *context) = (first_head.clone(), first_context.clone());
            choice = next;
        }
    }

    /// The pause before the next try: not less than the backend asks for. None where that is too long; then its answer is the
    /// client's.
    fn pause(&self, retry: &Retry, least: Duration, outcome: &Result<Response<Body>, Error>) -> Option<Duration> {
        let Some(asked) = outcome.as_ref().ok().and_then(|response| retry.asked_pause(response.headers())) else {
            return Some(least);
        };
        let pause = least.max(asked);
        let in_time = self.deadline.is_none_or(|deadline| Instant::now() + pause < deadline);
        (asked <= MAX_RETRY_AFTER && in_time).then_some(pause)
    }

    /// One try, within its own timeout.
    async fn one(
        &mut self,
        choice: Choice<'_>,
        sent: Sent<'_>,
        is_first: bool,
        routed: &mut Routed<'_>,
    ) -> Result<Response<Body>, Error> {
        let (_, backend) = choice;
        let limit = match is_first {
            true => self.exchange.backend_request_timeout,
            // The backend may be another one, and with it what holds for it.
            false => settings(routed.listener, routed.route, choice).and_then(|s| s.backend_request_timeout),
        };
        let session = if is_first { self.endpoint(choice, routed).await? } else { None };
        let pick = match &self.exchange.retry {
            // The policy says how often; connections that do not come about count.
            Some(_) => Pick::Once(session, &self.known),
            None => Pick::First(session),
        };
        let exchange = send(routed.origin, backend, sent, pick, routed.record);
        let Some(limit) = limit else { return exchange.await };
        match timeout(limit, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => {
                was_late(choice, routed.record.endpoint);
                Err(no_answer_within(limit))
            }
        }
    }

    /// The endpoint of the request's session, while the backend has it.
    async fn endpoint(&self, (share, backend): Choice<'_>, routed: &Routed<'_>) -> Result<Option<Picked>, Error> {
        let (Some(session), Some(key), Some(cluster)) = (self.session, &share.backend, backend.kind.http_cluster())
        else {
            return Ok(None);
        };
        let Some(address) = session.place(key).and_then(|place| place.endpoint) else { return Ok(None) };
        if let Some(known) = cluster.known_endpoint(address) {
            // While it is ejected or unhealthy the session goes on elsewhere.
            return Ok(known.is_serving().then_some(known));
        }
        // Perhaps its name was not looked up yet, in this replica.
        let any = routed.origin.worker.upstream.pick(cluster).await?;
        Ok(Some(cluster.known_endpoint(address).unwrap_or(any)))
    }

    fn answer_session(
        &self,
        backend: Option<&str>,
        routed: &Routed<'_>,
        context: &RequestContext,
        response: &mut Response<Body>,
    ) {
        if let (Some(session), Some(backend)) = (self.session, backend) {
            session.answer(backend, routed.record.endpoint, context, response.headers_mut());
        }
    }
}

/// The endpoint of a try had no answer when its time was over.
fn was_late((_, backend): Choice<'_>, endpoint: Option<SocketAddr>) {
    if let (Some(cluster), Some(address)) = (backend.kind.http_cluster(), endpoint) {
        cluster.was_late(address);
    }
}

/// Where a request goes when it is sent again; None when the policies of that backend forbid it at this moment.
fn next<'a>(routed: &Routed<'a>) -> Option<(Result<Choice<'a>, &'static str>, Option<Permit>)> {
    let choice = choose(routed.snapshot, routed.route, &routed.origin.worker);
    let permit = match &choice {
        Ok((_, backend)) => match backend.kind.http_cluster() {
            Some(cluster) => cluster.retry().ok()?,
            None => None,
        },
        Err(_) => None,
    };
    Some((choice, permit))
}

/// Whether the request may fare better when it is sent again: no connection came about, it was lost before an answer, or
/// the answer was late.
fn may_help(error: &Error) -> bool {
    let Error::Upstream(error) = error else { return false };
    matches!(
        error.kind,
        Kind::NoEndpoints | Kind::Resolve | Kind::Connect | Kind::Overloaded | Kind::Reset | Kind::Timeout
    )
}

pub(crate) fn no_answer_within(limit: Duration) -> Error {
    let message = format!("the backend gave no answer within {} ms", limit.as_millis());
    agentgateway_upstream::Error::new(Kind::Timeout, message).into()
}

fn empty() -> Parts {
    http::Request::new(()).into_parts().0
}
