//! The walk of a request: what is asked, of which provider, and what the answer means.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agentgateway_llm_format::{
    Call, Dialect, Exchange, Fault, FaultKind, Framing, Operation, Request, Upstream, model_info, model_list,
};
use agentgateway_pipeline::Error;
use agentgateway_pipeline::protocol::BackendRequest;
use agentgateway_pipeline::worker::Worker;
use agentgateway_policy::{Chain, RequestContext};
use agentgateway_upstream::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, header};

use crate::backend::LlmBackend;
use crate::body::{self, Unread};
use crate::limits::{MAX_ANSWER_BODY, MAX_REQUEST_BODY, SILENCE_TIMEOUT};
use crate::pass;
use crate::provider::Provider;
use crate::record::Record;
use crate::stream::Streamed;
use crate::{head, reply, send, tokens};

/// Answers a request; what goes wrong is an answer in the shape of the client's API.
pub(crate) async fn handle(
    backend: Arc<LlmBackend>,
    request: BackendRequest,
    worker: Rc<Worker>,
) -> Result<Response<Body>, Error> {
    let BackendRequest { head, body, context, policies, .. } = request;
    let record = Record::new(context.telemetry.clone());
    let path = below(head.uri.path(), context.matched_prefix.as_deref());
    let anthropic = head.headers.contains_key("anthropic-version");
    Ok(match Call::recognise(head.method.as_str(), path, head.uri.query(), anthropic) {
        None => {
            // What it will cost is not known; it must not be a way around the limits.
            match tokens::admit(None, (&head, &context, policies.as_slice()), &worker, &backend.offload).await {
                Ok(_) => {
                    pass::pass(&backend, (&head, path), body, (&context, policies.as_slice()), &worker, &record).await
                }
                Err(refused) => limited(&record, Dialect::OpenAiChat, *refused),
            }
        }
        Some(call) if call.operation == Operation::Models => {
            record.asked(call.dialect, call.operation, call.model.as_deref().unwrap_or_default(), false);
            match models(&backend, &call) {
                Some(answer) => answer,
                None => {
                    pass::pass(&backend, (&head, path), body, (&context, policies.as_slice()), &worker, &record).await
                }
            }
        }
        Some(call) => {
            let client = call.dialect;
            match read(&backend, call, &head, body).await {
                Ok(request) => {
                    record.asked(client, request.operation(), request.model(), request.streams());
                    Asked {
                        backend: &backend,
                        head: &head,
                        context: &context,
                        policies: &policies,
                        worker: &worker,
                        request: Arc::new(request),
                    }
                    .answer(record)
                    .await
                }
                Err(fault) => refuse(&record, client, &fault),
            }
        }
    })
}

/// The path below the prefix by which the route matched: a prefix of the gateway's own, such as `/openai`, is no part of the
/// API's path.
fn below<'a>(path: &'a str, prefix: Option<&str>) -> &'a str {
    let prefix = prefix.unwrap_or_default().trim_end_matches('/');
    path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// The list of models, or one of them, as far as the configuration names them; `None` where the provider is to be asked.
fn models(backend: &LlmBackend, call: &Call) -> Option<Response<Body>> {
    if backend.models.is_empty() {
        return None;
    }
    let client = call.dialect;
    let body = match &call.model {
        None => model_list(client, &backend.models),
        Some(id) => match backend.models.iter().find(|model| model.id == *id) {
            Some(model) => model_info(client, model),
            None => {
                let message = format!("the model \"{id}\" does not exist");
                return Some(reply::fault(client, &Fault::new(FaultKind::NotFound, message)));
            }
        },
    };
    Some(reply::json(200, HeaderMap::new(), body))
}

async fn read(backend: &LlmBackend, call: Call, head: &Parts, body: Body) -> Result<Request, Fault> {
    if head.headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Fault::new(FaultKind::InvalidRequest, "the body must not be compressed"));
    }
    let bytes = body::read(body, MAX_REQUEST_BODY, SILENCE_TIMEOUT).await.map_err(|unread| match unread {
        Unread::TooLarge => {
            let message = format!("the body is larger than {} MiB", MAX_REQUEST_BODY >> 20);
            Fault::new(FaultKind::TooLarge, message)
        }
        Unread::BrokeOff => Fault::new(FaultKind::InvalidRequest, "the body broke off"),
        Unread::Silent => Fault::new(FaultKind::Timeout, "the body did not come in time"),
    })?;
    let fixed = backend.groups.providers().next().and_then(|provider| provider.model.clone());
    let parsed = backend.offload.run(bytes.len(), move || parse(call, bytes, fixed.as_deref())).await;
    parsed.ok_or_else(busy)?.map_err(|error| error.fault())
}

/// Reads a body. Whoever leaves the model to the gateway may send none; it is then the `fixed` one.
fn parse(call: Call, body: Bytes, fixed: Option<&str>) -> Result<Request, agentgateway_llm_format::Error> {
    let Some(fixed) = fixed else { return Request::parse(call, body) };
    match Request::parse(call.clone(), body.clone()) {
        // Only one that lacks it: of a name that is wrong the client is told.
        Err(error) if error.field() == Some("model") => match with_model(&body, fixed) {
            Some(named) => Request::parse(call, named).map_err(|_| error),
            None => Err(error),
        },
        other => other,
    }
}

/// The body with this model before its other members; with one that it has already it cannot be read.
fn with_model(body: &[u8], model: &str) -> Option<Bytes> {
    let rest = body.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    let mut named = b"{\"model\":".to_vec();
    named.extend_from_slice(serde_json::to_string(model).ok()?.as_bytes());
    if !rest.starts_with(b"}") {
        named.push(b',');
    }
    named.extend_from_slice(rest);
    Some(named.into())
}

fn busy() -> Fault {
    Fault::new(FaultKind::Overloaded, "the gateway has too many large requests")
}

fn refuse(record: &Record, client: Dialect, fault: &Fault) -> Response<Body> {
    record.error(&fault.message);
    reply::fault(client, fault)
}

fn limited(record: &Record, client: Dialect, (fault, headers): (Fault, HeaderMap)) -> Response<Body> {
    record.error(&fault.message);
    reply::json(fault.kind.status(), headers, fault.body(client))
}

/// A request that was read.
struct Asked<'a> {
    backend: &'a LlmBackend,
    head: &'a Parts,
    context: &'a RequestContext,
    policies: &'a [Arc<Chain>],
    worker: &'a Worker,
    request: Arc<Request>,
}

/// Why a provider gave no answer that the client can use.
struct Failed {
    /// What the client gets when no other provider does better.
    answer: Response<Body>,
    /// For the operator.
    reason: String,
    /// How long the provider asks to be left alone.
    rest: Option<Duration>,
}

/// How one try went.
enum Tried {
    Whole(Response<Body>, agentgateway_llm_format::Answer),
    /// The provider's stream has begun with these bytes.
    Stream {
        headers: HeaderMap,
        first: Bytes,
        source: Body,
        exchange: Exchange,
    },
    /// The request is wrong, whoever is asked.
    Refused(Fault),
    Failed(Failed),
}

impl Asked<'_> {
    /// Tries one provider after the other.
    async fn answer(self, record: Record) -> Response<Body> {
        let client = self.request.dialect();
        let asker = (self.head, self.context, self.policies);
        let mut charge = match tokens::admit(Some(&self.request), asker, self.worker, &self.backend.offload).await {
            Ok(charge) => charge,
            Err(refused) => return limited(&record, client, *refused),
        };
        let order = self.backend.groups.order(Instant::now(), |n| self.worker.random_below(n));
        let mut last = None;
        let mut refused = None;
        for provider in order {
            record.provider(&provider);
            match self.ask(&provider).await {
                Tried::Whole(response, answer) => {
                    provider.rest.succeeded();
                    if let Some(fault) = &answer.fault {
                        record.error(&fault.message);
                    }
                    record.answered(answer.model.as_deref(), answer.usage, answer.finish);
                    let mut response = response;
                    if let Some(charge) = charge.take() {
                        charge.write_headers(response.headers_mut());
                        let unknown = if answer.fault.is_some() { 0 } else { charge.estimate };
                        charge.settle(answer.usage.map_or(unknown, |usage| usage.total()));
                    }
                    return response;
                }
                Tried::Stream { mut headers, first, source, exchange } => {
                    provider.rest.succeeded();
                    record.begun();
                    let content_type = HeaderValue::from_static(exchange.content_type());
                    if let Some(charge) = &charge {
                        charge.write_headers(&mut headers);
                    }
                    let translator = exchange.stream(None, false);
                    let streamed = Streamed::new((source, first), translator, record, charge.take());
                    return reply::with_type(200, headers, content_type, Body::stream(streamed));
                }
                // Another provider may have words for it.
                Tried::Refused(fault) => refused = Some(fault),
                Tried::Failed(failed) => {
                    let provider_name = &*provider.name;
                    tracing::debug!(provider = provider_name, reason = failed.reason, "a provider failed");
                    if provider.rest.failed(Instant::now(), failed.rest) {
                        tracing::warn!(provider = provider_name, reason = failed.reason, "a provider rests");
                    }
                    last = Some(failed);
                }
            }
        }
        if let Some(charge) = charge {
            charge.settle(0);
        }
        match (last, refused) {
            (Some(failed), _) => {
                record.error(&failed.reason);
                failed.answer
            }
            (None, Some(fault)) => refuse(&record, client, &fault),
            (None, None) => refuse(&record, client, &Fault::new(FaultKind::Internal, "the backend has no provider")),
        }
    }

    /// Asks one provider.
    async fn ask(&self, provider: &Arc<Provider>) -> Tried {
        let client = self.request.dialect();
        let format = provider.format(client);
        let same = format.dialect == client;
        let model = provider.model(&self.request, &self.backend.aliases).into_owned();
        let request = Arc::clone(&self.request);
        let size = request.body().len();
        let written = self.backend.offload.run(size, move || request.upstream(&format, &model)).await;
        let Upstream { path, body, headers, mut exchange, .. } = match written {
            Some(Ok(upstream)) => upstream,
            Some(Err(error)) => return Tried::Refused(error.fault()),
            None => return Tried::Refused(busy()),
        };
        exchange.stamp(format!("{:016x}", self.worker.random_below(u64::MAX)), unix_seconds());
        let mut own = head::for_provider(&self.head.headers, same);
        own.insert(header::CONTENT_TYPE, head::JSON);
        for (name, value) in headers {
            // A client of the same API may ask for another version of it.
            own.entry(name).or_insert(HeaderValue::from_static(value));
        }
        let query = self.head.uri.query().filter(|_| same);
        let target = head::target(provider, &path, self.request.operation() == Operation::Generate, query);
        let mut outgoing = match head::request(provider, Method::POST, own, &target) {
            Ok(outgoing) => outgoing,
            Err(reason) => return Tried::Refused(Fault::new(FaultKind::InvalidRequest, reason)),
        };
        let key = provider.key.in_force(self.policies);
        if let Err(reason) = key.apply(&mut outgoing, self.head, self.context) {
            return Tried::Refused(Fault::new(FaultKind::Authentication, reason));
        }
        key.sign(&mut outgoing, &body);
        match send::send(self.worker, provider, outgoing, body.into()).await {
            Ok(response) => self.understand(response, exchange, same).await,
            Err(error) => {
                let kind = FaultKind::of_status(error.status().as_u16());
                let message = match kind {
                    FaultKind::Timeout => "the provider did not answer in time",
                    FaultKind::Overloaded => "the provider cannot be reached",
                    _ => "the connection to the provider failed",
                };
                Tried::failed(&exchange, Fault::new(kind, message), error.to_string())
            }
        }
    }

    /// What a provider's answer means, as soon as that is known: of a stream, with its first bytes.
    async fn understand(&self, response: Response<Body>, exchange: Exchange, same: bool) -> Tried {
        let (parts, mut source) = response.into_parts();
        let (status, rest) = (parts.status, send::retry_after(&parts.headers));
        let encoded = parts.headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
        if encoded || status.is_redirection() || status.is_informational() {
            let what = if encoded { "it is compressed" } else { "it is a redirect" };
            let fault = Fault::new(FaultKind::BadGateway, format!("the provider's answer cannot be used: {what}"));
            return Tried::failed(&exchange, fault, format!("status {status}: {what}"));
        }
        if status.is_success() && exchange.upstream_framing() != Framing::Whole {
            let expected = exchange.upstream_framing().content_type();
            let found =
                parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if !found.trim_start().get(..expected.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(expected)) {
                let fault = Fault::new(FaultKind::BadGateway, "the provider did not answer with a stream");
                return Tried::failed(
                    &exchange,
                    fault,
                    format!("an answer of type {found:?} in the place of a stream"),
                );
            }
            return match body::piece(&mut source, SILENCE_TIMEOUT).await {
                Ok(Some(first)) => {
                    Tried::Stream { headers: head::for_client(parts.headers, same), first, source, exchange }
                }
                Ok(None) | Err(Unread::BrokeOff | Unread::TooLarge) => {
                    let fault = Fault::new(FaultKind::BadGateway, "the provider's stream ended before it began");
                    Tried::failed(&exchange, fault, "an empty stream".to_owned())
                }
                Err(Unread::Silent) => {
                    let fault = Fault::new(FaultKind::Timeout, "the provider did not answer in time");
                    Tried::failed(&exchange, fault, "a silent stream".to_owned())
                }
            };
        }
        let body = match body::read(source, MAX_ANSWER_BODY, SILENCE_TIMEOUT).await {
            Ok(body) => body,
            Err(unread) => {
                let (kind, message) = match unread {
                    Unread::TooLarge => (FaultKind::BadGateway, "the provider's answer is too large"),
                    Unread::BrokeOff => (FaultKind::BadGateway, "the provider's answer broke off"),
                    Unread::Silent => (FaultKind::Timeout, "the provider did not answer in time"),
                };
                return Tried::failed(&exchange, Fault::new(kind, message), message.to_owned());
            }
        };
        let translate = exchange.clone();
        let translated =
            self.backend.offload.run(body.len(), move || translate.answer(status.as_u16(), body, None)).await;
        let Some(answer) = translated else {
            return Tried::failed(&exchange, busy(), "too many large answers".to_owned());
        };
        let reply = reply::json(answer.status, head::for_client(parts.headers, same), answer.body.clone());
        // An answer of the provider that could not be read counts as its failure too.
        if send::is_failure(status) || (status.is_success() && answer.status >= 500) {
            let reason = match &answer.fault {
                Some(fault) => format!("status {status}: {}", fault.message),
                None => format!("status {status}"),
            };
            return Tried::Failed(Failed { answer: reply, reason, rest });
        }
        Tried::Whole(reply, answer)
    }
}

impl Tried {
    fn failed(exchange: &Exchange, fault: Fault, reason: String) -> Tried {
        Tried::Failed(Failed { answer: reply::fault(exchange.client(), &fault), reason, rest: None })
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_left_to_the_gateway_is_put_in() {
        let call = || Call::recognise("POST", "/v1/chat/completions", None, false).expect("known");
        let model = |body: &'static str, fixed: Option<&str>| {
            parse(call(), Bytes::from_static(body.as_bytes()), fixed).map(|request| request.model().to_owned())
        };
        assert_eq!(model(r#" { "messages": []}"#, Some("m\"")).expect("put in"), "m\"");
        assert_eq!(model(r#"{"model": "own"}"#, Some("m")).expect("has one"), "own");
        for (body, fixed) in [(r#"{"messages": []}"#, None), (r#"{"model": 7}"#, Some("m")), ("[]", Some("m"))] {
            assert!(model(body, fixed).is_err(), "{body}");
        }
    }

    #[test]
    fn the_routes_prefix_is_no_part_of_the_apis_path() {
        for (path, prefix, expected) in [
            ("/openai/v1/chat/completions", Some("/openai"), "/v1/chat/completions"),
            ("/openai/v1/models", Some("/openai/"), "/v1/models"),
            ("/v1/models", Some("/"), "/v1/models"),
            ("/v1/models", None, "/v1/models"),
            ("/openai", Some("/openai"), "/openai"),
            ("/rewritten", Some("/openai"), "/rewritten"),
        ] {
            assert_eq!(below(path, prefix), expected, "{path} {prefix:?}");
        }
    }
}
