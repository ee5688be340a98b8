//! External processing: another service reads requests and responses, changes them, or answers in the backend's stead, by Envoy's
//! protocol `envoy.service.ext_proc.v3`.
//!
//! One call per request and policy, over both directions. A processor that is not configured refuses; one that fails refuses too, unless
//! the policy says otherwise. That it ends the call with status OK means that it wants to see no more, and what is left passes.

mod answer;
mod call;
mod duplex;
mod message;
mod mode;
mod mutation;
mod observe;
pub(crate) mod picker;
mod streamed;
mod wakers;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use agentgateway_callout::processor::Metadata;
use agentgateway_expression::{Expression, HttpInput, Scope};
use agentgateway_proto::v1;
use agentgateway_upstream::Body;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use serde_json::{Map, Value};

pub(crate) use self::call::Call;
use self::call::{Failure, Settings};
pub(crate) use self::message::to_json as struct_to_json;
use self::mode::Mode;
use self::mutation::Rules;
use self::walk::Message;
use crate::limits::{DEFAULT_PROCESSED_BYTES, DEFAULT_PROCESSOR_TIMEOUT, MAX_PROCESSED_BYTES, MAX_PROCESSOR_TIMEOUT};
use crate::{Reach, Reply, RequestContext};

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct ExternalProcessing {
    backend: Arc<str>,
    authority: Option<HeaderValue>,
    settings: Arc<Settings>,
    request_attributes: Box<[Expression]>,
    response_attributes: Box<[Expression]>,
    forwarded_metadata: Box<[String]>,
    max_body: usize,
}

impl ExternalProcessing {
    /// `origin` names the policy in the access log. `may_acknowledge`: an answer that changes nothing gives a piece of a
    /// FULL_DUPLEX_STREAMED body back as it was.
    pub(crate) fn compile(
        spec: &v1::ExternalProcessing,
        origin: &str,
        may_acknowledge: bool,
    ) -> Result<ExternalProcessing, String> {
        if spec.backend_key.is_empty() {
            return Err("its backend reference is invalid".into());
        }
        let authority = match spec.authority.as_str() {
            "" => None,
            name => {
                let parsed = name.parse::<http::uri::Authority>().ok().and_then(|_| HeaderValue::from_str(name).ok());
                Some(parsed.ok_or_else(|| format!("{name:?} is not a host name"))?)
            }
        };
        let mode = Mode::compile(&spec.mode.unwrap_or_default(), spec.observability)?;
        let timeout = |of: Option<u64>| {
            let of = of.map_or(DEFAULT_PROCESSOR_TIMEOUT, Duration::from_millis);
            let allowed = !of.is_zero() && of <= MAX_PROCESSOR_TIMEOUT;
            allowed.then_some(of).ok_or_else(|| format!("{} ms is no time for an answer", of.as_millis()))
        };
        let max_timeout = Some(spec.max_message_timeout_milliseconds).filter(|most| *most > 0);
        let max_body = match usize::try_from(spec.max_body_bytes) {
            Ok(0) => DEFAULT_PROCESSED_BYTES,
            Ok(most) if most <= MAX_PROCESSED_BYTES => most,
            _ => return Err(format!("bodies of {} bytes cannot be kept", spec.max_body_bytes)),
        };
        Ok(ExternalProcessing {
            backend: spec.backend_key.as_str().into(),
            authority,
            settings: Arc::new(Settings {
                origin: origin.into(),
                mode,
                timeout: timeout(spec.message_timeout_milliseconds)?,
                max_timeout: max_timeout.map(|most| timeout(Some(most))).transpose()?,
                fail_open: spec.fail_open,
                allow_override: spec.allow_mode_override,
                observes: spec.observability,
                may_acknowledge,
                rules: Rules::compile(spec.mutation_rules.as_ref())?,
            }),
            request_attributes: expressions(&spec.request_attributes, Scope::Rule)?,
            response_attributes: expressions(&spec.response_attributes, Scope::Response)?,
            forwarded_metadata: spec.forwarded_metadata.clone().into(),
            max_body,
        })
    }

    /// Whether expressions for the response may ask about the request.
    pub(crate) fn looks_back(&self) -> bool {
        !self.response_attributes.is_empty()
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) async fn on_request(
        &self,
        head: &mut Parts,
        context: &mut RequestContext,
        reach: &mut Reach<'_>,
    ) -> Result<(), Reply> {
        let Some(cluster) = reach.services.cluster(&self.backend) else {
            // Not a service that is away, but one that nobody has configured.
            return Err(self.settings.failed(&Failure::NoBackend));
        };
        let upstream = reach.services.upstream();
        let call = Call::new(&self.settings, head, upstream, &cluster, self.authority.as_ref());
        context.processing.push(call.clone());
        let mut body = reach.body.take();
        let is_empty = body.as_ref().is_none_or(Body::is_end_stream);
        let outcome = self.walk(&call, Message::Request(head), context, &mut body, is_empty).await;
        *reach.body = body;
        outcome.or_else(|ended| call.conclude(ended))
    }

    pub(crate) async fn on_response(&self, response: Response<Body>, context: &mut RequestContext) -> Response<Body> {
        // A response that an earlier policy gave, to a request that the processor has not seen, is none of its.
        let call = context.processing.iter().rev().find(|call| call.is_of(&self.settings)).cloned();
        let Some(call) = call.filter(|call| !call.is_over()) else { return response };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // What follows is no response any more.
            call.finish();
            return response;
        }
        let (mut head, body) = response.into_parts();
        let is_empty = call.is_head_request()
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || body.is_end_stream();
        let mut body = Some(body);
        let outcome = self.walk(&call, Message::Response(&mut head), context, &mut body, is_empty).await;
        let replaced = match outcome {
            Ok(()) => None,
            Err(ended) => call.conclude(ended).err(),
        };
        match replaced {
            None => Response::from_parts(head, body.unwrap_or_default()),
            Some(reply) => {
                tracing::warn!(reason = %reply.reason, "a processor took the place of a response");
                reply.response.map(Body::from)
            }
        }
    }

    /// What earlier policies left, as far as it is sent.
    fn metadata(&self, context: &RequestContext) -> Option<Metadata> {
        if self.forwarded_metadata.is_empty() {
            return None;
        }
        message::metadata(context.metadata.as_deref(), &self.forwarded_metadata)
    }
}

fn expressions(sources: &[String], scope: Scope) -> Result<Box<[Expression]>, String> {
    let compile = |source: &String| match Expression::compile_for(source, scope) {
        Ok(expression) if expression.subject().is_some() || expression.uses_body() => {
            Err(format!("{source:?}: neither mcp nor bodies are known here"))
        }
        Ok(expression) => Ok(expression),
        Err(error) => Err(format!("{source:?}: {error}")),
    };
    sources.iter().map(compile).collect()
}

/// Those that have a value.
fn attributes(all: &[Expression], input: &HttpInput<'_>) -> Map<String, Value> {
    let value = |e: &Expression| Some((e.source().to_owned(), e.evaluate_value(input).ok()?));
    all.iter().filter_map(value).collect()
}

/// Whether the client speaks gRPC.
fn is_grpc(head: &Parts) -> bool {
    head.method == Method::POST
        && head.headers.get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests;
