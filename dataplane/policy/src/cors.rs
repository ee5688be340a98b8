//! Cross-origin resource sharing (the CORS protocol of the Fetch standard; fields of Gateway API's HTTPCORSFilter).
//!
//! Preflight requests are answered here, those of origins that are not allowed without the headers that a browser needs. On
//! other responses these headers are the policy's and never the backend's, so a backend cannot allow more.

use agentgateway_proto::v1;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, request};

use crate::{Reason, Reply, RequestContext};

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct Cors {
    any_origin: bool,
    origins: Box<[Origin]>,
    credentials: bool,
    methods: Option<Names>,
    headers: Option<Names>,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
}

/// A list of names as a header, or all of them.
#[derive(Debug)]
enum Names {
    All,
    Listed(HeaderValue),
}

/// An allowed origin: scheme, host and port, each of which may be any.
#[derive(Debug)]
enum Origin {
    Exact(Box<str>),
    Pattern { scheme: Box<str>, host: Host, port: Port },
}

#[derive(Debug)]
enum Host {
    Any,
    Exact(Box<str>),
    /// Whatever comes before ".example.com": one label or more.
    Below(Box<str>),
}

#[derive(Debug)]
enum Port {
    Any,
    Exact(Option<Box<str>>),
}

impl Origin {
    fn compile(text: &str) -> Result<Origin, String> {
        let wrong = || format!("{text:?} is not an origin such as https://example.com or https://*.example.com");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (host, port) = split_port(rest);
        if scheme.is_empty() || host.is_empty() || rest.contains('/') {
            return Err(wrong());
        }
        if !text.contains('*') {
            return Ok(Origin::Exact(text.to_ascii_lowercase().into()));
        }
        let host = host.to_ascii_lowercase();
        let host = match host.strip_prefix('*') {
            Some("") => Host::Any,
            Some(suffix) if suffix.starts_with('.') && suffix.len() > 1 && !suffix.contains('*') => {
                Host::Below(suffix.into())
            }
            None if !host.contains('*') => Host::Exact(host.into()),
            _ => return Err(wrong()),
        };
        let port = if port == Some("*") { Port::Any } else { Port::Exact(port.map(Box::from)) };
        Ok(Origin::Pattern { scheme: scheme.to_ascii_lowercase().into(), host, port })
    }

    /// Scheme and host of an `Origin` header are in lower case already, as the URL standard serialises them.
    fn allows(&self, origin: &str) -> bool {
        match self {
            Origin::Exact(allowed) => **allowed == *origin,
            Origin::Pattern { scheme, host, port } => {
                let Some((s, rest)) = origin.split_once("://") else { return false };
                let (h, p) = split_port(rest);
                let host = match host {
                    Host::Any => true,
                    Host::Exact(name) => **name == *h,
                    Host::Below(suffix) => h.strip_suffix(&**suffix).is_some_and(|labels| !labels.is_empty()),
                };
                let port = match port {
                    Port::Any => true,
                    Port::Exact(port) => port.as_deref() == p,
                };
                **scheme == *s && host && port
            }
        }
    }
}

/// Host and port; the colons of an IPv6 address are in brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

impl Cors {
    pub(crate) fn compile(spec: &v1::Cors) -> Result<Cors, String> {
        let list = |field: &str, names: &[String]| -> Result<Option<Names>, String> {
            if names.iter().any(|n| n == "*") {
                return Ok(Some(Names::All));
            }
            if names.is_empty() {
                return Ok(None);
            }
            let value = HeaderValue::from_str(&names.join(", "));
            Ok(Some(Names::Listed(value.map_err(|_| format!("{field} holds what cannot stand in a header"))?)))
        };
        // The wildcard means nothing to a browser that sends credentials: then the headers must be listed.
        let expose = match list("exposeHeaders", &spec.expose_headers)? {
            Some(Names::All) => Some(HeaderValue::from_static("*")),
            Some(Names::Listed(names)) => Some(names),
            None => None,
        };
        let origins = spec.allow_origins.iter().filter(|o| *o != "*");
        Ok(Cors {
            any_origin: spec.allow_origins.iter().any(|o| o == "*"),
            origins: origins.map(|o| Origin::compile(o)).collect::<Result<_, _>>()?,
            credentials: spec.allow_credentials,
            methods: list("allowMethods", &spec.allow_methods)?,
            headers: list("allowHeaders", &spec.allow_headers)?,
            expose,
            max_age: (spec.max_age_seconds > 0).then(|| HeaderValue::from(spec.max_age_seconds)),
        })
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.any_origin || origin.to_str().is_ok_and(|origin| self.origins.iter().any(|o| o.allows(origin)))
    }

    /// Answers a preflight request, and keeps the origin of another for its response.
    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) fn on_request(&self, head: &request::Parts, context: &mut RequestContext) -> Result<(), Reply> {
        let Some(origin) = head.headers.get(ORIGIN) else { return Ok(()) };
        if context.origin.is_none() {
            context.origin = Some(origin.clone());
        }
        if head.method != Method::OPTIONS || !head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return Ok(());
        }
        context.preflight = true;
        let mut reply = Reply::new(StatusCode::NO_CONTENT, "", Reason::Preflight);
        let answer = reply.response.headers_mut();
        if self.allows(origin) {
            let mut names = |header: HeaderName, names: Option<&Names>, asked: HeaderName| {
                let value = match names {
                    Some(Names::Listed(names)) => Some(names.clone()),
                    // With credentials a browser takes "*" for a name.
                    Some(Names::All) if self.credentials => head.headers.get(asked).cloned(),
                    Some(Names::All) => Some(HeaderValue::from_static("*")),
                    None => None,
                };
                if let Some(value) = value {
                    answer.insert(header, value);
                }
            };
            names(ACCESS_CONTROL_ALLOW_METHODS, self.methods.as_ref(), ACCESS_CONTROL_REQUEST_METHOD);
            names(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.as_ref(), ACCESS_CONTROL_REQUEST_HEADERS);
            if let Some(seconds) = &self.max_age {
                answer.insert(ACCESS_CONTROL_MAX_AGE, seconds.clone());
            }
            // Browsers heed it in the response proper; Gateway API wants it in both.
            if let Some(names) = &self.expose {
                answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
            }
            self.allow(answer, origin);
        }
        let vary = HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
        answer.insert(VARY, vary);
        Err(reply)
    }

    /// The headers that let a browser's script read the response.
    pub(crate) fn on_response(&self, headers: &mut HeaderMap, context: &RequestContext) {
        if context.preflight {
            return;
        }
        for name in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS] {
            headers.remove(name);
        }
        if let Some(origin) = context.origin.as_ref().filter(|origin| self.allows(origin)) {
            self.allow(headers, origin);
            if let Some(names) = &self.expose {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
            }
        }
        let varies = |value: &HeaderValue| {
            value
                .to_str()
                .is_ok_and(|v| v.split(',').any(|v| v.trim() == "*" || v.trim().eq_ignore_ascii_case("origin")))
        };
        if !self.answers_all_alike() && !headers.get_all(VARY).iter().any(varies) {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
    }

    fn allow(&self, headers: &mut HeaderMap, origin: &HeaderValue) {
        let origin = if self.answers_all_alike() { HeaderValue::from_static("*") } else { origin.clone() };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// "*" may not be answered where credentials are allowed.
    fn answers_all_alike(&self) -> bool {
        self.any_origin && !self.credentials
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, request};

    fn spec(origins: &[&str]) -> v1::Cors {
        v1::Cors {
            allow_origins: origins.iter().map(ToString::to_string).collect(),
            allow_methods: vec!["GET".into(), "PUT".into()],
            allow_headers: vec!["x-a".into()],
            expose_headers: vec!["x-b".into()],
            max_age_seconds: 60,
            allow_credentials: false,
        }
    }

    fn preflight(spec: &v1::Cors, origin: &str) -> HeaderMap {
        let head = request(
            "OPTIONS",
            "/",
            &[("origin", origin), ("access-control-request-method", "PUT"), ("access-control-request-headers", "x-q")],
        );
        let reply = Cors::compile(spec).expect("compiles").on_request(&head, &mut context()).expect_err("is answered");
        assert_eq!((reply.response.status(), reply.reason), (StatusCode::NO_CONTENT, Reason::Preflight));
        reply.response.headers().clone()
    }

    fn simple(spec: &v1::Cors, origin: Option<&str>, backend: &[(HeaderName, &'static str)]) -> HeaderMap {
        let policy = Cors::compile(spec).expect("compiles");
        let mut context = context();
        let headers: Vec<(&str, &str)> = origin.iter().map(|o| ("origin", *o)).collect();
        policy.on_request(&request("GET", "/", &headers), &mut context).expect("goes on");
        let mut response = HeaderMap::new();
        for (name, value) in backend {
            response.append(name, HeaderValue::from_static(value));
        }
        policy.on_response(&mut response, &context);
        response
    }

    #[test]
    fn answers_a_preflight_of_an_allowed_origin() {
        let headers = preflight(&spec(&["https://a.example"]), "https://a.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "GET, PUT");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "x-a");
        assert_eq!(headers[ACCESS_CONTROL_MAX_AGE], "60");
        assert_eq!(headers[ACCESS_CONTROL_EXPOSE_HEADERS], "x-b");
        assert_eq!(headers[VARY], "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }

    #[test]
    fn answers_a_preflight_of_another_origin_without_permission() {
        let headers = preflight(&spec(&["https://a.example"]), "https://b.example");
        assert_eq!(headers.keys().collect::<Vec<_>>(), [VARY]);
    }

    #[test]
    fn wildcards_become_names_where_credentials_are_allowed() {
        let all = v1::Cors {
            allow_origins: vec!["*".into()],
            allow_methods: vec!["*".into()],
            allow_headers: vec!["*".into()],
            ..Default::default()
        };
        let headers = preflight(&all, "https://b.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "*");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "*");
        let headers = preflight(&v1::Cors { allow_credentials: true, ..all }, "https://b.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://b.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "PUT");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "x-q");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    }

    #[test]
    fn options_without_the_preflight_header_is_a_request_like_any_other() {
        let policy = Cors::compile(&spec(&["*"])).expect("compiles");
        assert!(
            policy.on_request(&request("OPTIONS", "/", &[("origin", "https://a.example")]), &mut context()).is_ok()
        );
        assert!(
            policy
                .on_request(&request("OPTIONS", "/", &[("access-control-request-method", "PUT")]), &mut context())
                .is_ok()
        );
    }

    #[test]
    fn decorates_responses_and_overrides_the_backend() {
        let backend = [(ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (VARY, "Accept")];
        let headers = simple(&spec(&["https://a.example"]), Some("https://a.example"), &backend);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example");
        assert_eq!(headers[ACCESS_CONTROL_EXPOSE_HEADERS], "x-b");
        assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), ["Accept", "Origin"]);
        let headers = simple(&spec(&["https://a.example"]), Some("https://b.example"), &backend);
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        let headers = simple(&spec(&["https://a.example"]), None, &[]);
        assert_eq!(headers[VARY], "Origin", "a cache must not give a response without permission to those who have it");
        let headers = simple(&spec(&["*"]), Some("https://b.example"), &[]);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!headers.contains_key(VARY));
        let headers = simple(&spec(&["https://a.example"]), None, &[(VARY, "accept, ORIGIN")]);
        assert_eq!(headers.get_all(VARY).iter().count(), 1);
    }

    #[test]
    fn origins_match_exactly_or_by_one_wildcard() {
        for (allowed, origin, expected) in [
            ("https://a.example", "https://a.example", true),
            ("https://A.example", "https://a.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a.example", "https://a.example.evil", false),
            ("https://*.example.com", "https://x.example.com", true),
            ("https://*.example.com", "https://x.y.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://evilexample.com", false),
            ("https://*.example.com", "https://x.example.com:1", false),
            ("https://*.example.com:*", "https://x.example.com:1", true),
            ("https://*", "https://anything", true),
            ("https://*", "http://anything", false),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("https://*.example.com", "null", false),
        ] {
            let policy = Cors::compile(&spec(&[allowed])).expect("compiles");
            assert_eq!(policy.allows(&HeaderValue::from_static(origin)), expected, "{allowed} {origin}");
        }
    }

    #[test]
    fn refuses_what_is_no_origin() {
        for bad in
            ["a.example", "https://", "https://a.*.example", "https://a/b", "https://*a.example", "https://*.*.a"]
        {
            assert!(Cors::compile(&spec(&[bad])).is_err(), "{bad}");
        }
    }
}
