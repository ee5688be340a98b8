//! Sends requests to endpoints over this thread's connections.

use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use crate::address::AddressRules;
use crate::body::{Body, UpstreamBody};
use crate::cluster::Cluster;
use crate::connect::{Sender, connect};
use crate::dns::Resolver;
use crate::endpoint::{Endpoint, InFlight, Protocol};
use crate::error::{Error, Kind};
use crate::limits::IDLE_SWEEP;
use crate::pool::{Lease, Pool};

/// An endpoint that was chosen for one request, or that a session stays with.
#[derive(Clone, Debug)]
pub struct Picked(Arc<Endpoint>);

impl Picked {
    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }

    /// An endpoint that the caller chose.
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Picked(endpoint)
    }
}

/// A failed exchange, with the request when no byte of it was sent.
#[derive(Debug)]
pub struct SendError {
    /// What happened.
    pub error: Error,
    /// The request as it was.
    pub unsent: Option<Box<Request<Body>>>,
}

impl From<Error> for SendError {
    fn from(error: Error) -> Self {
        SendError { error, unsent: None }
    }
}

/// The connections of one worker thread.
pub struct Upstream {
    pool: Rc<Pool>,
    resolver: Resolver,
    rules: Arc<AddressRules>,
}

impl Upstream {
    /// For the thread that calls it, which must run a `LocalSet`: connections are tasks of it.
    pub fn new(resolver: Resolver, rules: Arc<AddressRules>) -> Self {
        let pool = Rc::new(Pool::default());
        let swept = Rc::downgrade(&pool);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(IDLE_SWEEP).await;
                let Some(pool) = swept.upgrade() else { return };
                pool.sweep();
            }
        });
        Upstream { pool, resolver, rules }
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// An endpoint of the cluster for the next request.
    pub async fn pick(&self, cluster: &Arc<Cluster>) -> Result<Picked, Error> {
        cluster.pick(&self.resolver).await.map(Picked)
    }

    /// Sends a request and gives the response as soon as its head is there.
    ///
    /// The request's URI may be in origin form; `Host` must be set. Errors with `retry_safe` did not reach a server.
    pub async fn send(&self, picked: &Picked, request: Request<Body>) -> Result<Response<Body>, Error> {
        self.try_send(picked, request).await.map_err(|failed| failed.error)
    }

    /// As [`Upstream::send`], but a request of which no byte was sent comes back, for another endpoint.
    pub async fn try_send(&self, picked: &Picked, request: Request<Body>) -> Result<Response<Body>, SendError> {
        let endpoint = &picked.0;
        let in_flight = InFlight::new(Arc::clone(endpoint));
        match endpoint.protocol() {
            Protocol::Http1 => self.send_http1(endpoint, request, in_flight).await,
            Protocol::H2c => self.send_http2(endpoint, request, in_flight).await,
        }
    }

    // A new connection is seldom, and its future large: boxed, it does not make every request's future larger.
    async fn send_http1(
        &self,
        endpoint: &Arc<Endpoint>,
        mut request: Request<Body>,
        in_flight: InFlight,
    ) -> Result<Response<Body>, SendError> {
        // A kept connection may have been closed by the server just now; then the request comes back unsent, and
        // the next kept connection, or in the end a new one, gets it.
        while let Some(mut sender) = self.pool.take_http1(endpoint.id) {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.leased(response, in_flight, sender)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(exchange_failed(endpoint, &failed).into()),
                },
            }
        }
        let mut sender = match Box::pin(connect(endpoint, &self.rules)).await {
            Ok(Sender::Http1(sender)) => sender,
            Ok(_) => return Err(mismatch(endpoint).into()),
            Err(error) => return Err(SendError { error, unsent: Some(Box::new(request)) }),
        };
        match sender.try_send_request(request).await {
            Ok(response) => Ok(self.leased(response, in_flight, sender)),
            Err(failed) => Err(exchange_failed(endpoint, &failed).into()),
        }
    }

    async fn send_http2(
        &self,
        endpoint: &Arc<Endpoint>,
        mut request: Request<Body>,
        in_flight: InFlight,
    ) -> Result<Response<Body>, SendError> {
        *request.version_mut() = http::Version::HTTP_2;
        absolute_uri(&mut request)?;
        if let Some(mut sender) = self.pool.shared_http2(endpoint.id) {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(leased_http2(response, in_flight)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(exchange_failed(endpoint, &failed).into()),
                },
            }
        }
        let mut sender = match Box::pin(connect(endpoint, &self.rules)).await {
            Ok(Sender::Http2(sender)) => sender,
            Ok(_) => return Err(mismatch(endpoint).into()),
            Err(error) => return Err(SendError { error, unsent: Some(Box::new(request)) }),
        };
        self.pool.share_http2(endpoint.id, sender.clone());
        match sender.try_send_request(request).await {
            Ok(response) => Ok(leased_http2(response, in_flight)),
            Err(failed) => Err(exchange_failed(endpoint, &failed).into()),
        }
    }

    fn leased(
        &self,
        response: Response<Incoming>,
        in_flight: InFlight,
        sender: hyper::client::conn::http1::SendRequest<Body>,
    ) -> Response<Body> {
        let lease = Lease::http1(in_flight, Rc::clone(&self.pool), sender, response.headers());
        response.map(|incoming| Body::Upstream(UpstreamBody::new(incoming, lease)))
    }
}

fn leased_http2(response: Response<Incoming>, in_flight: InFlight) -> Response<Body> {
    response.map(|incoming| Body::Upstream(UpstreamBody::new(incoming, Lease::http2(in_flight))))
}

/// HTTP/2 has `:scheme` and `:authority` instead of `Host` (RFC 9113 §8.3.1).
fn absolute_uri(request: &mut Request<Body>) -> Result<(), Error> {
    let host = request.headers_mut().remove(http::header::HOST);
    if request.uri().authority().is_some() {
        return Ok(());
    }
    let invalid = || Error::new(Kind::RequestBody, "the request has no valid Host");
    let authority = host.as_ref().and_then(|h| h.to_str().ok()).ok_or_else(invalid)?;
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    *request.uri_mut() =
        http::Uri::builder().scheme("http").authority(authority).path_and_query(path).build().map_err(|_| invalid())?;
    Ok(())
}

fn mismatch(endpoint: &Endpoint) -> Error {
    Error::new(Kind::Protocol, format!("endpoint {} changed its protocol", endpoint.address()))
}

fn exchange_failed<T>(endpoint: &Endpoint, failed: &TrySendError<T>) -> Error {
    let error = failed.error();
    let address = endpoint.address();
    if error.is_user() {
        return Error::new(Kind::RequestBody, format!("the request body for endpoint {address} broke off: {error}"));
    }
    if error.is_parse() {
        return Error::new(Kind::Protocol, format!("endpoint {address} does not speak HTTP: {error}"));
    }
    Error::new(Kind::Reset, format!("endpoint {address} closed the connection without a response: {error}"))
}
