//! Upgrades of HTTP/1.1 connections (RFC 9110 §7.8), WebSocket first of all, and WebSockets over HTTP/2 (RFC 8441), which
//! the backend gets as an upgrade.
//!
//! The backend decides. When it switches protocols both connections become one tunnel; otherwise its answer is one like
//! any other.

use agentgateway_upstream::{Blame, Body};
use base64::Engine as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use hyper::ext::Protocol as Extended;
use hyper::upgrade::OnUpgrade;

use crate::Error;
use crate::tunnel::Tunnel;
use crate::worker::Worker;

const WEBSOCKET: &str = "websocket";
/// Protocols that are not passed on: they would lead HTTP or TLS past the gateway's policies.
const NOT_PASSED_ON: [&str; 3] = ["h2c", "http/", "tls/"];

/// What a client wants its connection to become.
pub(crate) struct Upgrade {
    client: OnUpgrade,
    protocol: HeaderValue,
}

/// Makes a WebSocket over HTTP/2, an extended CONNECT, a request as HTTP/1.1 has it, for routes, policies and backends.
/// False for any other CONNECT.
pub(crate) fn normalise_connect(head: &mut Parts) -> bool {
    let is_websocket = head.extensions.get::<Extended>().is_some_and(|p| p.as_str().eq_ignore_ascii_case(WEBSOCKET));
    if is_websocket {
        head.method = Method::GET;
    }
    is_websocket
}

impl Upgrade {
    /// Takes the wish off the request; only requests with one have extensions.
    pub(crate) fn take(head: &mut Parts) -> Option<Upgrade> {
        if head.extensions.is_empty() {
            return None;
        }
        let client = head.extensions.remove::<OnUpgrade>()?;
        let protocol = match head.extensions.remove::<Extended>() {
            Some(_) => HeaderValue::from_static(WEBSOCKET),
            None => wanted(&head.headers)?,
        };
        Some(Upgrade { client, protocol })
    }

    /// Asks the backend, whose request has lost these headers, since they are the connection's. On a connection that is
    /// HTTP/2, which knows no upgrades, they are left out again, and the backend answers as it does without.
    pub(crate) fn ask(&self, headers: &mut HeaderMap, client: Version, worker: &Worker) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
        if client == Version::HTTP_2 && !headers.contains_key(header::SEC_WEBSOCKET_KEY) {
            let nonce = (u128::from(worker.random()) << 64 | u128::from(worker.random())).to_be_bytes();
            let key = base64::engine::general_purpose::STANDARD.encode(nonce);
            headers.extend(HeaderValue::try_from(key).ok().map(|key| (header::SEC_WEBSOCKET_KEY, key)));
        }
    }

    /// Makes the backend's 101 the one for the client, and gives the tunnel, which begins when the client has it.
    pub(crate) fn switch(self, response: &mut Response<Body>, client: Version) -> Tunnel {
        let server = hyper::upgrade::on(&mut *response);
        let held = std::mem::take(response.body_mut());
        if client == Version::HTTP_2 {
            response.headers_mut().remove(header::CONNECTION);
            response.headers_mut().remove(header::UPGRADE);
            *response.status_mut() = StatusCode::OK;
            response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
        } else {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().entry(header::UPGRADE).or_insert(self.protocol);
        }
        Tunnel { client: self.client, server, held }
    }
}

/// A backend that switches protocols although nobody asked it to.
pub(crate) fn unasked() -> Error {
    Error::Protocol {
        blame: Blame::Upstream,
        status: StatusCode::BAD_GATEWAY,
        reason: "upgrade_unasked",
        message: "the backend switched protocols without having been asked to".into(),
    }
}

/// The protocols of a valid wish; the connection header must name it too.
fn wanted(headers: &HeaderMap) -> Option<HeaderValue> {
    tokens(headers, header::CONNECTION).find(|token| token.eq_ignore_ascii_case("upgrade"))?;
    let passed_on = |token: &&str| {
        let token = token.to_ascii_lowercase();
        !token.is_empty() && !NOT_PASSED_ON.iter().any(|not| token.starts_with(not))
    };
    let protocols: Vec<&str> = tokens(headers, header::UPGRADE).filter(passed_on).collect();
    HeaderValue::try_from(protocols.join(", ")).ok().filter(|all| !all.is_empty())
}

fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(connection: &str, upgrade: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, connection.parse().expect("value"));
        headers.insert(header::UPGRADE, upgrade.parse().expect("value"));
        wanted(&headers).map(|v| v.to_str().expect("text").to_owned())
    }

    #[test]
    fn a_wish_is_in_both_headers() {
        assert_eq!(asked("keep-alive, Upgrade", "websocket").as_deref(), Some("websocket"));
        assert_eq!(asked("keep-alive", "websocket"), None);
    }

    #[test]
    fn http_in_the_clear_is_never_passed_on() {
        assert_eq!(asked("Upgrade, HTTP2-Settings", "h2c"), None);
        assert_eq!(asked("Upgrade", "H2C, websocket").as_deref(), Some("websocket"));
        assert_eq!(asked("Upgrade", "TLS/1.2"), None);
        assert_eq!(asked("Upgrade", "HTTP/2.0"), None);
        assert_eq!(asked("Upgrade", ""), None);
    }

    #[test]
    fn only_websockets_come_by_connect() {
        let connect = |protocol: Option<&'static str>| {
            let mut request = http::Request::builder().method(Method::CONNECT).uri("http://a/b");
            if let Some(protocol) = protocol {
                request = request.extension(Extended::from_static(protocol));
            }
            let mut head = request.body(()).expect("request").into_parts().0;
            (normalise_connect(&mut head), head.method)
        };
        assert_eq!(connect(Some("websocket")), (true, Method::GET));
        assert_eq!(connect(Some("connect-udp")), (false, Method::CONNECT));
        assert_eq!(connect(None), (false, Method::CONNECT));
    }
}
