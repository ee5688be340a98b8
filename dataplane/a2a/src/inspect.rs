//! What is done with a request before it goes to the agent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use agentgateway_expression::HttpInput;
use agentgateway_pipeline::Error;
use agentgateway_pipeline::discard::discard;
use agentgateway_pipeline::protocol::{BackendRequest, Inspected, Inspector};
use agentgateway_policy::{A2aRules, Chain};
use agentgateway_proto::{key, v1};
use agentgateway_telemetry::RequestTelemetry;
use agentgateway_upstream::{Blame, Body};
use futures::future::LocalBoxFuture;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::address::Address;
use crate::call::{Call, Version};
use crate::cards::Cards;
use crate::collect::Resumed;
use crate::exchange::{CallExchange, CardExchange};
use crate::fault::Fault;
use crate::limits::{CARD_PATIENCE, MESSAGE_BYTES, PEEK_BYTES, SLICE_BYTES};
use crate::log;
use crate::message::{Binding, Message, Scan, Wrong};
use crate::metrics::{BackendMetrics, Metrics, Outcome};
use crate::operation::Operation;
use crate::paths;

/// Makes what looks at the requests of agents; holds what they share.
#[derive(Clone, Debug, Default)]
pub struct A2aFactory {
    metrics: Arc<Metrics>,
    cards: Arc<Cards>,
}

impl A2aFactory {
    /// The counters, to be registered.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What looks at the requests of a backend; None where it is no agent's.
    pub fn inspector(&self, backend: &v1::Backend) -> Option<Arc<dyn Inspector>> {
        let a2a = backend.a2a.as_ref()?;
        Some(Arc::new(Agent {
            key: backend.key.as_str().into(),
            public_url: a2a.public_url.as_str().into(),
            idempotent_messages: a2a.idempotent_messages,
            metrics: self.metrics.backend(&key::print_backend(backend)),
            cards: Arc::clone(&self.cards),
        }))
    }
}

/// An agent, compiled.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) key: Arc<str>,
    pub(crate) public_url: Box<str>,
    idempotent_messages: bool,
    pub(crate) metrics: Arc<BackendMetrics>,
    pub(crate) cards: Arc<Cards>,
}

impl Inspector for Agent {
    fn inspect(self: Arc<Self>, request: BackendRequest) -> LocalBoxFuture<'static, Result<Inspected, Error>> {
        Box::pin(async move {
            let BackendRequest { head, body, context, policies, .. } = request;
            if is_grpc(&head) {
                discard(body);
                // An agent's gRPC binding is a plain backend, as any gRPC service is.
                return Err(refused(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "a2a_grpc",
                    "gRPC goes to a backend of its own",
                ));
            }
            let (path, telemetry) = (head.uri.path(), context.telemetry.clone());
            let reads = matches!(head.method, Method::GET | Method::HEAD);
            if reads && paths::is_card(path) {
                let address = Address::of(&head, &context, &self.public_url);
                log::call(&telemetry, &Call::new(Operation::GetAgentCard, Version::of(&head.headers)));
                return Ok(self.card(head, body, address, telemetry));
            }
            let rules = Rules(&policies);
            let named = paths::operation(&head.method, path);
            if !rules.is_empty() && paths::is_ambiguous(path) {
                discard(body);
                return Err(refused(
                    StatusCode::BAD_REQUEST,
                    "a2a_ambiguous_path",
                    "rules cannot be asked about the path",
                ));
            }
            let binding = if named.is_some() { Binding::HttpJson } else { Binding::JsonRpc };
            if named.is_none() && head.method != Method::POST {
                // Nothing of A2A: a page about the agent, perhaps.
                return if rules.is_empty() {
                    Ok(forward(head, body, CallExchange::unknown(self)))
                } else {
                    discard(body);
                    Err(refused(
                        StatusCode::FORBIDDEN,
                        "a2a_no_call",
                        "rules allow calls alone, and the request is none",
                    ))
                };
            }
            let version = Version::of(&head.headers);
            let began = Instant::now();
            let read = read(&head, body, binding, !rules.is_empty()).await;
            let (message, body) = match read {
                Ok(read) => read,
                Err(Unreadable { fault, id, rest }) => {
                    discard(rest);
                    self.metrics.call(Operation::Other, version, Outcome::Refused);
                    return Ok(answer(&fault, binding, id.as_deref(), &telemetry));
                }
            };
            let id = message.as_ref().and_then(|message| message.id.clone());
            let call = match call(&head, named, message, version) {
                Ok(call) => call,
                // An agent without rules says itself what is wrong.
                Err(_) if rules.is_empty() => Call::new(Operation::Other, version),
                Err(wrong) => {
                    discard(body);
                    self.metrics.call(Operation::Other, version, Outcome::Refused);
                    return Ok(answer(&Fault::wrong(&wrong), binding, id.as_deref(), &telemetry));
                }
            };
            log::call(&telemetry, &call);
            if !rules.allow(&call, &context.input(&head)) {
                discard(body);
                self.metrics.call(call.operation, call.version, Outcome::Denied);
                return Ok(answer(&Fault::denied(), binding, id.as_deref(), &telemetry));
            }
            let repeatable = call.operation.is_read() || (call.operation.is_message() && self.idempotent_messages);
            let mut head = head;
            let card = (call.operation == Operation::GetExtendedAgentCard).then(|| {
                head.headers.insert(ACCEPT_ENCODING, IDENTITY);
                Address::of(&head, &context, &self.public_url)
            });
            let exchange = CallExchange { agent: self, call: Some(call), binding, card, began, telemetry };
            Ok(Inspected::Forward {
                head: Box::new(head),
                body,
                exchange: Box::new(exchange),
                repeatable,
                patience: None,
            })
        })
    }
}

/// What is not encoded.
pub(crate) const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

impl Agent {
    /// Asks the agent for its card, or whether it is still the one that is known.
    fn card(self: Arc<Self>, head: Parts, body: Body, address: Address, telemetry: RequestTelemetry) -> Inspected {
        let (mut head, exchange) = CardExchange::prepare(self, head, address, telemetry);
        head.headers.insert(ACCEPT_ENCODING, IDENTITY);
        Inspected::Forward {
            head: Box::new(head),
            body,
            exchange: Box::new(exchange),
            repeatable: true,
            patience: Some(CARD_PATIENCE),
        }
    }
}

/// The rules of all levels.
struct Rules<'a>(&'a [Arc<Chain>]);

impl Rules<'_> {
    fn all(&self) -> impl Iterator<Item = &A2aRules> {
        self.0.iter().flat_map(|chain| chain.a2a_authorization())
    }

    fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    fn allow(&self, call: &Call, input: &HttpInput<'_>) -> bool {
        let call = call.input();
        self.all().all(|rules| rules.allows(&call, input))
    }
}

fn call(head: &Parts, named: Option<paths::Named>, message: Option<Message>, version: Version) -> Result<Call, Wrong> {
    let Some(named) = named else { return Call::of_message(message.unwrap_or_default(), version) };
    let operation = named.operation;
    if message.as_ref().is_some_and(|message| message.is_rpc) {
        return Err(Wrong::TwoBindings);
    }
    let mut call = Call::of_request(named, message, version)?;
    if operation == Operation::ListTasks {
        call.context =
            paths::parameter(head.uri.query(), &["contextId", "context_id"]).map_err(|_| Wrong::Twice("contextId"))?;
    }
    Ok(call)
}

/// A message that is not passed on.
struct Unreadable {
    fault: Fault,
    id: Option<String>,
    /// What of its body was not read.
    rest: Body,
}

/// Reads what is looked at, and gives the body again. `strict`: it must be a message in all its parts, because rules are asked
/// about it; otherwise what cannot be read is the agent's to judge.
async fn read(
    head: &Parts,
    mut body: Body,
    binding: Binding,
    strict: bool,
) -> Result<(Option<Message>, Body), Unreadable> {
    let has_body = !body.is_end_stream();
    if binding == Binding::HttpJson && !has_body {
        return Ok((None, body));
    }
    #[allow(clippy::result_large_err, reason = "moved once, to the answer")]
    let unreadable = |fault, id, rest| Err(Unreadable { fault, id, rest });
    let encoded = head.headers.get_all(CONTENT_ENCODING).iter().any(|value| value.as_bytes() != b"identity");
    if encoded {
        return match strict {
            true => {
                let fault = Fault::of_client(
                    -32600,
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "a2a_encoded",
                    "rules cannot be asked about an encoded message",
                );
                unreadable(fault, None, body)
            }
            false => Ok((None, body)),
        };
    }
    let limit = if strict { MESSAGE_BYTES } else { PEEK_BYTES };
    let too_large = || {
        let message = format!("the message is larger than {MESSAGE_BYTES} bytes, so rules cannot be asked about it");
        Fault::of_client(-32600, StatusCode::PAYLOAD_TOO_LARGE, "a2a_message_too_large", message)
    };
    if strict && body.size_hint().lower() > limit as u64 {
        return unreadable(too_large(), None, body);
    }
    let (mut scan, mut pieces, mut held, mut wrong) = (Scan::new(binding), VecDeque::new(), 0, None);
    let mut ended = false;
    while wrong.is_none() && (strict || !scan.is_done()) && (strict || held < limit) {
        let Some(frame) = body.frame().await else {
            ended = true;
            break;
        };
        let data = match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => data,
            Ok(Err(_trailers)) => continue,
            Err(error) => {
                let message = format!("the message broke off: {error}");
                let fault = Fault::of_client(-32700, StatusCode::BAD_REQUEST, "a2a_message_broke_off", message);
                return unreadable(fault, None, Body::Empty);
            }
        };
        held += data.len();
        if strict && held > limit {
            return unreadable(too_large(), None, body);
        }
        for (i, slice) in data.chunks(SLICE_BYTES).enumerate() {
            if i > 0 {
                tokio::task::yield_now().await;
            }
            wrong = scan.read(slice).err();
            if wrong.is_some() {
                break;
            }
        }
        pieces.push_back(data);
    }
    if strict && wrong.is_none() {
        wrong = scan.end().err();
    }
    let message = scan.into_message();
    match wrong {
        Some(wrong) if strict || wrong == Wrong::Batch => {
            return unreadable(Fault::wrong(&wrong), message.id, if ended { Body::Empty } else { body });
        }
        _ => {}
    }
    let rest = (!ended && !body.is_end_stream()).then_some(body);
    Ok((Some(message), Resumed::body(pieces, rest)))
}

fn forward(head: Parts, body: Body, exchange: CallExchange) -> Inspected {
    let repeatable = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    Inspected::Forward { head: Box::new(head), body, exchange: Box::new(exchange), repeatable, patience: None }
}

fn answer(fault: &Fault, binding: Binding, id: Option<&str>, telemetry: &RequestTelemetry) -> Inspected {
    log::error(telemetry, fault.reason);
    Inspected::Answer(fault.response(binding, id))
}

fn is_grpc(head: &Parts) -> bool {
    let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    content_type.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
}

fn refused(status: StatusCode, reason: &'static str, message: &'static str) -> Error {
    Error::Protocol { blame: Blame::Client, status, reason, message: message.into() }
}
