//! One exchange with a backend: a request as policies left it, and the answer to it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use agentgateway_policy::RequestContext;
use agentgateway_telemetry::trace::SpanKind;
use agentgateway_upstream::{Body, Cluster, Picked};
use http::request::Parts;
use http::{Response, StatusCode};
use tokio::time::timeout;

use crate::authentication::Authentication;
use crate::forward::{Outgoing, forward, once};
use crate::protocol::{BackendRequest, Inspected, Inspector, Tries};
use crate::request::{Origin, Passed};
use crate::snapshot::{Backend, BackendKind};
use crate::tracked::Record;
use crate::upgrade::{self, Upgrade};
use crate::{Error, attempts, live, observe};

/// A request as policies left it.
pub(crate) struct Sent<'a> {
    pub(crate) head: Parts,
    pub(crate) body: Body,
    pub(crate) context: &'a RequestContext,
    pub(crate) passed: &'a Passed,
}

impl Sent<'_> {
    fn for_protocol(self, tries: Rc<RefCell<Tries>>) -> BackendRequest {
        let Sent { head, body, context, passed } = self;
        BackendRequest { head, body, context: context.clone(), policies: passed.iter().cloned().collect(), tries }
    }
}

/// Which endpoint of a backend gets a request.
pub(crate) enum Pick<'a> {
    /// Any, and others when no connection comes about.
    Any,
    /// This one, and others when no connection comes about.
    First(Option<Picked>),
    /// This one, or any that was not tried before; it is added to these.
    Once(Option<Picked>, &'a Rc<RefCell<Tries>>),
}

impl Pick<'_> {
    /// What the tries of the request know of each other.
    fn tries(&self) -> Rc<RefCell<Tries>> {
        match self {
            Pick::Once(_, tries) => Rc::clone(tries),
            Pick::Any | Pick::First(_) => Rc::default(),
        }
    }
}

/// One exchange with a backend.
pub(crate) async fn send(
    origin: &Origin,
    backend: &Backend,
    mut request: Sent<'_>,
    pick: Pick<'_>,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let telemetry = &request.context.telemetry;
    let mut span = telemetry.span("upstream request", SpanKind::Client);
    telemetry.propagate(&span, &mut request.head.headers);
    let result = match &backend.kind {
        BackendKind::Cluster(cluster) => plain(origin, (backend, cluster), request, pick, record).await,
        // Boxed: plain requests do not pay for its size.
        BackendKind::Inspected(cluster, inspector) => {
            Box::pin(inspected(origin, (backend, cluster, inspector), request, pick, record)).await
        }
        BackendKind::Protocol(protocol) => {
            let tries = pick.tries();
            let request = request.for_protocol(Rc::clone(&tries));
            let answer = Arc::clone(protocol).handle(request, Rc::clone(&origin.worker)).await;
            record.endpoint = tries.borrow().tried.last().map(|endpoint| endpoint.address());
            answer
        }
        BackendKind::Broken(reason) => Err(Error::Protocol {
            blame: agentgateway_upstream::Blame::Gateway,
            status: StatusCode::INTERNAL_SERVER_ERROR,
            reason: "backend_invalid",
            message: reason.to_string().into(),
        }),
    };
    observe::outcome(&mut span, record.endpoint, &result);
    live::attempt(telemetry, backend, record, &result);
    result
}

/// One exchange with an endpoint of a backend.
async fn plain(
    origin: &Origin,
    (backend, cluster): (&Backend, &Arc<Cluster>),
    request: Sent<'_>,
    pick: Pick<'_>,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let Sent { mut head, mut body, context, passed } = request;
    let signature = match Authentication::of(passed.iter()) {
        Some(authentication) => authentication.apply(&mut head, &mut body, context).await?,
        None => None,
    };
    // Of the request as policies left it.
    let hash = backend.hash.as_ref().and_then(|policies| policies.of(&head, context));
    let (upgrade, version) = (Upgrade::take(&mut head), head.version);
    let takes_host_of_backend = context.takes_host_of_backend && !context.has_own_host;
    let upgraded = upgrade.as_ref();
    let outgoing = Outgoing { head, body, upgrade: upgraded, signature, takes_host_of_backend };
    let (worker, endpoint) = (&origin.worker, &mut record.endpoint);
    *endpoint = None;
    let result = match pick {
        Pick::Any => forward(worker, cluster, outgoing, (None, hash), endpoint).await,
        Pick::First(first) => forward(worker, cluster, outgoing, (first, hash), endpoint).await,
        Pick::Once(first, tries) => {
            let picked = match first {
                Some(picked) => picked,
                None => {
                    let before = tries.borrow().tried.clone();
                    worker.upstream.pick_other(cluster, hash, &before).await?
                }
            };
            *endpoint = Some(picked.endpoint().address());
            tries.borrow_mut().tried.push(Arc::clone(picked.endpoint()));
            once(worker, cluster, outgoing, &picked).await
        }
    };
    let mut response = result?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upgrade = upgrade.ok_or_else(upgrade::unasked)?;
        record.tunnel = Some(Box::new(upgrade.switch(&mut response, version)));
    }
    Ok(response)
}

/// The same, looked at on both ways.
async fn inspected(
    origin: &Origin,
    (backend, cluster, inspector): (&Backend, &Arc<Cluster>, &Arc<dyn Inspector>),
    request: Sent<'_>,
    pick: Pick<'_>,
    record: &mut Record,
) -> Result<Response<Body>, Error> {
    let (context, passed) = (request.context, request.passed);
    match Arc::clone(inspector).inspect(request.for_protocol(pick.tries())).await? {
        Inspected::Answer(response) => Ok(response),
        Inspected::Forward { head, body, exchange, repeatable, patience } => {
            let request = Sent { head: *head, body, context, passed };
            // Also where this future is dropped, because the time for one try is over.
            record.once = !repeatable;
            let sent = plain(origin, (backend, cluster), request, pick, record);
            let outcome = match patience {
                Some(limit) => timeout(limit, sent).await.unwrap_or_else(|_| Err(attempts::no_answer_within(limit))),
                None => sent.await,
            };
            if outcome.as_ref().is_err_and(Error::is_unsent) {
                record.once = false;
            }
            exchange.finish(outcome).await
        }
    }
}
