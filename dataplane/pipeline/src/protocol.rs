//! The interface of backends that speak more than plain HTTP: MCP servers, LLM providers, pools of model servers, agents.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agentgateway_policy::{Chain, RequestContext};
use agentgateway_proto::v1;
use agentgateway_upstream::{Body, Cluster, Endpoint};
use futures::future::LocalBoxFuture;
use http::Response;

use crate::Error;
use crate::worker::Worker;

/// A request after the gateway's, the route's and the backend's policies.
#[derive(Debug)]
pub struct BackendRequest {
    /// Head, as policies left it.
    pub head: http::request::Parts,
    /// Body, unread.
    pub body: Body,
    /// What policies learnt of the request.
    pub context: RequestContext,
    /// Policies of the gateway, the route and the backend, for what the protocol itself decides.
    pub policies: Vec<Arc<Chain>>,
    /// What the tries of the request know of each other.
    pub tries: Rc<RefCell<Tries>>,
}

/// What the tries of one request know of each other.
#[derive(Debug, Default)]
pub struct Tries {
    /// Endpoints that were asked so far, the last one last.
    pub tried: Vec<Arc<Endpoint>>,
    /// Endpoints that a protocol chose for the request beforehand, with the backend for which it did.
    pub chosen: Option<(Arc<str>, Vec<std::net::SocketAddr>)>,
}

/// A compiled backend that speaks a protocol of its own.
pub trait ProtocolBackend: Send + Sync + std::fmt::Debug {
    /// Answers a request. Runs on the worker's thread; nothing in it may take longer than 200 µs without an await. What it
    /// learns for the access log, traces and metrics goes to the `telemetry` of the request's context.
    fn handle(
        self: Arc<Self>,
        request: BackendRequest,
        worker: Rc<Worker>,
    ) -> LocalBoxFuture<'static, Result<Response<Body>, Error>>;
}

/// A protocol that is plain HTTP on its way to the backend's endpoints, so that everything about these holds for it, but whose
/// requests and answers are looked at.
pub trait Inspector: Send + Sync + std::fmt::Debug {
    /// Looks at a request before an endpoint is chosen. Runs on the worker's thread, as [`ProtocolBackend::handle`] does. A
    /// request that is sent again is looked at again.
    fn inspect(self: Arc<Self>, request: BackendRequest) -> LocalBoxFuture<'static, Result<Inspected, Error>>;
}

/// What becomes of a request that was looked at.
pub enum Inspected {
    /// It goes to the backend.
    Forward {
        /// Head for the backend.
        head: Box<http::request::Parts>,
        /// Body for the backend.
        body: Body,
        /// What looks at the answer.
        exchange: Box<dyn Inspection>,
        /// Whether it does no harm when the backend gets it twice; otherwise it is not sent again, whatever the retry policy
        /// says, once a byte may have left the gateway.
        repeatable: bool,
        /// How long the backend may take until it begins to answer; None: as long as the policies let it.
        patience: Option<Duration>,
    },
    /// It is answered here.
    Answer(Response<Body>),
}

/// One exchange of an [`Inspector`].
pub trait Inspection {
    /// Gives what the client gets for what came of the exchange.
    fn finish(
        self: Box<Self>,
        outcome: Result<Response<Body>, Error>,
    ) -> LocalBoxFuture<'static, Result<Response<Body>, Error>>;
}

/// Makes protocol backends out of their resources.
pub trait ProtocolFactory: Send + Sync {
    /// Compiles a backend; `clusters` finds Host and Service backends by key.
    ///
    /// # Errors
    /// Why the backend cannot be used, for the operator.
    fn compile(
        &self,
        backend: &v1::Backend,
        clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Arc<dyn ProtocolBackend>, String>;

    /// Compiles what looks at the requests of a Host or Service backend; None where nothing does.
    ///
    /// # Errors
    /// Why the backend cannot be used, for the operator.
    fn inspector(&self, backend: &v1::Backend) -> Result<Option<Arc<dyn Inspector>>, String> {
        match &backend.a2a {
            Some(_) => Err("the backend speaks no protocol that this release knows".to_owned()),
            None => Ok(None),
        }
    }
}
