//! What is done with an agent's answer.

use std::sync::Arc;
use std::time::Instant;

use agentgateway_pipeline::Error;
use agentgateway_pipeline::protocol::Inspection;
use agentgateway_telemetry::RequestTelemetry;
use agentgateway_upstream::{Blame, Body};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, ETAG, HeaderMap,
    HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
    TRANSFER_ENCODING, WARNING,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body as _;

use crate::address::Address;
use crate::call::{Call, Version};
use crate::card::{Around, rewritten};
use crate::cards::{Card, is_for_all};
use crate::collect::whole;
use crate::fault::Fault;
use crate::inspect::Agent;
use crate::limits::{CARD_BYTES, CARD_PATIENCE};
use crate::log;
use crate::message::Binding;
use crate::metrics::Outcome;
use crate::observe::{Observed, Observer, Written};
use crate::operation::Operation;

/// A call that went to the agent.
pub(crate) struct CallExchange {
    pub(crate) agent: Arc<Agent>,
    /// None where it is nothing of A2A.
    pub(crate) call: Option<Call>,
    pub(crate) binding: Binding,
    /// Where the answer is a card: what its URLs become.
    pub(crate) card: Option<Address>,
    pub(crate) began: Instant,
    pub(crate) telemetry: RequestTelemetry,
}

impl CallExchange {
    pub(crate) fn unknown(agent: Arc<Agent>) -> CallExchange {
        let (binding, telemetry) = (Binding::HttpJson, RequestTelemetry::off());
        CallExchange { agent, call: None, binding, card: None, began: Instant::now(), telemetry }
    }
}

impl Inspection for CallExchange {
    fn finish(
        self: Box<Self>,
        outcome: Result<Response<Body>, Error>,
    ) -> LocalBoxFuture<'static, Result<Response<Body>, Error>> {
        Box::pin(async move {
            let CallExchange { agent, call, binding, card, began, telemetry } = *self;
            let Some(call) = call else { return outcome };
            let (operation, version) = (call.operation, call.version);
            let response = match outcome {
                Ok(response) => response,
                Err(error) => {
                    agent.metrics.call(operation, version, Outcome::Failed);
                    return Err(error);
                }
            };
            agent.metrics.answered(operation, began.elapsed());
            let checked = match (card, written(response.headers())) {
                (Some(address), _) if response.status().is_success() => extended(response, binding, &address).await,
                (_, Some(written)) => {
                    Ok(observed(response, &agent, &call, Observer::new(binding, written), &telemetry))
                }
                (_, None) => as_it_is(response, &call, binding),
            };
            Ok(match checked {
                Ok((response, outcome)) => {
                    if let Some(outcome) = outcome {
                        agent.metrics.call(operation, version, outcome);
                    }
                    response
                }
                Err(fault) => {
                    agent.metrics.call(operation, version, Outcome::Failed);
                    log::error(&telemetry, fault.reason);
                    fault.response(binding, call.id.as_deref())
                }
            })
        })
    }
}

/// How the answer can be read; None where it cannot.
fn written(headers: &HeaderMap) -> Option<Written> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return None;
    }
    let content_type = media_type(headers);
    if content_type.eq_ignore_ascii_case("text/event-stream") {
        return Some(Written::Events);
    }
    let ends = |end: &str| content_type.len() >= end.len() && content_type.to_ascii_lowercase().ends_with(end);
    (ends("/json") || ends("+json")).then_some(Written::Json)
}

fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

type Checked = Result<(Response<Body>, Option<Outcome>), Fault>;

/// The answer as it passes; how the call ended is known when it has.
fn observed(
    response: Response<Body>,
    agent: &Arc<Agent>,
    call: &Call,
    observer: Observer,
    telemetry: &RequestTelemetry,
) -> (Response<Body>, Option<Outcome>) {
    let (agent, operation, version) = (Arc::clone(agent), call.operation, call.version);
    let failed = !response.status().is_success();
    let telemetry = telemetry.clone();
    let response = response.map(|body| {
        Observed::body(body, observer, move |learnt| {
            let outcome = if learnt.is_error || failed { Outcome::Error } else { Outcome::Ok };
            agent.metrics.call(operation, version, outcome);
            log::learnt(&telemetry, learnt);
            if let Some(state) = learnt.state.filter(|_| !failed) {
                agent.metrics.state(state);
            }
        })
    });
    (response, None)
}

/// An answer that is neither JSON nor a stream of events.
fn as_it_is(response: Response<Body>, call: &Call, binding: Binding) -> Checked {
    if !response.status().is_success() {
        // The agent, or something before it, speaks of HTTP.
        return Ok((response, Some(Outcome::Error)));
    }
    let encoded = response.headers().contains_key(CONTENT_ENCODING);
    let is_due = match binding {
        // Notifications have no answer.
        Binding::JsonRpc => call.id.is_some(),
        Binding::HttpJson => false,
    };
    let is_empty = response.body().is_end_stream();
    if encoded || call.operation == Operation::Other || (is_empty && !is_due) {
        return Ok((response, Some(Outcome::Ok)));
    }
    Err(Fault::bad_answer(match (is_empty, media_type(response.headers())) {
        (true, _) => "the agent's answer is empty".to_owned(),
        (false, "") => "the agent's answer is of no type".to_owned(),
        (false, other) => format!("the agent's answer is {other:?}, not JSON"),
    }))
}

/// The card for authenticated clients.
async fn extended(response: Response<Body>, binding: Binding, address: &Address) -> Checked {
    let (mut head, body) = response.into_parts();
    let body = read(body, &head.headers).await.map_err(Fault::bad_answer)?;
    let around = if binding == Binding::JsonRpc { Around::Response } else { Around::Nothing };
    let body = rewritten(&body, around, address).await;
    let body = body.map_err(|error| Fault::bad_answer(format!("the agent's card is not JSON: {error}")))?;
    changed(&mut head.headers);
    Ok((Response::from_parts(head, Body::from(Bytes::from(body))), Some(Outcome::Ok)))
}

/// Removes what says something of the bytes that the agent sent.
fn changed(headers: &mut HeaderMap) {
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, ETAG, LAST_MODIFIED] {
        headers.remove(name);
    }
    for name in ["digest", "content-digest", "repr-digest", "content-md5", "accept-ranges"] {
        headers.remove(name);
    }
}

/// A card's body, whole and in time.
async fn read(body: Body, headers: &HeaderMap) -> Result<Bytes, String> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err("the agent's card is encoded, which it was not asked for".to_owned());
    }
    match tokio::time::timeout(CARD_PATIENCE, whole(body, CARD_BYTES)).await {
        Ok(body) => body.map_err(|error| format!("the agent's card cannot be read: {error}")),
        Err(_) => Err(format!("the agent's card did not end within {} s", CARD_PATIENCE.as_secs())),
    }
}

/// A public card that the agent was asked for.
pub(crate) struct CardExchange {
    agent: Arc<Agent>,
    address: Address,
    path: Box<str>,
    version: Version,
    is_head: bool,
    was_authenticated: bool,
    /// Which ones the client has.
    if_none_match: Option<HeaderValue>,
    known: Option<Arc<Card>>,
    began: Instant,
    telemetry: RequestTelemetry,
}

impl CardExchange {
    /// The head for the agent: about the card that the gateway knows, not about the one that the client has.
    pub(crate) fn prepare(
        agent: Arc<Agent>,
        mut head: Parts,
        address: Address,
        telemetry: RequestTelemetry,
    ) -> (Parts, CardExchange) {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let known = agent.cards.get(&agent.key, path);
        let exchange = CardExchange {
            path: path.into(),
            address,
            version: Version::of(&head.headers),
            is_head: head.method == Method::HEAD,
            was_authenticated: head.headers.contains_key(AUTHORIZATION) || head.headers.contains_key(COOKIE),
            if_none_match: head.headers.remove(IF_NONE_MATCH),
            known,
            began: Instant::now(),
            telemetry,
            agent,
        };
        for name in [IF_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE] {
            head.headers.remove(name);
        }
        if let Some(etag) = exchange.known.as_ref().and_then(|card| card.etag.clone()) {
            head.headers.insert(IF_NONE_MATCH, etag);
        }
        // The answer to HEAD has the length and the ETag of what GET gives.
        head.method = Method::GET;
        (head, exchange)
    }

    async fn card(&self, outcome: Result<Response<Body>, Error>) -> Result<Answer, Error> {
        let agent = &self.agent;
        let response = match outcome {
            Ok(response) => response,
            Err(error) => return self.stale().ok_or(error),
        };
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED
            && let Some(known) = &self.known
        {
            return Ok(Answer::Card(agent.cards.put(&agent.key, &self.path, known.confirmed_now())));
        }
        if status.is_server_error() {
            return Ok(self.stale().unwrap_or(Answer::Other(response)));
        }
        if status != StatusCode::OK {
            // The agent says that there is none, or none for this client.
            if status.is_client_error() {
                agent.cards.remove(&agent.key, &self.path);
            }
            return Ok(Answer::Other(response));
        }
        let (head, body) = response.into_parts();
        let read = match read(body, &head.headers).await {
            // Before it is kept: a page of an error that says 200 must not take the card's place.
            Ok(body) => rewritten(&body, Around::Nothing, &self.address)
                .await
                .map(|_| body)
                .map_err(|error| format!("the agent's card is not JSON: {error}")),
            Err(reason) => Err(reason),
        };
        match read {
            Ok(body) => {
                let card = Card::new(body, &head.headers);
                Ok(Answer::Card(if is_for_all(self.was_authenticated, &head.headers) {
                    agent.cards.put(&agent.key, &self.path, card)
                } else {
                    Arc::new(card)
                }))
            }
            Err(reason) => self.stale().ok_or_else(|| Error::Protocol {
                blame: Blame::Upstream,
                status: StatusCode::BAD_GATEWAY,
                reason: "a2a_bad_card",
                message: reason.into(),
            }),
        }
    }

    fn stale(&self) -> Option<Answer> {
        self.known.as_ref().map(|card| Answer::Stale(Arc::clone(card)))
    }

    /// What the client gets of a card.
    async fn serve(&self, card: &Card, is_stale: bool) -> Result<Response<Body>, Error> {
        let body = rewritten(&card.body, Around::Nothing, &self.address).await.map_err(|error| Error::Protocol {
            blame: Blame::Upstream,
            status: StatusCode::BAD_GATEWAY,
            reason: "a2a_bad_card",
            message: error.to_string().into(),
        })?;
        let hash = blake3::hash(&body).to_hex();
        let etag = format!("\"{}\"", hash.get(..32).unwrap_or_default());
        let is_known = self.if_none_match.as_ref().and_then(|value| value.to_str().ok()).is_some_and(|known| {
            known.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == etag)
        });
        let length = body.len();
        let mut response =
            Response::new(if self.is_head || is_known { Body::Empty } else { Body::from(Bytes::from(body)) });
        let headers = response.headers_mut();
        if let Some(cache_control) = &card.cache_control {
            headers.insert(CACHE_CONTROL, cache_control.clone());
        }
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            headers.insert(ETAG, etag);
        }
        if is_stale {
            headers.insert(AGE, card.confirmed.elapsed().as_secs().into());
            headers.insert(WARNING, HeaderValue::from_static("111 agentgateway \"Revalidation Failed\""));
        }
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        let json = HeaderValue::from_static("application/json");
        headers.insert(CONTENT_TYPE, card.content_type.clone().unwrap_or(json));
        headers.insert(CONTENT_LENGTH, length.into());
        Ok(response)
    }
}

#[allow(clippy::large_enum_variant, reason = "one for each request, moved once")]
enum Answer {
    Card(Arc<Card>),
    Stale(Arc<Card>),
    /// Not a card: what the agent says instead.
    Other(Response<Body>),
}

impl Inspection for CardExchange {
    fn finish(
        self: Box<Self>,
        outcome: Result<Response<Body>, Error>,
    ) -> LocalBoxFuture<'static, Result<Response<Body>, Error>> {
        Box::pin(async move {
            let metrics = Arc::clone(&self.agent.metrics);
            let count = |outcome| metrics.call(Operation::GetAgentCard, self.version, outcome);
            if outcome.is_ok() {
                metrics.answered(Operation::GetAgentCard, self.began.elapsed());
            }
            match self.card(outcome).await {
                Ok(Answer::Card(card)) => {
                    count(Outcome::Ok);
                    self.serve(&card, false).await
                }
                Ok(Answer::Stale(card)) => {
                    count(Outcome::Stale);
                    self.telemetry.set("a2a.card", "stale");
                    self.serve(&card, true).await
                }
                Ok(Answer::Other(response)) => {
                    count(Outcome::Error);
                    Ok(response)
                }
                Err(error) => {
                    count(Outcome::Failed);
                    Err(error)
                }
            }
        })
    }
}
