//! Cross-site request forgery: requests that change something must come from a page of the host that they are for, or of an
//! origin that is named.
//!
//! Browsers say where a request comes from in `Origin` (RFC 6454 §7, Fetch standard), older ones in `Referer`. A page cannot forge
//! either. Anything but a browser may leave both out, and is refused then: it is not what this policy is for.

use std::sync::Arc;

use agentgateway_proto::v1::{self, csrf::OriginMatch, csrf::origin_match::Kind as Match};
use http::request::Parts;
use http::{Method, StatusCode, Uri, header};
use regex::{Regex, RegexBuilder};

use crate::limits::MAX_PATTERN_BYTES;
use crate::{Reason, Reply, RequestContext, Services, context};

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct Csrf {
    percent_enabled: u32,
    percent_shadowed: u32,
    additional: Box<[Pattern]>,
    origin: Arc<str>,
}

#[derive(Debug)]
struct Pattern {
    kind: Kind,
    ignore_case: bool,
}

#[derive(Debug)]
enum Kind {
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Box<str>),
    Regex(Box<Regex>),
}

impl Csrf {
    /// `origin` names the policy in the access log.
    pub(crate) fn compile(spec: &v1::Csrf, origin: &str) -> Result<Csrf, String> {
        Ok(Csrf {
            percent_enabled: spec.percent_enabled.unwrap_or(100),
            percent_shadowed: spec.percent_shadowed,
            additional: spec.additional_origins.iter().map(Pattern::compile).collect::<Result<_, _>>()?,
            origin: origin.into(),
        })
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) fn on_request(
        &self,
        head: &Parts,
        context: &RequestContext,
        services: &dyn Services,
    ) -> Result<(), Reply> {
        if [Method::GET, Method::HEAD, Method::OPTIONS].contains(&head.method) {
            return Ok(());
        }
        let Err(why) = self.check(head, context) else { return Ok(()) };
        let draws = |percent: u32| percent >= 100 || services.random_below(100) < u64::from(percent);
        if draws(self.percent_enabled) {
            return Err(Reply::new(
                StatusCode::FORBIDDEN,
                "invalid origin",
                Reason::CrossSite(Arc::clone(&self.origin)),
            ));
        }
        if draws(self.percent_shadowed) {
            tracing::info!(policy = &*self.origin, path = head.uri.path(), why, "a request would be refused by csrf");
        }
        Ok(())
    }

    fn check(&self, head: &Parts, context: &RequestContext) -> Result<(), &'static str> {
        let source = source(head)?;
        let target = context::authority(head);
        if same_host(&source, target, context.scheme) {
            return Ok(());
        }
        let whole = format!("{}://{}", source.scheme, source.host_and_port);
        let allowed = |pattern: &Pattern| pattern.matches(&source.host_and_port) || pattern.matches(&whole);
        if self.additional.iter().any(allowed) { Ok(()) } else { Err("it comes from another origin") }
    }
}

/// Where a request comes from.
struct Source {
    scheme: String,
    /// As it is written: without the port that the scheme has anyway.
    host_and_port: String,
}

fn source(head: &Parts) -> Result<Source, &'static str> {
    let mut origins = head.headers.get_all(header::ORIGIN).iter();
    let said = match (origins.next(), origins.next()) {
        (Some(origin), None) => Some(origin),
        (Some(_), Some(_)) => return Err("it names several origins"),
        (None, _) => head.headers.get(header::REFERER),
    };
    let text = said.ok_or("it does not say where it comes from")?.to_str().unwrap_or_default();
    // "null": of a page whose origin nobody may know.
    let uri: Uri = text.parse().map_err(|_| "it comes from no origin")?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("it comes from no origin");
    };
    let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
    let scheme = scheme.to_ascii_lowercase();
    let host_and_port = without_usual_port(&host.to_ascii_lowercase(), &scheme).to_owned();
    Ok(Source { scheme, host_and_port })
}

/// A balancer may have taken TLS off, so the scheme of the client's connection says nothing about that of the page.
fn same_host(source: &Source, target: &str, scheme: &str) -> bool {
    let target = target.to_ascii_lowercase();
    let target = target.strip_suffix('.').unwrap_or(&target);
    !target.is_empty()
        && (source.host_and_port == without_usual_port(target, scheme)
            || source.host_and_port == without_usual_port(target, &source.scheme))
}

fn without_usual_port<'a>(host: &'a str, scheme: &str) -> &'a str {
    let usual = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return host,
    };
    host.strip_suffix(usual).unwrap_or(host)
}

impl Pattern {
    fn compile(spec: &OriginMatch) -> Result<Pattern, String> {
        let written = |text: &String| -> Result<Box<str>, String> {
            match text.as_str() {
                "" => Err("a pattern for origins is empty".into()),
                _ if spec.ignore_case => Ok(text.to_lowercase().into()),
                text => Ok(text.into()),
            }
        };
        let kind = match &spec.kind {
            Some(Match::Exact(text)) => Kind::Exact(written(text)?),
            Some(Match::Prefix(text)) => Kind::Prefix(written(text)?),
            Some(Match::Suffix(text)) => Kind::Suffix(written(text)?),
            Some(Match::Contains(text)) => Kind::Contains(written(text)?),
            Some(Match::Regex(text)) => {
                let built = RegexBuilder::new(&format!("^(?:{text})$"))
                    .case_insensitive(spec.ignore_case)
                    .size_limit(MAX_PATTERN_BYTES)
                    .build();
                Kind::Regex(Box::new(built.map_err(|_| format!("{text:?} is not a regular expression"))?))
            }
            None => return Err("a pattern for origins is of a kind that this proxy does not know".into()),
        };
        Ok(Pattern { kind, ignore_case: spec.ignore_case })
    }

    fn matches(&self, text: &str) -> bool {
        let lower = if self.ignore_case { text.to_lowercase() } else { text.to_owned() };
        match &self.kind {
            Kind::Exact(pattern) => lower == **pattern,
            Kind::Prefix(pattern) => lower.starts_with(&**pattern),
            Kind::Suffix(pattern) => lower.ends_with(&**pattern),
            Kind::Contains(pattern) => lower.contains(&**pattern),
            Kind::Regex(pattern) => pattern.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Nothing, context, request};

    fn policy(spec: v1::Csrf) -> Csrf {
        Csrf::compile(&spec, "TrafficPolicy ns/p").expect("compiles")
    }

    fn passes(policy: &Csrf, method: &str, headers: &[(&str, &str)]) -> bool {
        let headers = [&[("host", "shop.example:8443")][..], headers].concat();
        policy.on_request(&request(method, "/", &headers), &context(), &Nothing).is_ok()
    }

    #[test]
    fn what_changes_something_must_come_from_its_own_host() {
        let policy = policy(v1::Csrf::default());
        for (method, headers, expected) in [
            ("GET", &[("origin", "https://evil.example")][..], true),
            ("HEAD", &[], true),
            ("OPTIONS", &[], true),
            ("POST", &[("origin", "https://shop.example:8443")], true),
            ("POST", &[("origin", "HTTPS://SHOP.example:8443")], true),
            ("POST", &[("referer", "https://shop.example:8443/cart?a#b")], true),
            ("POST", &[], false),
            ("POST", &[("origin", "null")], false),
            ("POST", &[("origin", "https://evil.example")], false),
            ("DELETE", &[("origin", "https://shop.example")], false),
            ("PUT", &[("origin", "https://shop.example:8443.evil.example")], false),
            ("PATCH", &[("origin", "https://shop.example:8443@evil.example")], false),
            ("POST", &[("origin", "https://evil.example"), ("referer", "https://shop.example:8443/")], false),
            ("POST", &[("origin", "https://shop.example:8443"), ("origin", "https://evil.example")], false),
            ("X-CHANGE", &[], false),
        ] {
            assert_eq!(passes(&policy, method, headers), expected, "{method} {headers:?}");
        }
    }

    #[test]
    fn the_usual_port_may_be_left_out() {
        let of = |host: &str, origin: &str| {
            let head = request("POST", "/", &[("host", host), ("origin", origin)]);
            policy(v1::Csrf::default()).on_request(&head, &context(), &Nothing).is_ok()
        };
        assert!(of("a.example", "https://a.example") && of("a.example:443", "https://a.example"));
        assert!(of("a.example", "http://a.example:80") && of("a.example:80", "http://a.example"));
        assert!(!of("a.example:8080", "http://a.example"));
    }

    #[test]
    fn other_origins_can_be_named() {
        let of = |kind: Match, ignore_case: bool, origin: &str| {
            let additional_origins = vec![OriginMatch { kind: Some(kind), ignore_case }];
            let policy = policy(v1::Csrf { additional_origins, ..v1::Csrf::default() });
            passes(&policy, "POST", &[("origin", origin)])
        };
        assert!(of(Match::Exact("a.example".into()), false, "https://a.example"));
        assert!(of(Match::Exact("https://a.example".into()), false, "https://a.example"));
        assert!(!of(Match::Exact("https://a.example".into()), false, "http://a.example"));
        assert!(!of(Match::Exact("a.example".into()), false, "https://b.a.example"));
        assert!(of(Match::Exact("A.Example".into()), true, "https://a.example"));
        assert!(of(Match::Suffix(".a.example".into()), false, "https://b.a.example"));
        assert!(of(Match::Prefix("https://b.".into()), false, "https://b.a.example:9"));
        assert!(of(Match::Contains(".a.".into()), false, "https://b.a.example"));
        assert!(of(Match::Regex(r"[a-z]+\.a\.example".into()), false, "https://b.a.example"));
        assert!(!of(Match::Regex(r"a\.example".into()), false, "https://a.example.evil.example"), "as a whole");
        for kind in [None, Some(Match::Suffix(String::new())), Some(Match::Regex("(".into()))] {
            let additional_origins = vec![OriginMatch { kind, ignore_case: false }];
            assert!(Csrf::compile(&v1::Csrf { additional_origins, ..v1::Csrf::default() }, "s").is_err());
        }
    }

    #[test]
    fn a_share_of_the_requests_can_be_checked() {
        // What `Nothing` draws is 0.
        let none = policy(v1::Csrf { percent_enabled: Some(0), percent_shadowed: 100, ..v1::Csrf::default() });
        assert!(passes(&none, "POST", &[]));
        assert!(!passes(&policy(v1::Csrf { percent_enabled: Some(1), ..v1::Csrf::default() }), "POST", &[]));
    }
}
