//! Sends a request to a plain HTTP backend.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use agentgateway_upstream::balancer::Permit;
use agentgateway_upstream::{Body, Cluster, Picked, Refused};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;

use crate::Error;
use crate::authentication::{Authentication, Signature};
use crate::discard::{discard, is_held_back};
use crate::limits::MAX_CONNECT_TRIES;
use crate::protocol::BackendRequest;
use crate::upgrade::Upgrade;
use crate::worker::Worker;

/// Headers that concern one connection only (RFC 9110 §7.6.1), besides what `Connection` names.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::TE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// Sends the request, and gives the response with the endpoint that answered. `first` is the endpoint to begin with; any
/// when it is None, by the request's hash where the backend's policy hashes.
pub(crate) async fn forward(
    worker: &Worker,
    cluster: &Arc<Cluster>,
    outgoing: Outgoing<'_>,
    (mut first, hash): (Option<Picked>, Option<u64>),
    endpoint: &mut Option<SocketAddr>,
) -> Result<Response<Body>, Error> {
    let mut request = outgoing.into_request(worker, cluster);
    let mut tries = 1;
    let mut _retry: Option<Permit> = None;
    loop {
        let picked = match first.take() {
            Some(picked) => picked,
            None => worker.upstream.pick_hashed(cluster, hash).await?,
        };
        *endpoint = Some(picked.endpoint().address());
        match worker.upstream.try_send(&picked, request).await {
            Ok(response) => return Ok(received(response)),
            Err(failed) => match failed.unsent {
                // No byte left the gateway, so the method does not matter.
                Some(unsent) if tries < MAX_CONNECT_TRIES && failed.error.retry_safe => match cluster.retry() {
                    Ok(permit) => {
                        tries += 1;
                        worker.metrics.retries.fetch_add(1, Ordering::Relaxed);
                        (_retry, request) = (permit, *unsent);
                    }
                    Err(Refused) => return Err(given_up(failed.error, Some(unsent))),
                },
                unsent => return Err(given_up(failed.error, unsent)),
            },
        }
    }
}

/// The error; what the client still sends of its request is read.
fn given_up(error: agentgateway_upstream::Error, unsent: Option<Box<Request<Body>>>) -> Error {
    let body = unsent.filter(|u| !is_held_back(u.headers())).map(|u| u.into_body());
    if let Some(body @ Body::Incoming(_)) = body {
        discard(body);
    }
    error.into()
}

/// Sends a protocol's request to the first of these endpoints that takes it, as that of a plain backend is sent.
///
/// # Errors
/// None took it, or the one that did gave no answer; `no_endpoints` where there is none.
pub async fn to_chosen(
    worker: &Worker,
    cluster: &Arc<Cluster>,
    request: BackendRequest,
    chosen: impl Iterator<Item = Picked>,
) -> Result<(Response<Body>, Picked), Error> {
    let BackendRequest { mut head, mut body, context, policies, tries } = request;
    let signature = match Authentication::of(policies.iter()) {
        Some(authentication) => authentication.apply(&mut head, &mut body, &context).await?,
        None => None,
    };
    let takes_host_of_backend = context.takes_host_of_backend && !context.has_own_host;
    let outgoing = Outgoing { head, body, upgrade: None, signature, takes_host_of_backend };
    let mut request = outgoing.into_request(worker, cluster);
    let mut failure: Option<agentgateway_upstream::Error> = None;
    for picked in chosen {
        tries.borrow_mut().tried.push(Arc::clone(picked.endpoint()));
        if failure.is_some() {
            worker.metrics.retries.fetch_add(1, Ordering::Relaxed);
        }
        match worker.upstream.try_send(&picked, request).await {
            Ok(response) => return Ok((received(response), picked)),
            Err(failed) => match failed.unsent {
                // No byte left the gateway, so the method does not matter.
                Some(unsent) if failed.error.retry_safe => (request, failure) = (*unsent, Some(failed.error)),
                unsent => return Err(given_up(failed.error, unsent)),
            },
        }
    }
    let none = || {
        let message = format!("backend {} has no endpoint that can be chosen", cluster.authority());
        agentgateway_upstream::Error::new(agentgateway_upstream::Kind::NoEndpoints, message)
    };
    Err(given_up(failure.unwrap_or_else(none), Some(Box::new(request))))
}

/// Sends the request to one endpoint, once.
pub(crate) async fn once(
    worker: &Worker,
    cluster: &Arc<Cluster>,
    outgoing: Outgoing<'_>,
    picked: &Picked,
) -> Result<Response<Body>, Error> {
    let request = outgoing.into_request(worker, cluster);
    worker.upstream.send(picked, request).await.map(received).map_err(Error::from)
}

/// A client's request, and what it wants its connection to become.
pub(crate) struct Outgoing<'a> {
    pub(crate) head: Parts,
    pub(crate) body: Body,
    pub(crate) upgrade: Option<&'a Upgrade>,
    /// Of the head as it is sent.
    pub(crate) signature: Option<Signature>,
    /// Whether the backend's own name takes the place of the host that the client named.
    pub(crate) takes_host_of_backend: bool,
}

impl Outgoing<'_> {
    fn into_request(self, worker: &Worker, cluster: &Cluster) -> Request<Body> {
        let Outgoing { mut head, body, upgrade, signature, takes_host_of_backend } = self;
        let version = head.version;
        prepare(&mut head);
        if takes_host_of_backend {
            head.headers.remove(header::HOST);
        }
        if let header::Entry::Vacant(host) = head.headers.entry(header::HOST)
            && let Ok(authority) = HeaderValue::from_str(cluster.authority().as_str())
        {
            // HTTP/1.0 may leave it out, and what the backend gets is HTTP/1.1 (RFC 9112 §3.2).
            host.insert(authority);
        }
        if let Some(upgrade) = upgrade {
            upgrade.ask(&mut head.headers, version, worker);
        }
        if let Some(signature) = signature {
            signature.put(&mut head);
        }
        Request::from_parts(head, if body.is_end_stream() { Body::Empty } else { body })
    }
}

fn received(mut response: Response<Body>) -> Response<Body> {
    // An answer that switches protocols names the one that the backend chose.
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        remove_hop_by_hop(response.headers_mut());
    }
    response
}

/// Turns a client's request head into the one for the backend.
fn prepare(head: &mut Parts) {
    remove_hop_by_hop(&mut head.headers);
    if let Some(authority) = head.uri.authority() {
        // HTTP/2, or the absolute form, which outranks Host (RFC 9112 §3.2.2).
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            head.headers.insert(header::HOST, host);
        }
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = head.uri.path_and_query().cloned().or(Some(http::uri::PathAndQuery::from_static("/")));
        if let Ok(origin_form) = http::Uri::from_parts(parts) {
            head.uri = origin_form;
        }
    }
    if head.version == Version::HTTP_2 && head.headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        join_cookies(&mut head.headers);
    }
    head.version = Version::HTTP_11;
}

/// HTTP/2 clients may split cookies over several lines; HTTP/1.1 servers read one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut joined = Vec::new();
    for cookie in headers.get_all(header::COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, value);
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // One pass over a handful of names is several times cheaper than looking each header up to find nothing.
    if !headers.keys().any(|name| *name == header::CONNECTION || HOP_BY_HOP.contains(name)) {
        return;
    }
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .filter_map(|name| name.trim().parse().ok())
            // What a request cannot be read without is not the sender's to take away.
            .filter(|name| ![header::HOST, header::CONTENT_LENGTH, header::AUTHORIZATION, header::TE].contains(name))
            .collect();
        headers.remove(header::CONNECTION);
        for name in named {
            headers.remove(name);
        }
    }
    let trailers = headers.get(header::TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in &HOP_BY_HOP {
        // Whoever asks for trailers gets them: gRPC needs it.
        if !(trailers && *name == header::TE) {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(request: http::request::Builder) -> Parts {
        let (mut parts, ()) = request.body(()).expect("request").into_parts();
        prepare(&mut parts);
        parts
    }

    #[test]
    fn hop_by_hop_headers_and_what_connection_names_are_removed() {
        let parts = head(
            Request::get("/")
                .header("connection", "close, X-Private, authorization")
                .header("x-private", "1")
                .header("authorization", "Bearer t")
                .header("keep-alive", "timeout=5")
                .header("te", "trailers")
                .header("x-kept", "1"),
        );
        assert!(parts.headers.get("connection").is_none() && parts.headers.get("x-private").is_none());
        assert!(parts.headers.get("keep-alive").is_none());
        assert!(parts.headers.get("authorization").is_some(), "Connection cannot take authentication away");
        assert_eq!(parts.headers["te"], "trailers");
        assert_eq!(parts.headers["x-kept"], "1");
    }

    #[test]
    fn absolute_form_becomes_origin_form_with_its_host() {
        let parts = head(Request::get("http://a.example:81/x?y").header("host", "b.example"));
        assert_eq!(parts.uri, "/x?y");
        assert_eq!(parts.headers["host"], "a.example:81");
    }

    #[test]
    fn split_cookies_are_joined() {
        let parts =
            head(Request::get("http://h/").version(Version::HTTP_2).header("cookie", "a=1").header("cookie", "b=2"));
        assert_eq!(parts.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        assert_eq!(parts.version, Version::HTTP_11);
    }
}
