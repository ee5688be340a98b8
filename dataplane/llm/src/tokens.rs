//! Limits of tokens: an estimate is taken before a provider is asked, and corrected when the usage is known.

use std::sync::Arc;

use agentgateway_llm_format::{Fault, FaultKind, Operation, Request};
use agentgateway_pipeline::worker::Worker;
use agentgateway_policy::{Chain, Reply, RequestContext, TokenCharge, admit_tokens, limits_tokens};
use agentgateway_upstream::Upstream;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::offload::Offload;

/// What a request has taken of its limits. Dropped without being settled, the estimate stays taken.
pub(crate) struct Charge {
    charge: TokenCharge,
    /// Tokens of the prompt, before a provider has counted them.
    pub(crate) estimate: u64,
    upstream: Upstream,
}

/// What a refused request is told: the error, and what says when it may come again.
pub(crate) type Refused = Box<(Fault, HeaderMap)>;

/// Takes the prompt's tokens; none where nothing limits them. `request` is none where nobody can tell how many there are:
/// it passes while there is any token left.
pub(crate) async fn admit(
    request: Option<&Arc<Request>>,
    (head, context, policies): (&Parts, &RequestContext, &[Arc<Chain>]),
    worker: &Worker,
    offload: &Offload,
) -> Result<Option<Charge>, Refused> {
    if !limits_tokens(policies) || request.is_some_and(|request| request.operation() == Operation::CountTokens) {
        return Ok(None);
    }
    let estimate = match request {
        None => 0,
        Some(request) => {
            let (size, request) = (request.body().len(), Arc::clone(request));
            match offload.run(size, move || request.size()).await {
                Some(Ok(size)) => size.tokens(),
                Some(Err(error)) => return Err(Box::new((error.fault(), HeaderMap::new()))),
                None => {
                    let fault = Fault::new(FaultKind::Overloaded, "the gateway has too many large requests");
                    return Err(Box::new((fault, HeaderMap::new())));
                }
            }
        }
    };
    match admit_tokens(policies, head, context, estimate, &worker.services()).await {
        Ok(charge) => Ok(Some(Charge { charge, estimate, upstream: worker.upstream.clone() })),
        Err(reply) => Err(refused(reply)),
    }
}

fn refused(reply: Reply) -> Refused {
    let (kind, message) = match reply.response.status() {
        StatusCode::TOO_MANY_REQUESTS => (FaultKind::RateLimit, "the limit of tokens is reached"),
        status => (FaultKind::of_status(status.as_u16()), "the limit of tokens cannot be checked"),
    };
    let mut headers = reply.response.into_parts().0.headers;
    headers.remove(http::header::CONTENT_LENGTH);
    Box::new((Fault::new(kind, message), headers))
}

impl Charge {
    /// Says in the response how much is left, where a limit asks for that.
    pub(crate) fn write_headers(&self, headers: &mut HeaderMap) {
        self.charge.write_headers(headers);
    }

    /// Puts what was used in the place of the estimate; 0 where no model has answered.
    pub(crate) fn settle(self, used: u64) {
        let upstream = self.upstream;
        if let Some(rest) = self.charge.settle_own(used) {
            // Other services are told beside the request, which need not wait for that.
            tokio::task::spawn_local(async move { rest.settle(used, &upstream).await });
        }
    }
}
