//! URL rewrite: the host name and the path under which a request goes to the backend.

use agentgateway_proto::v1;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};

use crate::path::{PathModifier, with_query};
use crate::{Reason, Reply, RequestContext, context};

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// A compiled rewrite.
#[derive(Debug)]
pub(crate) struct UrlRewrite {
    host: Option<Authority>,
    path: Option<PathModifier>,
}

impl UrlRewrite {
    pub(crate) fn compile(spec: &v1::UrlRewrite) -> Result<UrlRewrite, String> {
        let host = if spec.hostname.is_empty() {
            None
        } else {
            Some(spec.hostname.parse().map_err(|_| format!("{:?} is not a host name", spec.hostname))?)
        };
        Ok(UrlRewrite { host, path: spec.path.as_ref().map(PathModifier::compile).transpose()? })
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) fn on_request(&self, head: &mut Parts, context: &mut RequestContext) -> Result<(), Reply> {
        let fail = |why| {
            Reply::new(StatusCode::INTERNAL_SERVER_ERROR, "the request cannot be rewritten", Reason::NotRewritten(why))
        };
        if let Some(authority) = &self.host {
            set_host(head, context, authority).ok_or_else(|| fail("the new URL is not a URL"))?;
        }
        let path = match &self.path {
            Some(modifier) => Some(
                modifier
                    .apply(head.uri.path(), context.matched_prefix.as_deref())
                    .ok_or_else(|| fail("a prefix is to be replaced, but the route did not match by one"))?,
            ),
            None => None,
        };
        let Some(path) = path else { return Ok(()) };
        let mut parts = head.uri.clone().into_parts();
        let new = with_query(path, head.uri.query());
        let asked = context.asked.get_or_insert_default();
        asked.path = asked.path.take().or(parts.path_and_query.take());
        parts.path_and_query = Some(PathAndQuery::try_from(new).map_err(|_| fail("the new path is not a path"))?);
        head.uri = Uri::from_parts(parts).map_err(|_| fail("the new URL is not a URL"))?;
        Ok(())
    }
}

/// Makes the request one for another host; None where that cannot be written.
pub(crate) fn set_host(head: &mut Parts, context: &mut RequestContext, authority: &Authority) -> Option<()> {
    let host = HeaderValue::from_str(authority.as_str()).ok()?;
    // What the client asked for; it is lost otherwise.
    if let Ok(asked) = HeaderValue::from_str(context::authority(head)) {
        head.headers.insert(FORWARDED_HOST, asked.clone());
        context.asked.get_or_insert_default().authority.get_or_insert(asked);
    }
    head.headers.insert(header::HOST, host);
    context.has_own_host = true;
    if head.uri.authority().is_some() {
        let mut parts = head.uri.clone().into_parts();
        parts.authority = Some(authority.clone());
        head.uri = Uri::from_parts(parts).ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use agentgateway_proto::v1::path_modifier::Kind;

    use super::*;
    use crate::testing::{context, request};

    fn rewrite(hostname: &str, path: Option<Kind>, uri: &str, matched: Option<&str>) -> (String, String) {
        let spec = v1::UrlRewrite { hostname: hostname.into(), path: path.map(|k| v1::PathModifier { kind: Some(k) }) };
        let mut context = context();
        context.matched_prefix = matched.map(Into::into);
        let mut head = request("GET", uri, &[("host", "old.example:80")]);
        UrlRewrite::compile(&spec).expect("compiles").on_request(&mut head, &mut context).expect("is rewritten");
        (head.uri.to_string(), head.headers["host"].to_str().expect("text").to_owned())
    }

    #[test]
    fn replaces_host_and_path_and_keeps_the_query() {
        let prefix = || Some(Kind::ReplacePrefix("/new".into()));
        let full = || Some(Kind::ReplaceFull("/f".into()));
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(rewrite("", prefix(), "/api/x?q=1", Some("/api")), pair("/new/x?q=1", "old.example:80"));
        assert_eq!(rewrite("", full(), "/api/x?", Some("/api")), pair("/f?", "old.example:80"));
        assert_eq!(rewrite("new.example", None, "/api", None), pair("/api", "new.example"));
        assert_eq!(
            rewrite("new.example", full(), "http://old.example/api?q", None),
            pair("http://new.example/f?q", "new.example")
        );
        assert_eq!(rewrite("", prefix(), "/a%20b/%2F", Some("/")), pair("/new/a%20b/%2F", "old.example:80"));
    }

    #[test]
    fn a_prefix_without_a_match_by_prefix_is_an_error_and_not_skipped() {
        let path = Some(v1::PathModifier { kind: Some(Kind::ReplacePrefix("/x".into())) });
        let policy = UrlRewrite::compile(&v1::UrlRewrite { hostname: String::new(), path }).expect("compiles");
        let reply = policy.on_request(&mut request("GET", "/a", &[]), &mut context()).expect_err("fails");
        assert_eq!(reply.response.status(), 500);
    }

    #[test]
    fn refuses_what_is_no_host() {
        assert!(UrlRewrite::compile(&v1::UrlRewrite { hostname: "a b".into(), path: None }).is_err());
    }
}
