//! Credentials of callers: where requests carry them, and what was taken off a request.
//!
//! What authentication has accepted is taken off the request, so that no backend gets it unless a passthrough puts it back.

use std::borrow::Cow;

use agentgateway_proto::v1::{self, credential_location::Kind};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

/// A way to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// JSON Web Tokens.
    Jwt,
    /// Names and passwords.
    Basic,
    /// API keys.
    ApiKey,
}

impl Scheme {
    /// As access logs and metrics name it.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Scheme::Jwt => "jwt",
            Scheme::Basic => "basic_auth",
            Scheme::ApiKey => "api_key",
        }
    }
}

/// A place in a request.
#[derive(Debug)]
enum Location {
    Header { name: HeaderName, prefix: Box<str> },
    Query(Box<str>),
    Cookie(Box<str>),
}

/// The places where one policy looks for credentials, in this order.
#[derive(Debug)]
pub(crate) struct Locations {
    scheme: Scheme,
    all: Box<[Location]>,
}

/// A credential, and where it is.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) at: At,
}

/// Where a credential was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    index: usize,
    /// Whether an earlier policy took it off the request.
    taken: bool,
}

type Search<'a> = Result<Option<Cow<'a, str>>, &'static str>;

impl Locations {
    /// `usual` are the places where none is named.
    pub(crate) fn compile(
        scheme: Scheme,
        named: &[v1::CredentialLocation],
        usual: &[(HeaderName, &str)],
    ) -> Result<Locations, String> {
        let mut all = named.iter().map(Location::compile).collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() {
            let location =
                |(name, prefix): &(HeaderName, &str)| Location::Header { name: name.clone(), prefix: (*prefix).into() };
            all = usual.iter().map(location).collect();
        }
        Ok(Locations { scheme, all: all.into() })
    }

    /// Whether one of them is `Authorization: Bearer`.
    pub(crate) fn has_bearer(&self) -> bool {
        self.all.iter().any(|l| {
            matches!(l, Location::Header { name, prefix } if name == header::AUTHORIZATION && prefix.trim_end().eq_ignore_ascii_case("bearer"))
        })
    }

    /// The credential in the first place that has one; or what is ambiguous or unreadable about that place.
    pub(crate) fn find<'a>(&self, head: &'a Parts, taken: &'a Credentials) -> Result<Option<Found<'a>>, &'static str> {
        for (index, location) in self.all.iter().enumerate() {
            if let Some(text) = location.find(head)? {
                return Ok(Some(Found { text, at: At { index, taken: false } }));
            }
            if let Some(text) = taken.find(self.scheme, location)? {
                return Ok(Some(Found { text, at: At { index, taken: true } }));
            }
        }
        Ok(None)
    }

    /// Takes a credential off the request.
    pub(crate) fn take(&self, at: At, head: &mut Parts, taken: &mut Credentials) -> Result<(), &'static str> {
        let Some(location) = self.all.get(at.index).filter(|_| !at.taken) else { return Ok(()) };
        let what = match location {
            Location::Header { name, .. } => match head.headers.remove(name) {
                Some(mut value) => {
                    value.set_sensitive(true);
                    What::Header(name.clone(), value)
                }
                None => return Ok(()),
            },
            Location::Query(name) => What::Query(take_from_query(head, name)?),
            Location::Cookie(name) => What::Cookie(take_from_cookies(&mut head.headers, name)),
        };
        taken.0.push(Taken { scheme: self.scheme, what });
        Ok(())
    }
}

impl Location {
    fn compile(spec: &v1::CredentialLocation) -> Result<Location, String> {
        match &spec.kind {
            Some(Kind::Header(header)) => {
                let name = header.name.parse().map_err(|_| format!("{:?} is not a header name", header.name))?;
                Ok(Location::Header { name, prefix: header.prefix.as_str().into() })
            }
            Some(Kind::QueryParameter(name)) if !name.is_empty() => Ok(Location::Query(name.as_str().into())),
            Some(Kind::Cookie(name)) if !name.is_empty() => Ok(Location::Cookie(name.as_str().into())),
            _ => Err("a location of credentials is of a kind that this proxy does not know".into()),
        }
    }

    fn find<'a>(&self, head: &'a Parts) -> Search<'a> {
        match self {
            Location::Header { name, prefix } => {
                let mut values = head.headers.get_all(name).iter();
                let Some(value) = values.next() else { return Ok(None) };
                if values.next().is_some() {
                    return Err("a header with a credential is there several times");
                }
                in_header(value, prefix)
            }
            Location::Query(name) => in_query(head.uri.query().unwrap_or_default(), name),
            Location::Cookie(name) => in_cookies(cookies(&head.headers), name),
        }
    }
}

fn in_header<'a>(value: &'a HeaderValue, prefix: &str) -> Search<'a> {
    let text = value.to_str().map_err(|_| "a header with a credential is not text")?;
    match text.split_at_checked(prefix.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(prefix) => Ok(Some(Cow::Borrowed(rest.trim()))),
        // Another scheme's.
        _ => Ok(None),
    }
}

fn in_query<'a>(query: &'a str, name: &str) -> Search<'a> {
    let mut found = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(key) == name && found.replace(decoded(value)).is_some() {
            return Err("a query parameter with a credential is there several times");
        }
    }
    Ok(found)
}

fn in_cookies<'a>(pairs: impl Iterator<Item = &'a str>, name: &str) -> Search<'a> {
    let mut found = None;
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=') else { continue };
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        if key == name && found.replace(Cow::Borrowed(value)).is_some() {
            return Err("a cookie with a credential is there several times");
        }
    }
    Ok(found)
}

/// All cookies; HTTP/2 may spread them over several headers (RFC 9113 §8.2.3).
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(';')).map(str::trim)
}

/// A name or value of a query as `application/x-www-form-urlencoded` writes it. What is no UTF-8 is no credential.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        let digit =
            |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
                continue;
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
        rest = after;
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(""), Cow::Owned)
}

fn take_from_query(head: &mut Parts, name: &str) -> Result<String, &'static str> {
    const FAILED: &str = "the credential cannot be taken off the query";
    let query = head.uri.query().unwrap_or_default();
    let is_named = |pair: &&str| decoded(pair.split_once('=').map_or(*pair, |(key, _)| key)) == name;
    let pair = query.split('&').find(is_named).unwrap_or_default().to_owned();
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_named(pair)).collect();
    let target = match rest.is_empty() {
        true => head.uri.path().to_owned(),
        false => format!("{}?{}", head.uri.path(), rest.join("&")),
    };
    set_target(&mut head.uri, target).ok_or(FAILED)?;
    Ok(pair)
}

fn set_target(uri: &mut Uri, target: String) -> Option<()> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    *uri = Uri::from_parts(parts).ok()?;
    Some(())
}

fn take_from_cookies(headers: &mut HeaderMap, name: &str) -> String {
    let is_named = |pair: &&str| pair.split_once('=').is_some_and(|(key, _)| key == name);
    let pair = cookies(headers).find(is_named).unwrap_or_default().to_owned();
    let rest: Vec<&str> = cookies(headers).filter(|pair| !is_named(pair) && !pair.is_empty()).collect();
    match HeaderValue::try_from(rest.join("; ")) {
        Ok(value) if !value.is_empty() => drop(headers.insert(header::COOKIE, value)),
        _ => drop(headers.remove(header::COOKIE)),
    }
    pair
}

/// What authentication took off a request.
#[derive(Clone, Debug, Default)]
pub struct Credentials(Vec<Taken>);

#[derive(Clone)]
struct Taken {
    scheme: Scheme,
    what: What,
}

#[derive(Clone)]
enum What {
    Header(HeaderName, HeaderValue),
    /// `name=value`, as it was written.
    Query(String),
    Cookie(String),
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a credential of {}", self.scheme.code())
    }
}

impl Credentials {
    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A caller with this `Authorization` header.
    #[cfg(any(test, feature = "testing"))]
    pub fn bearer(value: HeaderValue) -> Credentials {
        Credentials(vec![Taken { scheme: Scheme::Jwt, what: What::Header(header::AUTHORIZATION, value) }])
    }

    /// The `Authorization` header.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.0.iter().find_map(|taken| match &taken.what {
            What::Header(name, value) if name == header::AUTHORIZATION => Some(value),
            _ => None,
        })
    }

    /// Puts all back where it was, but for headers that something else has set meanwhile.
    pub fn put_back(&self, head: &mut Parts) {
        for taken in &self.0 {
            match &taken.what {
                What::Header(name, value) => drop(head.headers.entry(name).or_insert(value.clone())),
                What::Query(pair) => {
                    let path = head.uri.path();
                    let target = match head.uri.query() {
                        Some(query) if !query.is_empty() => format!("{path}?{query}&{pair}"),
                        _ => format!("{path}?{pair}"),
                    };
                    // Both parts were a part of a valid target.
                    let _ = set_target(&mut head.uri, target);
                }
                What::Cookie(pair) => {
                    let all: Vec<&str> = cookies(&head.headers).chain([pair.as_str()]).collect();
                    if let Ok(value) = HeaderValue::try_from(all.join("; ")) {
                        head.headers.insert(header::COOKIE, value);
                    }
                }
            }
        }
    }

    fn find(&self, scheme: Scheme, location: &Location) -> Search<'_> {
        for taken in self.0.iter().filter(|taken| taken.scheme == scheme) {
            let found = match (location, &taken.what) {
                (Location::Header { name, prefix }, What::Header(of, value)) if name == of => in_header(value, prefix)?,
                (Location::Query(name), What::Query(pair)) => in_query(pair, name)?,
                (Location::Cookie(name), What::Cookie(pair)) => in_cookies(std::iter::once(pair.as_str()), name)?,
                _ => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    fn location(kind: Kind) -> v1::CredentialLocation {
        v1::CredentialLocation { kind: Some(kind) }
    }

    fn header(name: &str, prefix: &str) -> Kind {
        Kind::Header(v1::credential_location::InHeader { name: name.into(), prefix: prefix.into() })
    }

    fn locations(kinds: Vec<Kind>) -> Locations {
        let named: Vec<_> = kinds.into_iter().map(location).collect();
        Locations::compile(Scheme::ApiKey, &named, &[]).expect("compiles")
    }

    fn found(locations: &Locations, head: &Parts) -> Result<Option<String>, &'static str> {
        locations.find(head, &Credentials::default()).map(|f| f.map(|f| f.text.into_owned()))
    }

    #[test]
    fn the_first_place_that_has_one_counts() {
        let places = locations(vec![
            header("authorization", "Bearer "),
            header("x-key", ""),
            Kind::QueryParameter("k".into()),
            Kind::Cookie("c".into()),
        ]);
        for (uri, headers, expected) in [
            ("/", &[("authorization", "bearer  a"), ("x-key", "b")][..], Some("a")),
            ("/", &[("authorization", "Basic x"), ("x-key", "b")], Some("b")),
            ("/?a=1&k=%41%2b+&b", &[], Some("A+ ")),
            ("/", &[("cookie", "a=1; c=\"v\"")], Some("v")),
            ("/", &[("cookie", "a=1"), ("cookie", "c=v")], Some("v")),
            ("/?kk=1", &[("cookie", "cc=1")], None),
        ] {
            assert_eq!(
                found(&places, &request("GET", uri, headers)),
                Ok(expected.map(Into::into)),
                "{uri} {headers:?}"
            );
        }
    }

    #[test]
    fn two_in_one_place_are_none() {
        for (kind, uri, headers) in [
            (header("x", ""), "/", &[("x", "a"), ("x", "b")][..]),
            (Kind::QueryParameter("k".into()), "/?k=a&%6b=b", &[]),
            (Kind::Cookie("c".into()), "/", &[("cookie", "c=a"), ("cookie", "c=b")]),
        ] {
            assert!(found(&locations(vec![kind]), &request("GET", uri, headers)).is_err(), "{uri}");
        }
    }

    #[test]
    fn what_is_taken_off_can_be_found_by_its_scheme_and_put_back() {
        for (kind, uri, headers, without) in [
            (header("x-key", ""), "/a", &[("x-key", "secret")][..], "/a"),
            (Kind::QueryParameter("k".into()), "/a?x=1&k=secret&y", &[], "/a?x=1&y"),
            (Kind::QueryParameter("k".into()), "/a?k=secret", &[], "/a"),
            (Kind::Cookie("k".into()), "/a", &[("cookie", "x=1; k=secret")], "/a"),
        ] {
            let (places, mut taken) = (locations(vec![kind.clone()]), Credentials::default());
            let mut head = request("GET", uri, headers);
            let at = places.find(&head, &taken).expect("unambiguous").expect("there").at;
            places.take(at, &mut head, &mut taken).expect("taken");
            assert_eq!(head.uri, without);
            assert!(!format!("{head:?}").contains("secret") && !format!("{taken:?}").contains("secret"));
            let again = places.find(&head, &taken).expect("unambiguous").expect("there");
            assert_eq!((&*again.text, again.at.taken), ("secret", true));
            let other = Locations::compile(Scheme::Jwt, &[location(kind)], &[]).expect("compiles");
            assert!(other.find(&head, &taken).expect("unambiguous").is_none(), "another scheme's");
            taken.put_back(&mut head);
            assert_eq!(found(&places, &head), Ok(Some("secret".into())));
        }
    }

    #[test]
    fn what_was_set_meanwhile_stays() {
        let credentials = Credentials::bearer(HeaderValue::from_static("Bearer a"));
        let mut head = request("GET", "/", &[("authorization", "Basic b")]);
        credentials.put_back(&mut head);
        assert_eq!(head.headers["authorization"], "Basic b");
    }
}
