//! What policies learn of a request and leave for those after them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use agentgateway_expression::{ClientCertificate, HttpInput, ResponseInput};
use agentgateway_telemetry::RequestTelemetry;
use agentgateway_tls::Identity;
use http::request::Parts;
use http::{HeaderValue, Method, header, response};
use serde_json::{Map, Value};

use crate::Reply;
use crate::concurrency::Permits;
use crate::credentials::Credentials;
use crate::ext_authz::ResponseChange;
use crate::ext_proc::Call;
use crate::rate_limit::Quota;
use crate::request_limits::body_too_large;

/// State of one request, from the first policy to the last.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The client.
    pub source: SocketAddr,
    /// "http" or "https", as the client connected.
    pub scheme: &'static str,
    /// Who the client is by its certificate; None without one that was verified.
    pub identity: Option<Arc<Identity>>,
    /// The port of the listener, for redirects that keep it.
    pub listener_port: u16,
    /// Claims of the verified token.
    pub claims: Option<Arc<Value>>,
    /// Of whom the verified API key is: its name and metadata.
    pub api_key: Option<Arc<Value>>,
    /// Whose the verified password is.
    pub basic_auth: Option<Arc<Value>>,
    /// What policies left for those after them, and for logs: an object. None: nothing.
    pub metadata: Option<Arc<Value>>,
    /// What was taken off the request once it was verified; a passthrough puts it back.
    pub credentials: Credentials,
    /// The prefix by which the route matched, for rewrites that replace it.
    pub matched_prefix: Option<Arc<str>>,
    /// Whether a policy asked for the host name of the backend as the request's.
    pub takes_host_of_backend: bool,
    /// Whether a rewrite named a host, which outranks that.
    pub has_own_host: bool,
    /// What is recorded of the request besides what every request has; may be filled until the last byte of the response.
    pub telemetry: RequestTelemetry,
    /// The request as it came, where something asks about it when the response is there.
    pub(crate) request: Option<Remembered>,
    /// The `Origin` of a cross-origin request, for the response.
    pub(crate) origin: Option<HeaderValue>,
    /// What external authorization wants in the response.
    pub(crate) response_changes: Vec<ResponseChange>,
    /// What is left of the rate limit that has the least left, where responses say so.
    pub(crate) quota: Option<Quota>,
    /// What it holds of concurrency limits.
    pub(crate) permits: Permits,
    /// Whether its body is larger than a policy allows; None where its length is known, or not limited.
    pub(crate) overflow: Option<Arc<AtomicBool>>,
    /// Calls of processors that look at the request, and may look at its response.
    pub(crate) processing: Vec<Call>,
    /// Whether a CORS policy answered a preflight request, which later ones then leave as it is.
    pub(crate) preflight: bool,
}

impl RequestContext {
    /// The context of a request that has met no policy yet.
    pub fn new(source: SocketAddr, scheme: &'static str, listener_port: u16) -> Self {
        RequestContext {
            source,
            scheme,
            identity: None,
            listener_port,
            claims: None,
            api_key: None,
            basic_auth: None,
            metadata: None,
            credentials: Credentials::default(),
            matched_prefix: None,
            takes_host_of_backend: false,
            has_own_host: false,
            telemetry: RequestTelemetry::off(),
            request: None,
            origin: None,
            response_changes: Vec::new(),
            quota: None,
            permits: Permits::default(),
            overflow: None,
            processing: Vec::new(),
            preflight: false,
        }
    }

    /// What the request holds of concurrency limits, to be kept until its response has been sent.
    pub fn take_permits(&mut self) -> Permits {
        std::mem::take(&mut self.permits)
    }

    /// The answer to a request whose body was refused while it was read: it turned out too large, or a processor stopped it.
    pub fn refusal_of_body(&self) -> Option<Reply> {
        if self.overflow.as_ref().is_some_and(|overflow| overflow.load(Ordering::Relaxed)) {
            return Some(body_too_large());
        }
        self.processing.iter().find_map(Call::refusal)
    }

    /// As [`RequestContext::leave`], one by one; None takes away what is there.
    pub(crate) fn leave_each(&mut self, left: Vec<(String, Option<Value>)>) {
        for (name, value) in left {
            match (value, &mut self.metadata) {
                (Some(value), _) => self.leave(Map::from_iter([(name, value)])),
                (None, Some(all)) => drop(Arc::make_mut(all).as_object_mut().and_then(|all| all.remove(&name))),
                (None, None) => {}
            }
        }
    }

    /// Leaves something for policies after this one; what has the same name is replaced.
    pub(crate) fn leave(&mut self, left: Map<String, Value>) {
        if left.is_empty() {
            return;
        }
        match Arc::make_mut(self.metadata.get_or_insert_with(|| Arc::new(Value::Object(Map::new())))) {
            Value::Object(all) => all.extend(left),
            other => *other = Value::Object(left),
        }
    }

    /// The request as rules see it.
    pub fn input<'a>(&'a self, head: &'a Parts) -> HttpInput<'a> {
        let known = [&self.claims, &self.api_key, &self.basic_auth, &self.metadata].map(Option::as_deref);
        input(head, self.source, self.scheme, self.identity.as_deref(), known)
    }

    /// What expressions see of the request, for another thread.
    pub(crate) fn seen(&self, head: &Parts) -> Seen {
        Seen {
            head: Remembered::of(head),
            source: self.source,
            scheme: self.scheme,
            identity: self.identity.clone(),
            known: [self.claims.clone(), self.api_key.clone(), self.basic_auth.clone(), self.metadata.clone()],
        }
    }

    /// The same of the request as it came, for its response.
    pub(crate) fn seen_before(&self) -> Seen {
        self.seen(self.remembered())
    }

    /// A response, and the request as it came, as expressions see them.
    pub(crate) fn response_input<'a>(&'a self, head: &'a response::Parts) -> HttpInput<'a> {
        with_response(self.input(self.remembered()), head)
    }

    /// Of the request as it came.
    pub(crate) fn method(&self) -> &Method {
        &self.remembered().method
    }

    fn remembered(&self) -> &Parts {
        // Whatever looks back has seen to it that there is one.
        static NONE: LazyLock<Parts> = LazyLock::new(|| http::Request::new(()).into_parts().0);
        self.request.as_ref().map_or_else(|| &*NONE, Remembered::head)
    }
}

/// The head of a request, without what the connection has to do with it.
#[derive(Clone)]
pub(crate) struct Remembered(Arc<Parts>);

impl Remembered {
    pub(crate) fn of(head: &Parts) -> Remembered {
        let mut copy = http::Request::new(()).into_parts().0;
        (copy.method, copy.uri, copy.version) = (head.method.clone(), head.uri.clone(), head.version);
        copy.headers = head.headers.clone();
        Remembered(Arc::new(copy))
    }

    pub(crate) fn head(&self) -> &Parts {
        &self.0
    }
}

impl std::fmt::Debug for Remembered {
    /// Without values of headers, which may be credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0.method, self.0.uri.path())
    }
}

/// A request as expressions see it.
#[derive(Debug)]
pub(crate) struct Seen {
    head: Remembered,
    source: SocketAddr,
    scheme: &'static str,
    identity: Option<Arc<Identity>>,
    /// Token, API key, password and metadata.
    known: [Option<Arc<Value>>; 4],
}

impl Seen {
    pub(crate) fn input(&self) -> HttpInput<'_> {
        let known = self.known.each_ref().map(Option::as_deref);
        input(self.head.head(), self.source, self.scheme, self.identity.as_deref(), known)
    }

    pub(crate) fn response_input<'a>(&'a self, head: &'a response::Parts) -> HttpInput<'a> {
        with_response(self.input(), head)
    }
}

fn input<'a>(
    head: &'a Parts,
    source: SocketAddr,
    scheme: &'a str,
    identity: Option<&'a Identity>,
    [claims, api_key, basic_auth, metadata]: [Option<&'a Value>; 4],
) -> HttpInput<'a> {
    HttpInput {
        method: &head.method,
        uri: &head.uri,
        scheme,
        host: host(head),
        headers: &head.headers,
        claims,
        api_key,
        basic_auth,
        metadata,
        source,
        certificate: identity.map(|identity| ClientCertificate {
            spiffe: identity.spiffe.as_deref(),
            subject: &identity.subject,
            names: &identity.names,
        }),
        body: None,
        response: None,
    }
}

fn with_response<'a>(request: HttpInput<'a>, head: &'a response::Parts) -> HttpInput<'a> {
    let response = Some(ResponseInput { status: head.status, headers: &head.headers });
    HttpInput { response, ..request }
}

/// Host and port that the request names: of its URI (HTTP/2, or the absolute form), else of `Host`.
pub(crate) fn authority(head: &Parts) -> &str {
    match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default(),
    }
}

/// The host that the request names, without its port: of its URI (HTTP/2, or the absolute form), else of `Host`.
pub(crate) fn host(head: &Parts) -> &str {
    let host = match head.uri.host() {
        Some(host) => return host,
        None => head.headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default(),
    };
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_comes_from_the_uri_or_the_header_without_port() {
        for (uri, header, expected) in [
            ("/", "a.example:8080", "a.example"),
            ("/", "a.example", "a.example"),
            ("/", "[::1]:80", "[::1]"),
            ("/", "[::1]", "[::1]"),
            ("http://b.example:1/x", "a.example", "b.example"),
            ("/", "", ""),
        ] {
            let (head, ()) = http::Request::builder()
                .uri(uri)
                .header(header::HOST, header)
                .body(())
                .expect("a request")
                .into_parts();
            assert_eq!(host(&head), expected, "{uri} {header}");
        }
    }
}
