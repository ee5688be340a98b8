//! The router against a naive matcher that follows the specification's text.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use crate::{Condition, PathMatch, Precedence, RouteMatch, Router, ValueMatch};

#[derive(Clone, Debug)]
struct Spec {
    host: String,
    matched: RouteMatch,
    precedence: Precedence,
}

#[derive(Clone, Debug)]
struct Request {
    host: String,
    path: String,
    query: Option<String>,
    method: Method,
    headers: HeaderMap,
}

/// Rank of a host name for a request's host: None when it does not match, else larger is better.
fn host_rank(pattern: &str, host: &str) -> Option<usize> {
    if pattern.is_empty() {
        return Some(0);
    }
    match pattern.strip_prefix('*') {
        None => (pattern == host).then_some(usize::MAX),
        Some(suffix) => (host.len() > suffix.len() && host.ends_with(suffix)).then_some(suffix.len()),
    }
}

/// Rank of a path: exact, then regular expressions by length, then prefixes by length.
fn path_rank(path: &PathMatch, value: &str) -> Option<(u8, usize, String)> {
    match path {
        PathMatch::Exact(e) => (e == value).then_some((2, 0, String::new())),
        PathMatch::Regex(r) => matches_whole(r, value).then_some((1, r.len(), r.clone())),
        PathMatch::Prefix(p) => {
            let p = p.trim_end_matches('/');
            let rest = value.strip_prefix(p)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((0, p.len(), String::new()))
        }
    }
}

/// Whether some way to match the pattern covers the whole value.
fn matches_whole(pattern: &str, value: &str) -> bool {
    regex::Regex::new(&format!(r"\A(?:{pattern})\z")).expect("pattern").is_match(value)
}

/// "value" of HTTPHeaderMatch and HTTPQueryParamMatch: equal, or matched as a whole.
fn value_holds(wanted: &ValueMatch, value: &str) -> bool {
    match wanted {
        ValueMatch::Exact(exact) => exact == value,
        ValueMatch::Regex(regex) => {
            let source = regex.as_str().trim_start_matches("^(?:").trim_end_matches(")$");
            matches_whole(source, value)
        }
    }
}

/// All conditions but the path are AND-ed; a header on several lines counts as one (RFC 9110 §5.3), of a repeated parameter
/// the first counts.
fn conditions_hold(matched: &RouteMatch, r: &Request) -> bool {
    let header = |c: &Condition<HeaderName>| {
        let lines: Vec<_> = r.headers.get_all(&c.name).iter().filter_map(|v| v.to_str().ok()).collect();
        !lines.is_empty() && value_holds(&c.value, &lines.join(","))
    };
    let query = |c: &Condition<String>| {
        let all = r.query.clone().unwrap_or_default();
        let first = all.split('&').find_map(|p| p.strip_prefix(&format!("{}=", c.name)).map(str::to_owned));
        first.is_some_and(|value| value_holds(&c.value, &value))
    };
    matched.method.as_ref().is_none_or(|m| *m == r.method)
        && matched.headers.iter().all(header)
        && matched.query.iter().all(query)
}

/// The order of HTTPRouteRule.matches: path, then method match, then the number of header matches, then of query parameter
/// matches; across routes the oldest, then the first by "{namespace}/{name}"; within one the first rule, its first match.
fn naive<'a>(specs: &'a [Spec], r: &Request) -> Option<&'a Precedence> {
    let rank = |s: &'a Spec| {
        let host = host_rank(&s.host, &r.host)?;
        let path = path_rank(&s.matched.path, &r.path)?;
        let m = &s.matched;
        let rank = (host, path, m.method.is_some(), m.headers.len(), m.query.len());
        let p = &s.precedence;
        let tie = (p.created, p.object.to_string(), p.rule, p.matched);
        conditions_hold(m, r).then_some((std::cmp::Reverse(rank), tie, p))
    };
    specs.iter().filter_map(rank).min().map(|(_, _, precedence)| precedence)
}

fn router(specs: &[Spec]) -> Router<Precedence> {
    let mut router = Router::default();
    for s in specs {
        router
            .insert(&s.host, Arc::new(s.matched.clone()), s.precedence.clone(), s.precedence.clone())
            .expect("compiles");
    }
    router
}

fn find<'a>(router: &'a Router<Precedence>, r: &Request) -> Option<&'a Precedence> {
    router.find(&r.host, &r.path, r.query.as_deref(), &r.method, &r.headers)
}

fn any_value() -> impl Strategy<Value = ValueMatch> {
    prop::sample::select(vec![
        ValueMatch::Exact("x".into()),
        ValueMatch::Exact("x,y".into()),
        ValueMatch::regex("x|xy").expect("compiles"),
        ValueMatch::regex(".").expect("compiles"),
    ])
}

prop_compose! {
    fn any_spec()(
        host in prop::sample::select(vec!["", "a.example.com", "*.example.com", "*.com", "b.a.example.com", "*.a.example.com"]),
        path in prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab"]),
        pattern in prop::sample::select(vec!["/a|/ab", "/a/.*", ".*", "/[ab]/b"]),
        kind in 0..3,
        method in prop::option::of(prop::sample::select(vec![Method::GET, Method::POST])),
        headers in prop::sample::subsequence(vec!["g", "h"], 0..=2),
        queries in prop::sample::subsequence(vec!["p", "q"], 0..=2),
        values in prop::collection::vec(any_value(), 4),
        object in prop::sample::select(vec!["a/z", "b/a", "b/b"]),
        rule in 0..3_u32,
    ) -> (String, RouteMatch, &'static str, u32) {
        let path = match kind {
            0 => PathMatch::Exact(path.to_owned()),
            1 => PathMatch::Prefix(path.to_owned()),
            _ => PathMatch::Regex(pattern.to_owned()),
        };
        let (of_headers, of_queries) = values.split_at(2);
        let headers = headers.into_iter().zip(of_headers);
        let query = queries.into_iter().zip(of_queries);
        let matched = RouteMatch {
            path,
            method,
            headers: headers.map(|(n, v)| Condition { name: HeaderName::from_static(n), value: v.clone() }).collect(),
            query: query.map(|(n, v)| Condition { name: n.to_owned(), value: v.clone() }).collect(),
        };
        (host.to_owned(), matched, object, rule)
    }
}

/// Creation belongs to the object, and a match has a place of its own in its rule.
fn any_specs() -> impl Strategy<Value = Vec<Spec>> {
    (prop::collection::vec(any_spec(), 0..24), prop::collection::vec(0..3_i64, 3)).prop_map(|(all, ages)| {
        all.into_iter()
            .zip(0_u32..)
            .map(|((host, matched, object, rule), place)| {
                let created = ages[["a/z", "b/a", "b/b"].iter().position(|o| *o == object).expect("known")];
                let kind = "HTTPRoute".into();
                let precedence = Precedence { created, object: object.into(), rule, matched: place, kind };
                Spec { host, matched, precedence }
            })
            .collect()
    })
}

prop_compose! {
    fn any_request()(
        host in prop::sample::select(vec!["a.example.com", "b.a.example.com", "example.com", "other.org", ".com"]),
        path in prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/a/b/c", "/a/b/c/d", "/ab", "/abc", "/b/b", "//"]),
        query in prop::option::of(prop::sample::select(vec!["q=x", "q=y&q=x", "p=x&q=xy", "p=xy", "z=1"])),
        method in prop::sample::select(vec![Method::GET, Method::POST]),
        g in prop::collection::vec(prop::sample::select(vec!["x", "y"]), 0..3),
        h in prop::collection::vec(prop::sample::select(vec!["x", "xy"]), 0..2),
    ) -> Request {
        let mut headers = HeaderMap::new();
        for (name, value) in g.into_iter().map(|v| ("g", v)).chain(h.into_iter().map(|v| ("h", v))) {
            headers.append(name, HeaderValue::from_static(value));
        }
        Request { host: host.into(), path: path.into(), query: query.map(Into::into), method, headers }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn agrees_with_the_specification(specs in any_specs(), requests in prop::collection::vec(any_request(), 1..12)) {
        let router = router(&specs);
        for r in &requests {
            prop_assert_eq!(find(&router, r), naive(&specs, r), "{:?}", r);
        }
    }

    #[test]
    fn removal_leaves_what_was_never_there(specs in any_specs(), keep in prop::collection::vec(any::<bool>(), 24), r in any_request()) {
        let mut changed = router(&specs);
        let mut rest = Vec::new();
        for (s, keep) in specs.iter().zip(&keep) {
            if *keep {
                rest.push(s.clone());
            } else {
                changed.remove(&s.host, &s.matched.path, &s.precedence);
            }
        }
        prop_assert_eq!(find(&changed, &r), naive(&rest, &r));
    }
}

fn prefix(path: &str) -> RouteMatch {
    RouteMatch { path: PathMatch::Prefix(path.into()), method: None, headers: vec![], query: vec![] }
}

fn plain(rule: u32) -> Precedence {
    Precedence { created: 0, object: "ns/r".into(), rule, matched: 0, kind: "HTTPRoute".into() }
}

#[test]
fn several_lines_of_a_header_count_as_one() {
    let mut matched = prefix("/");
    matched.headers = vec![Condition { name: HeaderName::from_static("h"), value: ValueMatch::Exact("a,b".into()) }];
    let mut router = Router::default();
    router.insert("", Arc::new(matched), plain(0), 0).expect("compiles");
    let mut headers = HeaderMap::new();
    headers.append("h", HeaderValue::from_static("a"));
    assert_eq!(router.find("x", "/", None, &Method::GET, &headers), None);
    headers.append("h", HeaderValue::from_static("b"));
    assert_eq!(router.find("x", "/", None, &Method::GET, &headers), Some(&0));
}

#[test]
fn query_is_form_decoded() {
    let mut matched = prefix("/");
    matched.query = vec![Condition { name: "a b".into(), value: ValueMatch::Exact("ä%".into()) }];
    let mut router = Router::default();
    router.insert("", Arc::new(matched), plain(0), 0).expect("compiles");
    let find = |q| router.find("x", "/", Some(q), &Method::GET, &HeaderMap::new());
    assert_eq!(find("a+b=%C3%A4%"), Some(&0));
    assert_eq!(find("a%20b=%c3%a4%25"), Some(&0));
    assert_eq!(find("a+b=x&a+b=%C3%A4%25"), None);
}

#[test]
fn ten_thousand_routes_on_one_host_change_quickly() {
    let mut router = Router::default();
    for i in 0..10_000_u32 {
        router.insert("h.com", Arc::new(prefix(&format!("/p/{i}"))), plain(i), i).expect("compiles");
    }
    let before = router.clone();
    let start = std::time::Instant::now();
    for i in 0..100_u32 {
        router.remove("h.com", &PathMatch::Prefix(format!("/p/{i}")), &plain(i));
    }
    // A copy of 10,000 entries for each change would take seconds; a persistent map takes well under a millisecond.
    assert!(start.elapsed() < std::time::Duration::from_millis(500), "{:?}", start.elapsed());
    assert_eq!(router.find("h.com", "/p/7", None, &Method::GET, &HeaderMap::new()), None);
    assert_eq!(before.find("h.com", "/p/7/x", None, &Method::GET, &HeaderMap::new()), Some(&7));
}

#[test]
fn bad_matches_say_what_is_wrong() {
    let mut router = Router::default();
    let mut bad = prefix("/");
    bad.path = PathMatch::Regex("(".into());
    assert!(
        router
            .insert("", Arc::new(bad.clone()), plain(0), 0)
            .expect_err("bad")
            .to_string()
            .contains("regular expression")
    );
    bad.path = PathMatch::Prefix("x".into());
    assert!(router.insert("", Arc::new(bad), plain(0), 0).expect_err("bad").to_string().contains("begin with '/'"));
}

#[test]
fn patterns_match_as_a_whole_whatever_their_alternatives() {
    let mut matched = prefix("/");
    matched.path = PathMatch::Regex("/a|/ab".into());
    matched.headers =
        vec![Condition { name: HeaderName::from_static("h"), value: ValueMatch::regex("x|xy").expect("compiles") }];
    let mut router = Router::default();
    router.insert("", Arc::new(matched), plain(0), 0).expect("compiles");
    let find = |path: &str, value: &'static str| {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("h"), HeaderValue::from_static(value))]);
        router.find("x", path, None, &Method::GET, &headers).is_some()
    };
    assert!(find("/a", "x") && find("/ab", "xy"), "the longer alternative counts too");
    assert!(!find("/abc", "x") && !find("/x/a", "x") && !find("/a", "xyz") && !find("/a", "zx"));
    for escaping in ["/a)|(/b", "a)(?:b", "(?x)a # )"] {
        assert!(PathMatch::Regex(escaping.into()).check().is_err(), "{escaping}");
    }
}
