//! The walk of one request: listener, gateway policies, route, route policies, backend, and back.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use agentgateway_policy::{Chain, Permits, Reach, Reply, RequestContext};
use agentgateway_telemetry::RequestTelemetry;
use agentgateway_telemetry::live::is_watched;
use agentgateway_tls::{Identity, Server};
use agentgateway_upstream::Body;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tokio::time::timeout_at;

use crate::connection::registry::{Busy, State};
use crate::discard::{discard, is_held_back};
use crate::exchange::{Pick, Sent, send};
use crate::select::choose;
use crate::services::RequestServices;
use crate::snapshot::{Bind, Listener, Listeners, Route, Snapshot, TlsListener};
use crate::tracked::{Line, Record, Tracked};
use crate::worker::Worker;
use crate::{Error, attempts, bind_limits, forwarded, grpc, live, observe, reply, target, upgrade};

/// What all requests of a connection have in common.
pub(crate) struct Origin {
    pub(crate) worker: Rc<Worker>,
    pub(crate) bind_key: Arc<str>,
    pub(crate) port: u16,
    pub(crate) source: SocketAddr,
    pub(crate) state: Rc<State>,
    pub(crate) address: forwarded::Address,
    /// None: in plaintext.
    pub(crate) secure: Option<Secure>,
}

/// What TLS told of a connection.
pub(crate) struct Secure {
    /// Key of the listener that the client's server name chose.
    pub(crate) listener: Arc<str>,
    /// The settings under which the handshake was made.
    pub(crate) server: Arc<Server>,
    /// Who the client is; None without a valid certificate.
    pub(crate) identity: Option<Arc<Identity>>,
}

/// Chains that a request has passed, for the response's way back.
pub(crate) type Passed = smallvec::SmallVec<[Arc<Chain>; 4]>;

/// Answers a request; whatever goes wrong becomes a response.
pub(crate) async fn handle(origin: Rc<Origin>, request: Request<Incoming>) -> Response<Tracked> {
    let (head, body) = request.into_parts();
    let worker = Rc::clone(&origin.worker);
    let draining = worker.is_draining() && head.version != Version::HTTP_2;
    let mut record = Record {
        start: Instant::now(),
        busy: Busy::new(&origin.state),
        listener: None,
        route: None,
        status: 0,
        bytes: 0,
        permits: Permits::default(),
        once: false,
        endpoint: None,
        telemetry: if worker.access_log.is_some() { RequestTelemetry::on() } else { RequestTelemetry::off() },
        line: worker.access_log.is_some().then(|| Box::new(line(&origin, &head))),
        observed: None,
        tunnel: None,
        worker,
    };
    if is_watched() {
        live::begin(&origin, &head, &mut record);
    }
    let mut context = RequestContext::new(origin.source, "http", origin.port);
    context.telemetry.clone_from(&record.telemetry);
    if let Some(secure) = &origin.secure {
        context.scheme = "https";
        context.identity.clone_from(&secure.identity);
    }
    let discards = !is_held_back(&head.headers);
    let is_grpc = grpc::is_call(&head);
    let mut body = Some(Body::Incoming(body));
    let mut response = walk(&origin, head, &mut body, &mut record, &mut context).await;
    if let Some(unread) = body.filter(|_| discards) {
        discard(unread);
    }
    if is_grpc {
        grpc::translate(&mut response);
    }
    record.status = response.status().as_u16();
    live::answered(&record, &response);
    if let Some(observed) = &mut record.observed {
        response = observed.answered(&context, response);
    }
    if let Some(tunnel) = record.tunnel.take() {
        tunnel.start(record);
        return response.map(|_| Tracked { body: Body::Empty, record: None });
    }
    if draining {
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    response.map(|body| Tracked { body, record: Some(record) })
}

pub(crate) fn line(origin: &Origin, head: &Parts) -> Line {
    Line {
        source: origin.source,
        method: head.method.clone(),
        host: request_host(head).unwrap_or_default().into_owned(),
        path: head.uri.path().to_owned(),
        version: head.version,
        reason: None,
    }
}

/// Takes `body` when a backend gets it.
async fn walk(
    origin: &Origin,
    mut head: Parts,
    body: &mut Option<Body>,
    record: &mut Record,
    context: &mut RequestContext,
) -> Response<Body> {
    if head.method == Method::CONNECT && !upgrade::normalise_connect(&mut head) {
        return refuse(record, StatusCode::BAD_REQUEST, "CONNECT is not supported");
    }
    if let Err(reason) = target::unify_host(&mut head) {
        return refuse(record, StatusCode::BAD_REQUEST, reason);
    }
    let snapshot = origin.worker.snapshot();
    let bind = snapshot.binds.get(&*origin.bind_key);
    if let Some(limits) = bind.and_then(|bind| bind.limits.as_deref()) {
        match limits.request(origin.worker.lag()) {
            Ok(permits) => record.permits = permits,
            Err(reason) => {
                record.because(reason);
                return bind_limits::overloaded();
            }
        }
    }
    let (listener, early_route) = {
        let host = match request_host(&head) {
            Ok(host) => host,
            Err(reason) => return refuse(record, StatusCode::BAD_REQUEST, reason),
        };
        let listener = match find_listener(bind, origin, &host) {
            Ok(listener) => listener,
            Err((status, reason)) => return refuse(record, status, reason),
        };
        // Without policies before it, routing sees the request as it came.
        let route = listener.policies.is_empty().then(|| find_route(listener, &host, &head));
        (Arc::clone(listener), route)
    };
    record.listener = Some(Arc::clone(&listener));
    live::chosen(record, "listener", Some(&listener.printed));
    if !head.uri.path().starts_with('/') && head.uri.path() != "*" {
        return refuse(record, StatusCode::BAD_REQUEST, "request target is not supported");
    }
    if let Some(reason) = target::refuse(head.uri.path()) {
        return refuse(record, StatusCode::BAD_REQUEST, reason);
    }

    observe::begin(&listener.policies, origin, &head, context, record);
    origin.address.add(origin.source, context.scheme, &mut head.headers);
    let mut passed = Passed::new();
    let services = RequestServices { worker: &origin.worker, snapshot: &snapshot };
    let mut reach = Reach { services: &services, body };
    if let Err(answer) = pass(&listener.policies, &mut head, context, &mut passed, &mut reach).await {
        return answered(answer, record, &passed, context).await;
    }
    let route = early_route.unwrap_or_else(|| find_route(&listener, &request_host(&head).unwrap_or_default(), &head));
    live::chosen(record, "route", route.as_ref().map(|route| &*route.printed));
    let Some(route) = route else {
        let response = refuse(record, StatusCode::NOT_FOUND, "no route matches");
        return back(response, &passed, context).await;
    };
    record.route = Some(Arc::clone(&route));
    context.matched_prefix = route.matched_prefix.clone();
    observe::begin(&route.policies, origin, &head, context, record);
    let passing = pass(&route.policies, &mut head, context, &mut passed, &mut reach);
    let allowed = match attempts::deadline(&listener, &route, record.start) {
        None => passing.await,
        Some(deadline) => match timeout_at(deadline, passing).await {
            Ok(allowed) => allowed,
            Err(_) => {
                let response = failed(&attempts::late(), record);
                return back(response, &passed, context).await;
            }
        },
    };
    if let Err(answer) = allowed {
        return answered(answer, record, &passed, context).await;
    }
    record.permits.append(context.take_permits());
    let mut response = match choose(&snapshot, &route, &origin.worker) {
        Ok(choice) => {
            if let Some(exchange) = attempts::settings(&listener, &route, choice) {
                let routed = Routed { origin, snapshot: &snapshot, listener: &listener, route: &route, head, record };
                let all = attempts::run(routed, exchange, choice, &mut reach, context, &mut passed);
                // Boxed: only requests that ask for more than one plain exchange pay for its size.
                Box::pin(all).await
            } else {
                for chain in [&choice.0.policies, &choice.1.policies] {
                    if let Err(answer) = pass(chain, &mut head, context, &mut passed, &mut reach).await {
                        return answered(answer, record, &passed, context).await;
                    }
                }
                match reach.body.take() {
                    Some(body) => {
                        let request = Sent { head, body, context, passed: &passed };
                        match send(origin, choice.1, request, Pick::Any, record).await {
                            Ok(response) => response,
                            Err(error) => failed(&error, record),
                        }
                    }
                    None => refuse(record, StatusCode::INTERNAL_SERVER_ERROR, "the body is gone"),
                }
            }
        }
        Err(reason) => refuse(record, StatusCode::INTERNAL_SERVER_ERROR, reason),
    };
    record.permits.append(context.take_permits());
    if let Some(refusal) = context.refusal_of_body() {
        // Whatever the backend made of a body that broke off.
        response = replied(refusal, record);
    }
    back(response, &passed, context).await
}

/// A request whose route is known.
pub(crate) struct Routed<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) listener: &'a Listener,
    pub(crate) route: &'a Route,
    pub(crate) head: Parts,
    pub(crate) record: &'a mut Record,
}

/// The gateway's own answer, and why, for the access log.
pub(crate) fn refuse(record: &mut Record, status: StatusCode, reason: &str) -> Response<Body> {
    record.because(reason);
    reply::for_status(status)
}

/// The listener of the bind that has the most specific name for the host, and no other (Gateway API, `Listener.hostname`).
///
/// Over TLS it must be the one that the handshake was for: another may ask for other certificates of clients, and clients use
/// a connection for every host that its certificate names (RFC 9113 §9.1.1).
fn find_listener<'a>(
    bind: Option<&'a Arc<Bind>>,
    origin: &Origin,
    host: &str,
) -> Result<&'a Arc<Listener>, (StatusCode, &'static str)> {
    const NONE: (StatusCode, &str) = (StatusCode::NOT_FOUND, "no listener matches the host");
    const OTHER: (StatusCode, &str) = (StatusCode::MISDIRECTED_REQUEST, "the host is that of another listener");
    const CHANGED: (StatusCode, &str) = (StatusCode::MISDIRECTED_REQUEST, "the connection was made under other terms");
    match (bind.map(|bind| &bind.listeners), &origin.secure) {
        (Some(Listeners::Http(all)), None) => all.matching(host).next().ok_or(NONE),
        (Some(Listeners::Tls(all)), Some(secure)) => match all.matching(host).next() {
            None => Err(NONE),
            Some(TlsListener::Https(listener)) if listener.key == secure.listener => match &listener.tls {
                Some(Ok(now)) if Arc::ptr_eq(now, &secure.server) => Ok(listener),
                Some(Ok(now)) if now.accepts_connections_of(&secure.server) => Ok(listener),
                _ => Err(CHANGED),
            },
            Some(_) => Err(OTHER),
        },
        (None, _) => Err(NONE),
        (Some(_), _) => Err(CHANGED),
    }
}

fn find_route(listener: &Listener, host: &str, head: &Parts) -> Option<Arc<Route>> {
    let uri = &head.uri;
    listener.router.find(host, uri.path(), uri.query(), &head.method, &head.headers).map(Arc::clone)
}

/// Walks one chain, and notes it for the way back.
#[allow(clippy::result_large_err, reason = "moved once, to the caller")]
pub(crate) async fn pass(
    chain: &Arc<Chain>,
    head: &mut Parts,
    context: &mut RequestContext,
    passed: &mut Passed,
    reach: &mut Reach<'_>,
) -> Result<(), Reply> {
    if chain.is_empty() {
        return Ok(());
    }
    passed.push(Arc::clone(chain));
    if !chain.has_steps() {
        return Ok(());
    }
    // Boxed: only requests with policies pay for its size.
    Box::pin(chain.on_request(head, context, reach)).await
}

/// A policy's answer.
pub(crate) fn replied(answer: Reply, record: &mut Record) -> Response<Body> {
    record.because(answer.reason.to_string());
    answer.response.map(Body::from)
}

/// A policy's answer, on its way back through the policies before it.
async fn answered(answer: Reply, record: &mut Record, passed: &Passed, context: &mut RequestContext) -> Response<Body> {
    back(replied(context.refusal_of_body().unwrap_or(answer), record), passed, context).await
}

/// A response's way back through the policies that its request has passed.
async fn back(response: Response<Body>, passed: &Passed, context: &mut RequestContext) -> Response<Body> {
    let mut response = response;
    for chain in passed.iter().rev() {
        response = if chain.reads_responses() {
            // Boxed: only responses that are read pay for its size.
            Box::pin(chain.on_response_with_body(response, context)).await
        } else {
            let (mut head, body) = response.into_parts();
            chain.on_response(&mut head, context);
            Response::from_parts(head, body)
        };
    }
    response
}

pub(crate) fn failed(error: &Error, record: &mut Record) -> Response<Body> {
    tracing::debug!(%error, blame = ?error.blame(), "request failed");
    record.because(error.reason());
    if record.telemetry.is_on() {
        record.telemetry.set("error", error.to_string());
    }
    reply::for_status(error.status())
}

/// The host of a request, lower case, without port and trailing dot.
pub(crate) fn request_host(head: &Parts) -> Result<Cow<'_, str>, &'static str> {
    let authority = match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => {
            let mut hosts = head.headers.get_all(header::HOST).iter();
            match (hosts.next(), hosts.next(), head.version) {
                (Some(host), None, _) => host.to_str().map_err(|_| "Host is not valid")?,
                (None, None, Version::HTTP_10) => "",
                (None, ..) => return Err("Host is missing"),
                (Some(_), Some(_), _) => return Err("Host is there twice"),
            }
        }
    };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    if host.contains(['@', '/', '\\', ' ']) {
        return Err("Host is not valid");
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Ok(Cow::Owned(host.to_ascii_lowercase()))
    } else {
        Ok(Cow::Borrowed(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(request: http::request::Builder) -> Result<String, &'static str> {
        let (parts, ()) = request.body(()).expect("request").into_parts();
        request_host(&parts).map(Cow::into_owned)
    }

    #[test]
    fn host_is_normalised() {
        assert_eq!(host(Request::get("/").header("host", "A.Example.COM:80")), Ok("a.example.com".into()));
        assert_eq!(host(Request::get("/").header("host", "a.example.")), Ok("a.example".into()));
        assert_eq!(host(Request::get("/").header("host", "[::1]:80")), Ok("[::1]".into()));
        assert_eq!(host(Request::get("http://b:1/").header("host", "a")), Ok("b".into()));
    }

    #[test]
    fn ambiguous_hosts_are_refused() {
        assert!(host(Request::get("/")).is_err());
        assert!(host(Request::get("/").header("host", "a").header("host", "b")).is_err());
        assert!(host(Request::get("/").header("host", "a@b")).is_err());
        assert_eq!(host(Request::get("/").version(Version::HTTP_10)), Ok(String::new()));
    }
}
