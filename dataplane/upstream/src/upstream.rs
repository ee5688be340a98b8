//! Sends requests to endpoints over this thread's connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;

use agentgateway_tls::Offer;
use http::header::{self, HeaderValue};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::net::UdpSocket;

use crate::address::AddressRules;
use crate::balancer::{Member, Outcome, RECLAIM};
use crate::body::{Body, UpstreamBody};
use crate::cluster::Cluster;
use crate::connect::{Sender, connect};
use crate::dial::{dial, failed};
use crate::dns::Resolver;
use crate::endpoint::{Endpoint, InFlight, Protocol};
use crate::error::{Error, Kind};
use crate::limits::IDLE_SWEEP;
use crate::pool::{Lease, Pool};
use crate::stream::{Datagrams, Opened};

/// An endpoint that was chosen for one request, or that a session stays with.
#[derive(Clone, Debug)]
pub struct Picked {
    endpoint: Arc<Endpoint>,
    /// None: its backend has no policies about its endpoints.
    member: Option<Arc<Member>>,
}

impl Picked {
    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        Picked { endpoint, member: None }
    }

    pub(crate) fn of_member(member: Arc<Member>) -> Self {
        Picked { endpoint: Arc::clone(member.endpoint()), member: Some(member) }
    }

    /// Counts a request, unless the backend has too many.
    fn begin(&self) -> Result<InFlight, Error> {
        let permit = match &self.member {
            Some(member) => Some(member.shared().request()?),
            None => None,
        };
        Ok(InFlight::new(Arc::clone(&self.endpoint), permit))
    }

    /// Counts how the request ended.
    fn end(&self, outcome: impl FnOnce() -> Option<Outcome>) {
        if let Some(member) = &self.member
            && let Some(outcome) = outcome()
        {
            member.report(outcome);
        }
    }

    /// Whether it gets requests: it is neither ejected nor unhealthy.
    pub fn is_serving(&self) -> bool {
        self.member.as_ref().is_none_or(|member| member.gets_requests())
    }

    /// It gave no answer in the time that a request had for it.
    pub fn was_late(&self) {
        self.end(|| Some(Outcome::Failed));
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

/// The connections of one worker thread. A clone shares them.
#[derive(Clone)]
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
                // Before the sweep: a request on another thread that begins to wait during it is not missed.
                let reclaim = RECLAIM.notified();
                match swept.upgrade() {
                    Some(pool) => pool.sweep(),
                    None => return,
                }
                tokio::select! {
                    () = tokio::time::sleep(IDLE_SWEEP) => {}
                    () = reclaim => {}
                }
            }
        });
        Upstream { pool, resolver, rules }
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// An endpoint of the cluster for the next request.
    pub async fn pick(&self, cluster: &Arc<Cluster>) -> Result<Picked, Error> {
        cluster.pick(&self.resolver, None).await
    }

    /// As [`Upstream::pick`], for a request with this hash.
    pub async fn pick_hashed(&self, cluster: &Arc<Cluster>, hash: Option<u64>) -> Result<Picked, Error> {
        cluster.pick(&self.resolver, hash).await
    }

    /// Sends a request and gives the response as soon as its head is there.
    ///
    /// The request's URI may be in origin form; `Host` must be set. Errors with `retry_safe` did not reach a server.
    pub async fn send(&self, picked: &Picked, request: Request<Body>) -> Result<Response<Body>, Error> {
        self.try_send(picked, request).await.map_err(|failed| failed.error)
    }

    /// As [`Upstream::send`], but a request of which no byte was sent comes back, for another endpoint.
    pub async fn try_send(&self, picked: &Picked, request: Request<Body>) -> Result<Response<Body>, SendError> {
        let in_flight = match picked.begin() {
            Ok(in_flight) => in_flight,
            Err(error) => return Err(SendError { error, unsent: Some(Box::new(request)) }),
        };
        let result = self.exchange(&picked.endpoint, request, in_flight).await;
        picked.end(|| match &result {
            Ok(response) => Some(Outcome::of_response(response)),
            Err(failed) => Outcome::of_error(&failed.error),
        });
        result
    }

    async fn exchange(
        &self,
        endpoint: &Arc<Endpoint>,
        request: Request<Body>,
        in_flight: InFlight,
    ) -> Result<Response<Body>, SendError> {
        match endpoint.protocol() {
            Protocol::Http1 => self.send_http1(endpoint, request, in_flight, Protocol::Http1).await,
            Protocol::Http2 => self.send_http2(endpoint, request, in_flight, Protocol::Http2).await,
            // An upgrade exists in HTTP/1.1 alone (RFC 9113 §8.6).
            Protocol::Negotiated if endpoint.tls().is_none() || request.headers().contains_key(header::UPGRADE) => {
                self.send_http1(endpoint, request, in_flight, Protocol::Http1).await
            }
            Protocol::Negotiated => self.send_http2(endpoint, request, in_flight, Protocol::Negotiated).await,
        }
    }

    /// Connects to an endpoint, for bytes of the caller's. Those that are `encrypted` already go out as they are, also where
    /// the backend asks for TLS: it gets that of the client.
    pub async fn open(&self, picked: &Picked, encrypted: bool) -> Result<Opened, Error> {
        let endpoint = &picked.endpoint;
        let in_flight = picked.begin()?;
        let tls = endpoint.tls().filter(|_| !encrypted).map(|tls| (tls.as_ref(), Offer::Nothing));
        let dialled = dial(endpoint, &self.rules, tls, in_flight.shared()).await;
        // A stream that comes about is as good as an answer.
        picked.end(|| match &dialled {
            Ok(_) => Some(Outcome::Answered(http::StatusCode::OK)),
            Err(error) => Outcome::of_error(error),
        });
        let (stream, slot) = dialled?;
        Ok(Opened { stream, endpoint: endpoint.address(), _slot: slot, _in_flight: in_flight })
    }

    /// A socket for datagrams to and from an endpoint.
    pub async fn open_datagrams(&self, picked: &Picked) -> Result<Datagrams, Error> {
        let endpoint = &picked.endpoint;
        let address = endpoint.address();
        self.rules.check(address)?;
        if endpoint.tls().is_some() {
            let message = format!("datagrams to endpoint {address} cannot be encrypted, and its backend asks for TLS");
            return Err(Error::new(Kind::Tls, message));
        }
        let failed = |error: std::io::Error| failed(endpoint, &error);
        let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
        socket.connect(address).await.map_err(failed)?;
        // Until the runtime has heard of a new socket, sending without waiting says that it would have to wait.
        socket.writable().await.map_err(failed)?;
        if let Ok(local) = socket.local_addr() {
            self.rules.check_connected(local, address)?;
        }
        Ok(Datagrams { socket, in_flight: picked.begin()? })
    }

    /// Over a connection of HTTP/1.1 that waits, or else a new one: of `protocol`, which may turn out to be HTTP/2.
    async fn send_http1(
        &self,
        endpoint: &Arc<Endpoint>,
        mut request: Request<Body>,
        in_flight: InFlight,
        protocol: Protocol,
    ) -> Result<Response<Body>, SendError> {
        // A kept connection may have been closed by the server just now; then the request comes back unsent, and
        // the next kept connection, or in the end a new one, gets it.
        while let Some(mut sender) = self.pool.take_http1(endpoint.id) {
            as_http1(&mut request);
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.leased(response, in_flight, sender)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(exchange_failed(endpoint, &failed).into()),
                },
            }
        }
        // A new connection is seldom, and its future large: boxed, it does not make every request's future larger.
        Box::pin(self.send_over_new(endpoint, request, in_flight, protocol)).await
    }

    /// Over the shared connection of HTTP/2, or else as an endpoint of `protocol` has it.
    async fn send_http2(
        &self,
        endpoint: &Arc<Endpoint>,
        mut request: Request<Body>,
        in_flight: InFlight,
        protocol: Protocol,
    ) -> Result<Response<Body>, SendError> {
        if let Some(mut sender) = self.pool.shared_http2(endpoint.id) {
            as_http2(endpoint, &mut request)?;
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(leased_http2(response, in_flight)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(exchange_failed(endpoint, &failed).into()),
                },
            }
        }
        match protocol {
            Protocol::Negotiated => Box::pin(self.send_http1(endpoint, request, in_flight, protocol)).await,
            _ => Box::pin(self.send_over_new(endpoint, request, in_flight, protocol)).await,
        }
    }

    async fn send_over_new(
        &self,
        endpoint: &Arc<Endpoint>,
        mut request: Request<Body>,
        in_flight: InFlight,
        protocol: Protocol,
    ) -> Result<Response<Body>, SendError> {
        match connect(endpoint, protocol, &self.rules, in_flight.shared()).await {
            Ok(Sender::Http1(mut sender)) => {
                as_http1(&mut request);
                match sender.try_send_request(request).await {
                    Ok(response) => Ok(self.leased(response, in_flight, sender)),
                    Err(failed) => Err(exchange_failed(endpoint, &failed).into()),
                }
            }
            Ok(Sender::Http2(mut sender)) => {
                as_http2(endpoint, &mut request)?;
                self.pool.share_http2(endpoint.id, sender.clone(), in_flight.shared());
                match sender.try_send_request(request).await {
                    Ok(response) => Ok(leased_http2(response, in_flight)),
                    Err(failed) => Err(exchange_failed(endpoint, &failed).into()),
                }
            }
            Err(error) => Err(SendError { error, unsent: Some(Box::new(request)) }),
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
fn as_http2(endpoint: &Endpoint, request: &mut Request<Body>) -> Result<(), Error> {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(header::HOST);
    if request.uri().authority().is_some() {
        return Ok(());
    }
    let invalid = || Error::new(Kind::RequestBody, "the request has no valid Host");
    let authority = host.as_ref().and_then(|h| h.to_str().ok()).ok_or_else(invalid)?;
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let scheme = if endpoint.tls().is_some() { "https" } else { "http" };
    *request.uri_mut() =
        Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().map_err(|_| invalid())?;
    Ok(())
}

/// The opposite, for a request that was meant for an HTTP/2 connection first. One that was not is left as it is.
fn as_http1(request: &mut Request<Body>) {
    if request.version() != Version::HTTP_2 {
        return;
    }
    *request.version_mut() = Version::HTTP_11;
    let uri = std::mem::take(request.uri_mut()).into_parts();
    if let Some(authority) = uri.authority
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = uri.path_and_query.map(Uri::from).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Connecting, EndpointRegistry};

    #[test]
    fn a_request_becomes_http2_and_back() {
        let endpoint = EndpointRegistry::default().get(([10, 0, 0, 1], 80).into(), &Connecting::default());
        let request = || {
            let head = Request::get("/a?b").header("host", "h.example:81").header("x-a", "1");
            head.body(Body::Empty).expect("a request")
        };
        let mut changed = request();
        as_http2(&endpoint, &mut changed).expect("has a host");
        assert_eq!(changed.uri(), "http://h.example:81/a?b");
        assert!(changed.headers().get("host").is_none() && changed.version() == Version::HTTP_2);
        as_http2(&endpoint, &mut changed).expect("twice is as good as once");
        as_http1(&mut changed);
        assert_eq!((changed.uri(), changed.version()), (request().uri(), Version::HTTP_11));
        assert_eq!(changed.headers()["host"], "h.example:81");
        let mut without = Request::get("/").body(Body::Empty).expect("a request");
        assert!(as_http2(&endpoint, &mut without).is_err());
    }
}
