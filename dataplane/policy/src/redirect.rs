//! Request redirect, by the rules of Gateway API's HTTPRequestRedirectFilter.

use std::fmt::Write as _;

use agentgateway_proto::v1;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};

use crate::context::host;
use crate::path::{PathModifier, with_query};
use crate::{Reason, Reply, RequestContext};

/// A compiled redirect.
#[derive(Debug)]
pub(crate) struct RequestRedirect {
    scheme: Option<Box<str>>,
    hostname: Option<Box<str>>,
    port: Option<u16>,
    path: Option<PathModifier>,
    status: StatusCode,
}

impl RequestRedirect {
    pub(crate) fn compile(spec: &v1::RequestRedirect) -> Result<RequestRedirect, String> {
        if !matches!(spec.scheme.as_str(), "" | "http" | "https") {
            return Err(format!("scheme {:?} is neither http nor https", spec.scheme));
        }
        if !spec.hostname.is_empty() && spec.hostname.parse::<http::uri::Authority>().is_err() {
            return Err(format!("{:?} is not a host name", spec.hostname));
        }
        let status = match spec.status_code {
            0 => StatusCode::FOUND,
            code @ (301 | 302 | 303 | 307 | 308) => {
                u16::try_from(code).ok().and_then(|c| StatusCode::from_u16(c).ok()).unwrap_or(StatusCode::FOUND)
            }
            code => return Err(format!("status code {code} is not one of a redirect")),
        };
        let text = |s: &str| (!s.is_empty()).then(|| Box::from(s));
        Ok(RequestRedirect {
            scheme: text(&spec.scheme),
            hostname: text(&spec.hostname),
            port: match u16::try_from(spec.port) {
                Ok(0) => None,
                Ok(port) => Some(port),
                Err(_) => return Err(format!("{} is not a port", spec.port)),
            },
            path: spec.path.as_ref().map(PathModifier::compile).transpose()?,
            status,
        })
    }

    /// The redirect that answers the request.
    pub(crate) fn reply(&self, head: &Parts, context: &RequestContext) -> Reply {
        let path = match &self.path {
            Some(modifier) => modifier.apply(head.uri.path(), context.matched_prefix.as_deref()),
            None => Some(head.uri.path().to_owned()),
        };
        let location = path.and_then(|path| {
            let mut location = format!("{}://{}", self.scheme(context), self.hostname.as_deref().unwrap_or(host(head)));
            if let Some(port) = self.port(context) {
                write!(location, ":{port}").ok()?;
            }
            location.push_str(&with_query(path, head.uri.query()));
            HeaderValue::try_from(location).ok()
        });
        match location {
            Some(location) => {
                let mut reply = Reply::new(self.status, "", Reason::Redirect);
                reply.response.headers_mut().insert(header::LOCATION, location);
                reply
            }
            None => Reply::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the request cannot be redirected",
                Reason::NotRewritten("a prefix is to be replaced, but the route did not match by one"),
            ),
        }
    }

    fn scheme<'a>(&'a self, context: &'a RequestContext) -> &'a str {
        self.scheme.as_deref().unwrap_or(context.scheme)
    }

    /// The port to write: the configured one, else the well-known one of a configured scheme, else the listener's; none
    /// where it is the well-known port of the location's scheme.
    fn port(&self, context: &RequestContext) -> Option<u16> {
        let well_known = if self.scheme(context) == "https" { 443 } else { 80 };
        let port = self.port.unwrap_or(if self.scheme.is_some() { well_known } else { context.listener_port });
        (port != well_known).then_some(port)
    }
}

#[cfg(test)]
mod tests {
    use agentgateway_proto::v1::path_modifier::Kind;

    use super::*;
    use crate::testing::{context, request};

    fn location(spec: &v1::RequestRedirect, scheme: &'static str, listener_port: u16) -> String {
        let mut context = context();
        (context.scheme, context.listener_port) = (scheme, listener_port);
        context.matched_prefix = Some("/api".into());
        let head = request("GET", "/api/x?q=1", &[("host", "a.example:8080")]);
        let reply = RequestRedirect::compile(spec).expect("compiles").reply(&head, &context);
        reply.response.headers()[header::LOCATION].to_str().expect("text").to_owned()
    }

    #[test]
    fn the_port_follows_the_specification() {
        let spec = |scheme: &str, port| v1::RequestRedirect { scheme: scheme.into(), port, ..Default::default() };
        for (scheme, port, listener_scheme, listener_port, expected) in [
            ("", 0, "http", 80, "http://a.example/api/x?q=1"),
            ("", 0, "http", 8080, "http://a.example:8080/api/x?q=1"),
            ("", 0, "https", 443, "https://a.example/api/x?q=1"),
            ("https", 0, "http", 8080, "https://a.example/api/x?q=1"),
            ("http", 0, "https", 443, "http://a.example/api/x?q=1"),
            ("https", 443, "http", 80, "https://a.example/api/x?q=1"),
            ("https", 8443, "http", 80, "https://a.example:8443/api/x?q=1"),
            ("", 80, "http", 8080, "http://a.example/api/x?q=1"),
            ("", 443, "http", 80, "http://a.example:443/api/x?q=1"),
        ] {
            assert_eq!(location(&spec(scheme, port), listener_scheme, listener_port), expected);
        }
    }

    #[test]
    fn host_path_and_status_are_replaced() {
        let path = |kind| Some(v1::PathModifier { kind: Some(kind) });
        let spec = v1::RequestRedirect {
            hostname: "b.example".into(),
            path: path(Kind::ReplacePrefix("/v2".into())),
            status_code: 308,
            ..Default::default()
        };
        assert_eq!(location(&spec, "http", 80), "http://b.example/v2/x?q=1");
        assert_eq!(RequestRedirect::compile(&spec).expect("compiles").status, 308);
        let spec = v1::RequestRedirect { path: path(Kind::ReplaceFull("/f".into())), ..Default::default() };
        assert_eq!(location(&spec, "http", 80), "http://a.example/f?q=1");
        assert_eq!(RequestRedirect::compile(&spec).expect("compiles").status, 302);
    }

    #[test]
    fn refuses_what_is_no_redirect() {
        for spec in [
            v1::RequestRedirect { scheme: "ftp".into(), ..Default::default() },
            v1::RequestRedirect { status_code: 200, ..Default::default() },
            v1::RequestRedirect { port: 70000, ..Default::default() },
            v1::RequestRedirect { hostname: "a b".into(), ..Default::default() },
        ] {
            assert!(RequestRedirect::compile(&spec).is_err(), "{spec:?}");
        }
    }
}
