//! Tells backends who the client is: `X-Forwarded-For` and `X-Forwarded-Proto`.
//!
//! The client's address goes to the end of what the request claims already, so a backend that knows how many proxies it
//! trusts counts from there. The scheme is the one of the client's connection, whatever the request claims.

use std::cell::OnceCell;
use std::net::SocketAddr;

use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The address of a connection's client as a header value, written once for all its requests.
#[derive(Default)]
pub(crate) struct Address(OnceCell<HeaderValue>);

impl Address {
    fn value(&self, source: SocketAddr) -> &HeaderValue {
        let write = || HeaderValue::try_from(source.ip().to_canonical().to_string());
        self.0.get_or_init(|| write().unwrap_or(HeaderValue::from_static("unknown")))
    }

    /// Adds both headers.
    pub(crate) fn add(&self, source: SocketAddr, scheme: &'static str, headers: &mut HeaderMap) {
        let own = self.value(source);
        match headers.entry(FORWARDED_FOR) {
            Entry::Vacant(vacant) => drop(vacant.insert(own.clone())),
            Entry::Occupied(mut occupied) => {
                let mut all: Vec<u8> = Vec::new();
                for value in occupied.iter().chain([own]) {
                    if !all.is_empty() {
                        all.extend_from_slice(b", ");
                    }
                    all.extend_from_slice(value.as_bytes());
                }
                occupied.insert(HeaderValue::from_bytes(&all).unwrap_or_else(|_| own.clone()));
            }
        }
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(claims: &[(&'static str, &'static str)], source: &str) -> (String, String) {
        let mut headers = HeaderMap::new();
        for (name, value) in claims {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Address::default().add(source.parse().expect("address"), "http", &mut headers);
        let one = |name: &str| {
            let all: Vec<_> = headers.get_all(name).iter().map(|v| v.to_str().expect("text")).collect();
            all.join(" | ")
        };
        (one("x-forwarded-for"), one("x-forwarded-proto"))
    }

    #[test]
    fn the_address_goes_to_the_end_and_the_scheme_is_the_connections() {
        assert_eq!(added(&[], "10.0.0.1:1000"), ("10.0.0.1".into(), "http".into()));
        assert_eq!(added(&[], "[::ffff:10.0.0.1]:1000").0, "10.0.0.1");
        assert_eq!(added(&[], "[2001:db8::1]:1000").0, "2001:db8::1");
        let claims =
            [("x-forwarded-for", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "3.3.3.3"), ("x-forwarded-proto", "https")];
        assert_eq!(added(&claims, "10.0.0.1:1000"), ("1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1".into(), "http".into()));
    }
}
