//! Values that were computed for a message, and what keeps them from being so.

use std::fmt;

use bytes::Bytes;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, response};
use serde_json::Value;

use super::message::Target;
use crate::RequestContext;
use crate::body::Refused;
use crate::rewrite::set_host;

/// What a message becomes.
#[derive(Debug)]
pub(super) struct Values {
    /// None: without a value.
    pub(super) set: Vec<(Target, Option<String>)>,
    pub(super) add: Vec<(HeaderName, HeaderValue)>,
    pub(super) remove: Vec<HeaderName>,
    /// For policies after this one; None: it is taken away.
    pub(super) metadata: Vec<(String, Option<Value>)>,
    /// None: it stays.
    pub(super) body: Option<Bytes>,
}

/// Why a message cannot be transformed. It quotes nothing of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The body is compressed.
    Encoded,
    Body(Refused),
    NotText,
    NotJson,
    /// The expression for the body has no value.
    NoBody,
    /// The expression for a part of the request line has no value, or none that it may have.
    NoTarget(&'static str),
    /// Too many bodies wait to be transformed.
    Busy,
}

impl Failure {
    pub(super) fn status_of_request(self) -> StatusCode {
        match self {
            Failure::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Failure::Body(refused) => refused.status(),
            Failure::NotText | Failure::NotJson => StatusCode::BAD_REQUEST,
            Failure::NoBody | Failure::NoTarget(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Failure::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn status_of_response(self) -> StatusCode {
        match self {
            Failure::Encoded | Failure::Body(_) | Failure::NotText | Failure::NotJson => StatusCode::BAD_GATEWAY,
            Failure::NoBody | Failure::NoTarget(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Failure::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Encoded => f.write_str("the body is compressed"),
            Failure::Body(refused) => f.write_str(refused.text()),
            Failure::NotText => f.write_str("the body is not UTF-8"),
            Failure::NotJson => f.write_str("the body is not JSON"),
            Failure::NoBody => f.write_str("the expression for the body has no value"),
            Failure::NoTarget(name) => write!(f, "the expression for {name} has no value that it may have"),
            Failure::Busy => f.write_str("too many bodies wait to be transformed"),
        }
    }
}

impl Values {
    pub(super) fn take_body(&mut self) -> Option<Bytes> {
        self.body.take()
    }

    pub(super) fn into_request(self, head: &mut Parts, context: &mut RequestContext) -> Result<(), Failure> {
        for (target, value) in self.set {
            match target {
                Target::Header(name) => set(&mut head.headers, name, value),
                Target::Path => path(&mut head.uri, value).ok_or(Failure::NoTarget(":path"))?,
                Target::Method => head.method = method(value).ok_or(Failure::NoTarget(":method"))?,
                Target::Authority => {
                    let authority = value.and_then(authority).ok_or(Failure::NoTarget(":authority"))?;
                    set_host(head, context, &authority).ok_or(Failure::NoTarget(":authority"))?;
                }
                Target::Status => {}
            }
        }
        add_and_remove(&mut head.headers, self.add, self.remove);
        context.leave_each(self.metadata);
        Ok(())
    }

    pub(super) fn into_response(self, head: &mut response::Parts, context: &mut RequestContext) {
        for (target, value) in self.set {
            match target {
                Target::Header(name) => set(&mut head.headers, name, value),
                Target::Status => {
                    // One that switches protocols, or says that more is to come, is no answer that can be made up.
                    let code = value.and_then(|text| text.parse::<u16>().ok()).filter(|code| (200..600).contains(code));
                    let status = code.and_then(|code| StatusCode::from_u16(code).ok());
                    if head.status != StatusCode::SWITCHING_PROTOCOLS {
                        head.status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    }
                }
                Target::Path | Target::Method | Target::Authority => {}
            }
        }
        add_and_remove(&mut head.headers, self.add, self.remove);
        context.leave_each(self.metadata);
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<String>) {
    match value.and_then(|text| HeaderValue::try_from(text).ok()) {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    }
}

fn add_and_remove(headers: &mut HeaderMap, add: Vec<(HeaderName, HeaderValue)>, remove: Vec<HeaderName>) {
    for (name, value) in add {
        headers.append(name, value);
    }
    for name in remove {
        headers.remove(name);
    }
}

/// Path and query.
pub(crate) fn path(uri: &mut Uri, value: Option<String>) -> Option<()> {
    let text = value.filter(|text| text.starts_with('/'))?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    *uri = Uri::from_parts(parts).ok()?;
    Some(())
}

pub(crate) fn method(value: Option<String>) -> Option<Method> {
    value?.parse().ok().filter(|method| *method != Method::CONNECT)
}

pub(crate) fn authority(text: String) -> Option<Authority> {
    text.parse::<Authority>().ok().filter(|authority| !authority.as_str().contains('@'))
}
