//! Sessions that stay with the endpoint that served their first request (GEP-1619), without state in the gateway.
//!
//! A token in a cookie or a header names backend and endpoint. It is checked, but not secret: whoever makes one up reaches an
//! endpoint of the route's own backends, which anybody may reach. So replicas need no common key. Addresses are masked, so
//! that a token does not print a network's layout.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use agentgateway_policy::{Carrier, RequestContext, SessionPersistence};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

/// Layout of a token: version, backend, first use, last use, masked address and port, checksum.
const LENGTH: usize = 39;
const VERSION: u8 = 1;
/// By how much clocks of replicas may differ.
const CLOCK_LEEWAY_SECONDS: u32 = 60;

/// Where a session's requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// None for backends that choose endpoints themselves.
    pub(crate) endpoint: Option<SocketAddr>,
    created: u32,
    used: u32,
}

/// The session that a request belongs to, or may begin.
pub(crate) struct Session<'a> {
    policy: &'a SessionPersistence,
    token: Option<[u8; LENGTH]>,
    /// Seconds since the epoch.
    now: u32,
}

impl<'a> Session<'a> {
    /// Reads the token of a request, if it has one.
    pub(crate) fn of(policy: &'a SessionPersistence, headers: &HeaderMap, since_epoch: Duration) -> Session<'a> {
        let text = match &policy.carrier {
            Carrier::Cookie { name, .. } => cookie(headers, name),
            Carrier::Header(name) => headers.get(name).and_then(|v| v.to_str().ok()),
        };
        let decoded = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let token = decoded.and_then(|bytes| bytes.try_into().ok());
        Session { policy, token, now: u32::try_from(since_epoch.as_secs()).unwrap_or(u32::MAX) }
    }

    /// Whether there is a token at all.
    pub(crate) fn is_known(&self) -> bool {
        self.token.is_some()
    }

    /// Where the session is, when it is on this backend and not over.
    pub(crate) fn place(&self, backend: &str) -> Option<Place> {
        let place = open(self.token.as_ref()?, backend)?;
        let is_over = |since: u32, limit: Option<Duration>| {
            limit.is_some_and(|limit| u64::from(self.now.saturating_sub(since)) >= limit.as_secs().max(1))
        };
        let from_the_future = place.created.max(place.used) > self.now.saturating_add(CLOCK_LEEWAY_SECONDS);
        let over =
            is_over(place.created, self.policy.absolute_timeout) || is_over(place.used, self.policy.idle_timeout);
        (!over && !from_the_future).then_some(place)
    }

    /// Tells the client where its session is, unless its token says so already.
    pub(crate) fn answer(
        &self,
        backend: &str,
        endpoint: Option<SocketAddr>,
        context: &RequestContext,
        to: &mut HeaderMap,
    ) {
        let known = self.place(backend).filter(|place| place.endpoint == endpoint);
        let is_fresh = |place: &Place| self.policy.idle_timeout.is_none() || place.used >= self.now;
        if known.as_ref().is_some_and(is_fresh) {
            return;
        }
        let created = known.map_or(self.now, |place| place.created);
        let text = URL_SAFE_NO_PAD.encode(seal(backend, &Place { endpoint, created, used: self.now }));
        match &self.policy.carrier {
            Carrier::Header(name) => {
                if let Ok(value) = HeaderValue::try_from(text) {
                    to.insert(name, value);
                }
            }
            Carrier::Cookie { name, permanent } => {
                let mut cookie = format!("{name}={text}; Path={}; HttpOnly", cookie_path(context));
                if context.scheme == "https" {
                    cookie.push_str("; Secure");
                }
                if let Some(whole) = self.policy.absolute_timeout.filter(|_| *permanent) {
                    let age = u64::from(self.now.saturating_sub(created));
                    cookie.push_str(&format!("; Max-Age={}", whole.as_secs().saturating_sub(age)));
                }
                if let Ok(value) = HeaderValue::try_from(cookie) {
                    to.append(SET_COOKIE, value);
                }
            }
        }
    }
}

/// The prefix by which the route matched: the cookie is for requests that take this route.
fn cookie_path(context: &RequestContext) -> &str {
    let prefix = context.matched_prefix.as_deref().unwrap_or_default().trim_end_matches('/');
    let is_plain = prefix.starts_with('/') && prefix.bytes().all(|b| b.is_ascii_graphic() && b != b';');
    if is_plain { prefix } else { "/" }
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|v| v.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

fn hash(of: &str, backend: &str, parts: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(of);
    hasher.update(&(backend.len() as u64).to_be_bytes()).update(backend.as_bytes()).update(parts);
    *hasher.finalize().as_bytes()
}

fn name_of(backend: &str) -> [u8; 32] {
    hash("agentgateway session v1 backend", backend, &[])
}

fn mask(backend: &str, times: &[u8]) -> [u8; 32] {
    hash("agentgateway session v1 mask", backend, times)
}

fn checksum(backend: &str, token: &[u8]) -> [u8; 32] {
    hash("agentgateway session v1 checksum", backend, token)
}

fn seal(backend: &str, place: &Place) -> [u8; LENGTH] {
    let endpoint = place.endpoint.unwrap_or(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0));
    let ip = match endpoint.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut token = Vec::with_capacity(LENGTH);
    token.push(VERSION);
    token.extend(name_of(backend).iter().take(4));
    token.extend(place.created.to_be_bytes());
    token.extend(place.used.to_be_bytes());
    let mask = mask(backend, token.get(5..13).unwrap_or_default());
    let address = ip.octets().into_iter().chain(endpoint.port().to_be_bytes());
    token.extend(address.zip(mask).map(|(byte, mask)| byte ^ mask));
    let checksum = checksum(backend, &token);
    token.extend(checksum.iter().take(8));
    token.try_into().unwrap_or([0; LENGTH])
}

fn open(token: &[u8; LENGTH], backend: &str) -> Option<Place> {
    let (rest, version) = (token.get(1..)?, token.first()?);
    let (name, rest) = rest.split_first_chunk::<4>()?;
    let (created, rest) = rest.split_first_chunk::<4>()?;
    let (used, rest) = rest.split_first_chunk::<4>()?;
    let (masked, sum) = rest.split_first_chunk::<18>()?;
    if *version != VERSION || !name_of(backend).starts_with(name) {
        return None;
    }
    if !checksum(backend, token.get(..LENGTH - 8)?).starts_with(sum) {
        return None;
    }
    let mask = mask(backend, token.get(5..13)?);
    let mut address = *masked;
    address.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    let (ip, port) = address.split_first_chunk::<16>()?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    let endpoint = (port != 0).then(|| SocketAddr::new(Ipv6Addr::from(*ip).to_canonical(), port));
    Some(Place { endpoint, created: u32::from_be_bytes(*created), used: u32::from_be_bytes(*used) })
}

#[cfg(test)]
mod tests;
