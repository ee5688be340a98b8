//! A pool whose picker is another process: it is asked for each request, and sees the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use agentgateway_pipeline::protocol::BackendRequest;
use agentgateway_pipeline::worker::Worker;
use agentgateway_policy::{EndpointPicker, NotPicked, Reach, Reply, RequestContext};
use agentgateway_proto::v1::inference_backend::ExternalPicker;
use agentgateway_upstream::{Body, Endpoint};
use bytes::Bytes;
use http::Response;
use smallvec::SmallVec;

use crate::pool::{Chosen, Pod, Pool};

/// The picker of a pool.
#[derive(Debug)]
pub(crate) struct External {
    /// Or why it cannot be asked.
    picker: Result<EndpointPicker, String>,
    fail_open: bool,
}

/// What became of the question.
pub(crate) enum Asked {
    /// These endpoints of the pool, the best first.
    Chosen(Chosen),
    /// The picker answers the request itself.
    Answered(Reply),
    /// It did not choose, and the pool's own picker may.
    Open,
    /// It did not choose, and nobody else may.
    Closed,
}

impl External {
    pub(crate) fn compile(config: &ExternalPicker, pool: &str) -> External {
        let picker = EndpointPicker::compile(&config.backend_key, pool);
        External { picker, fail_open: config.fail_open }
    }

    /// Asks. `whole` is the request's body, where all of it was read.
    pub(crate) async fn choose(
        &self,
        pool: &Pool,
        request: &mut BackendRequest,
        whole: Option<Bytes>,
        worker: &Worker,
    ) -> Asked {
        let picker = match &self.picker {
            Ok(picker) => picker,
            Err(reason) => return self.failed(pool, reason, true),
        };
        let head = whole.is_some().then(|| request.head.clone());
        let services = worker.services();
        let mut body = Some(std::mem::take(&mut request.body));
        let mut reach = Reach { services: &services, body: &mut body };
        let picked = picker.pick(&mut request.head, &mut request.context, &mut reach).await;
        request.body = body.unwrap_or_default();
        match picked {
            Ok(endpoints) => match pool.named(&endpoints, &request.tries.borrow().tried) {
                chosen if chosen.pods.is_empty() => self.failed(pool, "it names no endpoint of the pool", true),
                chosen => Asked::Chosen(chosen),
            },
            Err(NotPicked::Answered(reply)) => {
                pool.state.counters.picker_answers.fetch_add(1, Ordering::Relaxed);
                Asked::Answered(reply)
            }
            Err(NotPicked::Failed(reason)) => {
                let may_pass = head.is_some();
                if let (Some(head), Some(bytes)) = (head, whole) {
                    // What the picker has of the request is here too.
                    (request.head, request.body) = (head, Body::from(bytes));
                }
                self.failed(pool, &reason, may_pass)
            }
        }
    }

    /// Lets the picker see the response of the endpoint `by`.
    pub(crate) async fn served(
        &self,
        by: SocketAddr,
        response: Response<Body>,
        context: &mut RequestContext,
    ) -> Response<Body> {
        match &self.picker {
            Ok(picker) => picker.served(by, response, context).await,
            Err(_) => response,
        }
    }

    fn failed(&self, pool: &Pool, reason: &str, may_pass: bool) -> Asked {
        pool.state.counters.picker_failures.fetch_add(1, Ordering::Relaxed);
        let open = self.fail_open && may_pass;
        tracing::warn!(pool = &*pool.key, reason, passes = open, "the endpoint picker did not choose");
        if open { Asked::Open } else { Asked::Closed }
    }
}

impl Pool {
    /// Those of the endpoints that are the pool's, in their order; those that the request failed at come last.
    fn named(&self, endpoints: &[SocketAddr], tried: &[Arc<Endpoint>]) -> Chosen {
        let members = self.members();
        let find = |address: &SocketAddr| members.iter().find(|pod| pod.endpoint().address() == *address).cloned();
        let mut pods: SmallVec<[Arc<Pod>; 4]> = endpoints.iter().filter_map(find).collect();
        pods.sort_by_key(|pod| tried.iter().any(|endpoint| endpoint.address() == pod.endpoint().address()));
        let (candidates, why) =
            (members.len(), self.choice_header.as_ref().map(|_| "named by the endpoint picker".to_owned()));
        Chosen { pods, decided_by: None, blocks: 0, cached: 0, candidates, is_external: true, why }
    }
}
