//! One request to a pool: its prompt is found, an endpoint chosen, and the answer passed on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use agentgateway_pipeline::forward::to_chosen;
use agentgateway_pipeline::protocol::BackendRequest;
use agentgateway_pipeline::{Error, worker::Worker};
use agentgateway_policy::{Reading, Refused, Reply, RequestContext};
use agentgateway_telemetry::RequestTelemetry;
use agentgateway_upstream::{Blame, Body};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body::Body as _;

use crate::answer::Answer;
use crate::backend::Shared;
use crate::external::Asked;
use crate::flow::{self, Dropped};
use crate::limits::{DEFAULT_ANSWER_TOKENS, MAX_INLINE_BYTES, MAX_READ_BYTES, MAX_REWRITTEN_BYTES};
use crate::picker::ScorerKind;
use crate::pool::{Chosen, Pool, Wanted};
use crate::prompt::{BYTES_PER_TOKEN, Prompt};
use crate::rewrite::with_model;
use crate::server::InFlight;

/// Characters of a model's name in the access log.
const MAX_MODEL_CHARACTERS: usize = 128;

/// Says why a request was dropped.
const DROPPED_REASON: HeaderName = HeaderName::from_static("x-llm-d-request-dropped-reason");

/// Carries a session's endpoint, both ways.
const SESSION: HeaderName = HeaderName::from_static("x-session-token");

/// A request as far as it was read.
struct Read {
    bytes: Bytes,
    prompt: Prompt,
    /// Whether this is all of its body.
    is_whole: bool,
}

/// Answers a request.
pub(crate) async fn handle(
    pool: &Arc<Pool>,
    shared: &Arc<Shared>,
    mut request: BackendRequest,
    worker: &Worker,
) -> Result<Response<Body>, Error> {
    let (began, telemetry) = (Instant::now(), request.context.telemetry.clone());
    let priority = pool.objectives.priority(&request.head.headers);
    let read = read(pool, shared, &mut request, worker).await?;
    if pool.is_empty() {
        // Names may never have been looked up; whoever waits for one makes that happen.
        if let Err(error) = worker.upstream.pick(&pool.cluster).await {
            tracing::debug!(%error, "the pool has no endpoint");
        }
        pool.refresh();
    }
    if pool.is_empty() {
        return Ok(dropped(pool, Dropped::NoEndpoints, &telemetry));
    }
    let mut picker = pool.external.as_ref();
    let asked = match picker {
        Some(external) => {
            let whole = read.is_whole.then(|| read.bytes.clone());
            external.choose(pool, &mut request, whole, worker).await
        }
        None => Asked::Open,
    };
    let chosen = match asked {
        Asked::Chosen(chosen) => chosen,
        Asked::Answered(reply) => return Ok(replied(reply, &telemetry)),
        Asked::Closed => return Ok(dropped(pool, Dropped::NoPicker, &telemetry)),
        Asked::Open => {
            picker = None;
            if let Err(reason) = flow::admit(pool, priority, &request.head.headers, read.bytes.len()).await {
                return Ok(dropped(pool, reason, &telemetry));
            }
            match choose(pool, shared, &request, &read, worker).await? {
                Some(chosen) => chosen,
                None => return Ok(dropped(pool, Dropped::NoEndpoints, &telemetry)),
            }
        }
    };
    let tokens = read.bytes.len() / BYTES_PER_TOKEN;
    let tokens = tokens as u64 + read.prompt.max_tokens.unwrap_or(DEFAULT_ANSWER_TOKENS);
    // Counted from now on, so that a request that comes while this one connects sees it.
    let mut in_flight = chosen.pods.first().map(|pod| InFlight::new(Arc::clone(&pod.server), tokens));
    let picked = chosen.pods.iter().map(|pod| pod.picked.clone());
    let mut context = picker.map(|_| request.context.clone());
    let sent = to_chosen(worker, &pool.cluster, request, picked).await;
    if let Some(refusal) = context.as_ref().and_then(RequestContext::refusal_of_body) {
        // Whatever the server made of a body that broke off.
        return Ok(replied(refusal, &telemetry));
    }
    let (mut response, by) = sent?;
    if let (Some(picker), Some(context)) = (picker, &mut context) {
        response = picker.served(by.endpoint().address(), response, context).await;
    }
    let at = chosen.pods.iter().position(|pod| Arc::ptr_eq(pod.endpoint(), by.endpoint())).unwrap_or_default();
    if at > 0 {
        pool.state.counters.fallbacks.fetch_add(1, Ordering::Relaxed);
        in_flight = chosen.pods.get(at).map(|pod| InFlight::new(Arc::clone(&pod.server), tokens));
    }
    if telemetry.is_on() {
        telemetry.set("inference.priority", i64::from(priority));
        note(&telemetry, &chosen, &read, at);
    }
    let (mut head, body) = response.into_parts();
    tell(pool, &chosen, by.endpoint().address(), at, &mut head.headers);
    let body = Body::stream(Answer::new(body, in_flight, began, Arc::clone(pool), telemetry));
    Ok(Response::from_parts(head, body))
}

/// Reads what a choice needs of the body, and rewrites the model. What was read is in the request's body again.
async fn read(pool: &Arc<Pool>, shared: &Shared, request: &mut BackendRequest, worker: &Worker) -> Result<Read, Error> {
    if request.body.is_end_stream() {
        return Ok(Read { bytes: Bytes::new(), prompt: Prompt::default(), is_whole: true });
    }
    let rewrites = !pool.rewrites.is_empty();
    let limit = if rewrites { MAX_REWRITTEN_BYTES } else { MAX_READ_BYTES };
    let mut body = Some(std::mem::take(&mut request.body));
    let reading = Reading { limit, partial: !rewrites }.read(&mut body).await;
    request.body = body.unwrap_or_default();
    let reading = reading.map_err(unreadable)?;
    let (bytes, is_whole) = (reading.bytes, !reading.is_partial && !reading.has_trailers);
    let (known, random) = (Arc::clone(pool), worker.random());
    let (read, rewritten) = beside(shared, bytes.len(), move || {
        let prompt = Prompt::find(&bytes);
        let target = prompt.model(&bytes).and_then(|model| known.rewrites.of(model, random));
        match target.and_then(|target| with_model(&bytes, &prompt, target)) {
            Some(changed) if !prompt.ambiguous => {
                (Read { prompt: Prompt::find(&changed), bytes: changed, is_whole }, true)
            }
            _ => (Read { bytes, prompt, is_whole }, false),
        }
    })
    .await?;
    if rewrites && read.prompt.ambiguous {
        let message = "the request names its model in a way that can be read twice";
        return Err(refused(StatusCode::BAD_REQUEST, "model_ambiguous", message));
    }
    if rewritten {
        pool.state.counters.rewritten.fetch_add(1, Ordering::Relaxed);
        if request.head.headers.contains_key(CONTENT_LENGTH) {
            request.head.headers.insert(CONTENT_LENGTH, HeaderValue::from(read.bytes.len()));
        }
        request.body = Body::from(read.bytes.clone());
    }
    Ok(read)
}

/// Does what takes as long as so many bytes are many, on a thread beside the worker where they are.
async fn beside<T: Send + 'static>(
    shared: &Shared,
    bytes: usize,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    match shared.threads.get() {
        Some(threads) if bytes > MAX_INLINE_BYTES => {
            let message = "too many long prompts wait to be looked through";
            let full = || refused(StatusCode::SERVICE_UNAVAILABLE, "prompts_overloaded", message);
            Box::pin(threads.run(job)).await.ok_or_else(full)
        }
        _ => Ok(job()),
    }
}

/// Chooses endpoints, beside the worker where the prompt is long.
async fn choose(
    pool: &Arc<Pool>,
    shared: &Arc<Shared>,
    request: &BackendRequest,
    read: &Read,
    worker: &Worker,
) -> Result<Option<Chosen>, Error> {
    let tried = request.tries.borrow().tried.iter().map(|endpoint| endpoint.address()).collect();
    let session = session(pool, &request.head.headers);
    let explain = pool.choice_header.is_some();
    let (bytes, prompt, mut seed) = (read.bytes.clone(), read.prompt.clone(), worker.random());
    let known = Arc::clone(pool);
    beside(shared, read.bytes.len(), move || {
        let model = prompt.model(&bytes);
        let wanted = Wanted { blocks: known.blocks(&prompt, &bytes), model, session, tried, explain };
        known.choose(&wanted, &mut || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed ^ (seed >> 29)
        })
    })
    .await
}

/// The answer to a request that is not sent on, and why.
fn dropped(pool: &Pool, why: Dropped, telemetry: &RequestTelemetry) -> Response<Body> {
    let at = Dropped::ALL.iter().position(|other| *other == why);
    if let Some(counter) = at.and_then(|at| pool.state.counters.dropped.get(at)) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
    telemetry.set("inference.dropped", why.reason());
    let text = match why {
        Dropped::NoEndpoints => "no model server is ready\n",
        Dropped::NoPicker => "no model server was chosen\n",
        _ => "all model servers are busy\n",
    };
    let mut response = Response::new(Body::from(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = why.status();
    let headers = response.headers_mut();
    headers.insert(DROPPED_REASON, HeaderValue::from_static(why.reason()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The answer of whoever looks at the request besides the proxy.
fn replied(reply: Reply, telemetry: &RequestTelemetry) -> Response<Body> {
    if telemetry.is_on() {
        telemetry.set("inference.answered", reply.reason.to_string());
    }
    reply.response.map(Body::from)
}

fn session(pool: &Pool, headers: &HeaderMap) -> Option<SocketAddr> {
    if !pool.profile.uses(ScorerKind::SessionAffinity) {
        return None;
    }
    let token = URL_SAFE_NO_PAD.decode(headers.get(&SESSION)?).ok()?;
    std::str::from_utf8(&token).ok()?.parse().ok()
}

/// Headers of the answer about the choice.
fn tell(pool: &Pool, chosen: &Chosen, by: SocketAddr, at: usize, headers: &mut HeaderMap) {
    if pool.profile.uses(ScorerKind::SessionAffinity)
        && let Ok(token) = HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(by.to_string()))
    {
        headers.insert(SESSION, token);
    }
    if let (Some(name), Some(why)) = (&pool.choice_header, &chosen.why) {
        let reason = reason(chosen, at);
        if let Ok(value) = HeaderValue::from_str(&format!("{by}; {reason}; {why}")) {
            headers.insert(name, value);
        }
    }
}

/// Why the answer is from this endpoint.
fn reason(chosen: &Chosen, at: usize) -> &'static str {
    match chosen.decided_by {
        _ if at > 0 => "fallback",
        _ if chosen.is_external => "external-picker",
        Some(kind) => kind.name(),
        None if chosen.candidates == 1 => "only",
        None => "equal",
    }
}

fn note(telemetry: &RequestTelemetry, chosen: &Chosen, read: &Read, at: usize) {
    telemetry.set("inference.reason", reason(chosen, at));
    telemetry.set("inference.candidates", chosen.candidates);
    if chosen.blocks > 0 {
        telemetry.set("inference.cached_blocks", format!("{}/{}", chosen.cached, chosen.blocks));
    }
    if let Some(model) = read.prompt.model(&read.bytes) {
        telemetry.set("gen_ai.request.model", model.chars().take(MAX_MODEL_CHARACTERS).collect::<String>());
    }
}

fn unreadable(refusal: Refused) -> Error {
    let blame = if refusal == Refused::Gone { Blame::Gateway } else { Blame::Client };
    Error::Protocol { blame, status: refusal.status(), reason: "request_body_error", message: refusal.text().into() }
}

fn refused(status: StatusCode, reason: &'static str, message: &'static str) -> Error {
    let blame = if status.is_client_error() { Blame::Client } else { Blame::Gateway };
    Error::Protocol { blame, status, reason, message: message.into() }
}
