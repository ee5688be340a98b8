//! What of a request is hashed, where a backend's load balancer sends equal requests to one endpoint.

use crate::rules::beyond_requests;
use std::net::{IpAddr, SocketAddr};

use agentgateway_expression::Expression;
use agentgateway_proto::v1::{self, hash_policy::Kind};
use agentgateway_upstream::balancer::hash;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;

use crate::RequestContext;

/// Compiled hash policies.
#[derive(Debug)]
pub struct HashPolicies(Box<[(On, bool)]>);

#[derive(Debug)]
enum On {
    Header(HeaderName),
    Cookie(Box<str>),
    SourceIp,
    Expression(Expression),
}

impl HashPolicies {
    /// Compiles a load balancer's policies; None where there are none.
    ///
    /// # Errors
    /// What is wrong with one.
    pub fn compile(specs: &[v1::HashPolicy]) -> Result<Option<HashPolicies>, String> {
        let compile = |spec: &v1::HashPolicy| -> Result<(On, bool), String> {
            let on = match &spec.kind {
                Some(Kind::Header(name)) => {
                    On::Header(name.parse().map_err(|_| format!("hash policy: {name:?} is no header name"))?)
                }
                Some(Kind::Cookie(name)) => On::Cookie(name.as_str().into()),
                Some(Kind::SourceIp(_)) => On::SourceIp,
                Some(Kind::Expression(source)) => {
                    let wrong = |why: String| format!("hash policy {source:?}: {why}");
                    let expression = Expression::compile(source).map_err(|e| wrong(e.to_string()))?;
                    if let Some(why) = beyond_requests(&expression) {
                        return Err(wrong(why.into()));
                    }
                    On::Expression(expression)
                }
                None => return Err("hash policy: it is of a kind that this proxy does not know".into()),
            };
            Ok((on, spec.terminal))
        };
        let all: Box<[_]> = specs.iter().map(compile).collect::<Result<_, String>>()?;
        Ok((!all.is_empty()).then_some(HashPolicies(all)))
    }

    /// The hash of what the request has of it; None where it has nothing.
    pub fn of(&self, head: &Parts, context: &RequestContext) -> Option<u64> {
        let mut all: Option<u64> = None;
        for (on, terminal) in &self.0 {
            if let Some(one) = on.of(head, context) {
                all = Some(all.map_or(one, |all| all.rotate_left(1) ^ one));
            }
            if all.is_some() && *terminal {
                break;
            }
        }
        all
    }

    /// The hash of a client's address alone, for what is no request; None where no policy is about it.
    pub fn of_address(&self, source: SocketAddr) -> Option<u64> {
        self.0.iter().any(|(on, _)| matches!(on, On::SourceIp)).then(|| of_ip(source))
    }
}

fn of_ip(source: SocketAddr) -> u64 {
    match source.ip().to_canonical() {
        IpAddr::V4(ip) => hash(&ip.octets()),
        IpAddr::V6(ip) => hash(&ip.octets()),
    }
}

impl On {
    fn of(&self, head: &Parts, context: &RequestContext) -> Option<u64> {
        match self {
            On::Header(name) => head.headers.get(name).map(|value| hash(value.as_bytes())),
            On::Cookie(name) => cookie(&head.headers, name).map(|value| hash(value.as_bytes())),
            On::SourceIp => Some(of_ip(context.source)),
            On::Expression(expression) => {
                let mut key = Vec::with_capacity(64);
                expression.evaluate_key(&context.input(head), &mut key).ok()?;
                Some(hash(&key))
            }
        }
    }
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(policies: Vec<(Kind, bool)>, request: http::request::Builder) -> Option<u64> {
        let specs: Vec<_> =
            policies.into_iter().map(|(kind, terminal)| v1::HashPolicy { kind: Some(kind), terminal }).collect();
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let context = RequestContext::new(([10, 0, 0, 1], 1234).into(), "http", 80);
        HashPolicies::compile(&specs).expect("compiles").expect("some").of(&head, &context)
    }

    #[test]
    fn equal_values_have_equal_hashes() {
        let request =
            |user: &str, cookie: &str| http::Request::get("/a").header("x-user", user).header("cookie", cookie);
        for kind in [
            Kind::Header("x-user".into()),
            Kind::Cookie("id".into()),
            Kind::Expression("request.headers['x-user']".into()),
        ] {
            let of = |user, cookie| of(vec![(kind.clone(), false)], request(user, cookie));
            assert_eq!(of("a", "id=1"), of("a", "b=2; id=1"));
            assert_ne!(of("a", "id=1"), of("b", "id=2"));
        }
        let source = vec![(Kind::SourceIp(v1::hash_policy::SourceIp {}), false)];
        assert!(of(source, http::Request::get("/")).is_some());
        assert_eq!(of(vec![(Kind::Header("x-user".into()), false)], http::Request::get("/")), None);
    }

    #[test]
    fn a_terminal_policy_leaves_the_others_out_where_it_has_a_value() {
        let policies = |terminal| vec![(Kind::Header("a".into()), terminal), (Kind::Header("b".into()), false)];
        let both = |b: &str| http::Request::get("/").header("a", "1").header("b", b);
        assert_eq!(of(policies(true), both("1")), of(policies(true), both("2")));
        assert_ne!(of(policies(false), both("1")), of(policies(false), both("2")));
        assert!(of(policies(true), http::Request::get("/").header("b", "1")).is_some());
    }
}
