//! External authorization: another service decides whether a request may pass, by Envoy's gRPC protocol or by HTTP
//! (Gateway API's ExternalAuth filter).
//!
//! A service that is not configured refuses; one that cannot be asked refuses too, unless the policy says otherwise.

mod cache;
mod changes;
mod grpc;
mod http;

use std::sync::Arc;
use std::time::Duration;

use ::http::request::Parts;
use ::http::response;
use ::http::{HeaderName, StatusCode, header};
use agentgateway_proto::v1::{self, external_authorization::Protocol};
use agentgateway_upstream::Cluster;
use prost::Message;
use serde_json::{Map, Value};

use self::cache::Cache;
use self::changes::Changes;
pub(crate) use self::changes::{Change, ResponseChange};
use crate::body::{Read, Reading};
use crate::limits::{DEFAULT_EXT_AUTHZ_TIMEOUT, MAX_FORWARDED_BODY_BYTES};
use crate::reach::{Reach, Services};
use crate::{Reason, Reply, RequestContext};

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct ExternalAuthorization {
    backend: Arc<str>,
    /// Names the policy in the access log, and its changes among those of a request.
    origin: Arc<str>,
    protocol: Spoken,
    forward: Option<Reading>,
    timeout: Duration,
    fail_open: bool,
    status_on_error: StatusCode,
    cache: Option<Cache>,
}

#[derive(Debug)]
enum Spoken {
    Grpc(grpc::Grpc),
    Http(http::Http),
}

/// A question to the service.
struct Question<'a> {
    services: &'a dyn Services,
    cluster: Arc<Cluster>,
    head: &'a Parts,
    context: &'a RequestContext,
    /// None: bodies are not sent.
    body: Option<&'a Read>,
    limit: Duration,
}

/// What the service decided.
enum Decision {
    Allowed(Arc<Changes>),
    /// With what it leaves for logs.
    Denied(Box<Reply>, Map<String, Value>),
}

impl ExternalAuthorization {
    /// `origin` names the policy in the access log.
    pub(crate) fn compile(spec: &v1::ExternalAuthorization, origin: &str) -> Result<ExternalAuthorization, String> {
        if spec.backend_key.is_empty() {
            return Err("its backend reference is invalid".into());
        }
        let protocol = match &spec.protocol {
            Some(Protocol::Grpc(config)) => Spoken::Grpc(grpc::Grpc::compile(config)?),
            Some(Protocol::Http(config)) => Spoken::Http(http::Http::compile(config)?),
            None => return Err("it names no protocol that this proxy knows".into()),
        };
        let limit = usize::try_from(spec.forward_body_bytes).unwrap_or(usize::MAX);
        if limit > MAX_FORWARDED_BODY_BYTES {
            return Err(format!("it forwards {limit} bytes of bodies; at most {MAX_FORWARDED_BODY_BYTES} are allowed"));
        }
        let status_on_error = match spec.status_on_error {
            0 => StatusCode::FORBIDDEN,
            code => {
                let status = u16::try_from(code).ok().filter(|c| (400..600).contains(c));
                let status = status.and_then(|c| StatusCode::from_u16(c).ok());
                status.ok_or_else(|| format!("{code} is no status of an error"))?
            }
        };
        let cache = spec.cache.as_ref().map(|cache| Cache::compile(cache, &spec.encode_to_vec())).transpose()?;
        if cache.is_some() && limit > 0 {
            return Err("decisions about bodies cannot be remembered: they are in no key".into());
        }
        Ok(ExternalAuthorization {
            backend: spec.backend_key.as_str().into(),
            origin: origin.into(),
            protocol,
            forward: (limit > 0).then_some(Reading { limit, partial: spec.allow_partial_body }),
            timeout: spec.timeout_milliseconds.map_or(DEFAULT_EXT_AUTHZ_TIMEOUT, Duration::from_millis),
            fail_open: spec.fail_open,
            status_on_error,
            cache,
        })
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
            return Err(self.failed("its backend does not exist"));
        };
        let key = self.cache.as_ref().and_then(|cache| Some((cache, cache.key(&context.input(head))?)));
        if let Some(decision) = key.as_ref().and_then(|(cache, key)| cache.get(key)) {
            return self.conclude(decision, head, context);
        }
        let body = match &self.forward {
            Some(forward) => {
                let read = tokio::time::timeout(self.timeout, forward.read(reach.body)).await;
                let read = read.map_err(|_| refuse(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"))?;
                Some(read.map_err(|refused| refuse(refused.status(), refused.text()))?)
            }
            None => None,
        };
        let (services, body, limit) = (reach.services, body.as_ref(), self.timeout);
        let question = Question { services, cluster, head, context, body, limit };
        let answer = match &self.protocol {
            Spoken::Grpc(grpc) => grpc.ask(&question, &self.origin).await,
            Spoken::Http(http) => http.ask(&question, &self.origin).await,
        };
        match answer {
            Ok(decision) => {
                if let Some((cache, key)) = key {
                    cache.put(key, &decision);
                }
                self.conclude(decision, head, context)
            }
            Err(error) if self.fail_open => {
                tracing::warn!(policy = &*self.origin, %error, "authorization could not be asked for; the request passes");
                Ok(())
            }
            Err(error) => Err(self.failed(&error.to_string())),
        }
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    fn conclude(&self, decision: Decision, head: &mut Parts, context: &mut RequestContext) -> Result<(), Reply> {
        match decision {
            Decision::Allowed(changes) => {
                changes.apply(&mut head.headers);
                context.leave(changes.metadata().clone());
                context.response_changes.extend(changes.in_response(&self.origin));
                Ok(())
            }
            Decision::Denied(reply, metadata) => {
                context.leave(metadata);
                Err(*reply)
            }
        }
    }

    /// What the service wants in the response to a request that it let pass.
    pub(crate) fn on_response(&self, head: &mut response::Parts, context: &RequestContext) {
        ResponseChange::apply_all(&self.origin, &context.response_changes, &mut head.headers);
    }

    fn failed(&self, why: &str) -> Reply {
        let reason = Reason::AuthorizationUnavailable(format!("{}: {why}", self.origin).into());
        Reply::new(self.status_on_error, "authorization failed", reason)
    }
}

fn refuse(status: StatusCode, text: &'static str) -> Reply {
    Reply::new(status, text, Reason::BodyNotForwarded(text))
}

/// Headers that are the message's or the connection's own: an answer may not change them on another message.
pub(crate) fn is_framing(name: &HeaderName) -> bool {
    const FRAMING: [HeaderName; 9] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    FRAMING.contains(name)
}

pub(crate) fn names(names: &[String]) -> Result<Box<[HeaderName]>, String> {
    names.iter().map(|name| name.parse().map_err(|_| format!("{name:?} is not a header name"))).collect()
}

#[cfg(test)]
mod tests;
