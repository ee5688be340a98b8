//! Paths that are no operation of a known API: to the first provider, unread, with its key.

use std::sync::Arc;

use agentgateway_llm_format::{Dialect, Fault, FaultKind};
use agentgateway_pipeline::remove_hop_by_hop;
use agentgateway_pipeline::worker::Worker;
use agentgateway_policy::{Chain, RequestContext};
use agentgateway_upstream::Body;
use http::request::Parts;
use http::{Response, header};

use crate::backend::LlmBackend;
use crate::body::{self, Unread};
use crate::limits::{MAX_REQUEST_BODY, SILENCE_TIMEOUT};
use crate::record::Record;
use crate::{head, reply, send};

pub(crate) async fn pass(
    backend: &LlmBackend,
    (client, path): (&Parts, &str),
    content: Body,
    (context, policies): (&RequestContext, &[Arc<Chain>]),
    worker: &Worker,
    record: &Record,
) -> Response<Body> {
    let api =
        if client.headers.contains_key("anthropic-version") { Dialect::AnthropicMessages } else { Dialect::OpenAiChat };
    let refuse = |kind, message: &str| {
        record.error(message);
        reply::fault(api, &Fault::new(kind, message))
    };
    let Some(provider) = backend.groups.providers().next() else {
        return refuse(FaultKind::Internal, "the backend has no provider");
    };
    record.provider(provider);
    // Clients have the API's version in their base URL, as providers have.
    let below = path.strip_prefix(&*provider.base_path).filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let target = head::target(provider, below, false, client.uri.query());
    let mut headers = head::for_provider(&client.headers, true);
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::ACCEPT, header::ACCEPT_ENCODING] {
        if let Some(value) = client.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let mut outgoing = match head::request(provider, client.method.clone(), headers, &target) {
        Ok(outgoing) => outgoing,
        Err(reason) => return refuse(FaultKind::InvalidRequest, reason),
    };
    let key = provider.key.in_force(policies);
    if let Err(reason) = key.apply(&mut outgoing, client, context) {
        return refuse(FaultKind::Authentication, reason);
    }
    let content = if key.signs_body() {
        match body::read(content, MAX_REQUEST_BODY, SILENCE_TIMEOUT).await {
            Ok(whole) => {
                key.sign(&mut outgoing, &whole);
                whole.into()
            }
            Err(Unread::TooLarge) => return refuse(FaultKind::TooLarge, "the body is too large to be signed"),
            Err(_) => return refuse(FaultKind::InvalidRequest, "the body broke off"),
        }
    } else {
        key.sign(&mut outgoing, &[]);
        content
    };
    match send::send(worker, provider, outgoing, content).await {
        Ok(mut response) => {
            remove_hop_by_hop(response.headers_mut());
            response.headers_mut().remove(header::SET_COOKIE);
            response
        }
        Err(error) => {
            tracing::debug!(%error, provider = &*provider.name, "request failed");
            refuse(FaultKind::of_status(error.status().as_u16()), "the provider cannot be reached")
        }
    }
}
