//! What goes wrong at a target, as data: what the client is told, what the log says, and whether to try again.

use std::sync::Arc;

use agentgateway_upstream as upstream;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::jsonrpc::{self, Envelope};
use crate::protocol::code;

/// A failed exchange with a target. Cheap to clone: several requests may wait for one handshake.
#[derive(Debug, Clone, thiserror::Error)]
#[error("target \"{target}\" {message}")]
pub(crate) struct Fault {
    pub(crate) target: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) message: Arc<str>,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// No connection; nothing was sent.
    Unreachable,
    /// The connection broke or the process ended before an answer came.
    Broken,
    Timeout,
    /// An answer that is not of the protocol, or is too large.
    Protocol,
    /// The target does not know its session any more; the request was not processed.
    SessionGone,
    /// The queue to the target is full.
    Overloaded,
    /// It failed too often and is not asked for a while.
    CircuitOpen,
    /// The target answered with an HTTP status that is not a success.
    Status(Arc<Refused>),
    /// The target answered with a JSON-RPC error: the text of the error object.
    Rpc(Arc<str>),
}

/// An HTTP answer without success.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) challenge: Option<HeaderValue>,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) body: Bytes,
}

impl Fault {
    pub(crate) fn new(target: &Arc<str>, kind: Kind, message: impl Into<Arc<str>>) -> Self {
        Self { target: Arc::clone(target), kind, message: message.into() }
    }

    pub(crate) fn timeout(target: &Arc<str>, what: &str, after: std::time::Duration) -> Self {
        Self::new(target, Kind::Timeout, format!("did not {what} within {} s", after.as_secs_f64()))
    }

    pub(crate) fn upstream(target: &Arc<str>, error: &upstream::Error) -> Self {
        let kind = match error.kind {
            _ if error.retry_safe => Kind::Unreachable,
            upstream::Kind::NoEndpoints
            | upstream::Kind::Resolve
            | upstream::Kind::AddressRefused
            | upstream::Kind::Connect
            | upstream::Kind::Tls => Kind::Unreachable,
            upstream::Kind::Overloaded | upstream::Kind::CircuitOpen => Kind::Overloaded,
            upstream::Kind::Reset | upstream::Kind::RequestBody => Kind::Broken,
            upstream::Kind::Protocol => Kind::Protocol,
            upstream::Kind::Timeout => Kind::Timeout,
        };
        let word = match kind {
            Kind::Unreachable => "is unreachable",
            Kind::Overloaded => "is overloaded",
            _ => "failed",
        };
        Self::new(target, kind, format!("{word}: {error}"))
    }

    /// A word for metrics and the access log.
    pub(crate) fn reason(&self) -> &'static str {
        match &self.kind {
            Kind::Unreachable => "unreachable",
            Kind::Broken => "broken",
            Kind::Timeout => "timeout",
            Kind::Protocol => "protocol_error",
            Kind::SessionGone => "session_gone",
            Kind::Overloaded => "overloaded",
            Kind::CircuitOpen => "circuit_open",
            Kind::Status(_) => "http_status",
            Kind::Rpc(_) => "rpc_error",
        }
    }

    /// The JSON text of the error object that a client gets.
    pub(crate) fn error_object(&self) -> String {
        match &self.kind {
            Kind::Rpc(error) => error.to_string(),
            Kind::Status(refused) => match refused.rpc_error() {
                Some(error) => error.to_owned(),
                None => self.own_error(),
            },
            _ => self.own_error(),
        }
    }

    fn own_error(&self) -> String {
        let mut data = serde_json::json!({"target": &*self.target, "reason": self.reason()});
        if let Kind::Status(refused) = &self.kind {
            data["httpStatus"] = refused.status.as_u16().into();
        }
        jsonrpc::error_object(code::INTERNAL, &self.to_string(), Some(&data))
    }

    /// The answer to the request with this id.
    pub(crate) fn response(&self, id: &str) -> Bytes {
        jsonrpc::raw_error(Some(id), &self.error_object())
    }
}

impl Refused {
    /// The error object, when the body is a JSON-RPC error.
    pub(crate) fn rpc_error(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.body).ok()?;
        Envelope::parse(text).ok()?.error
    }

    /// Servers that lost their sessions do not all say 404 as the specification has it: the official TypeScript
    /// examples say 400 with a message about the session.
    pub(crate) fn is_about_session(&self) -> bool {
        match self.status {
            StatusCode::NOT_FOUND => true,
            StatusCode::BAD_REQUEST => {
                self.body.windows(7).any(|w| w.eq_ignore_ascii_case(b"session"))
                    || self.body.windows(15).any(|w| w.eq_ignore_ascii_case(b"not initialized"))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &'static str) -> Refused {
        Refused {
            status: StatusCode::from_u16(status).unwrap(),
            challenge: None,
            content_type: None,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn lost_sessions() {
        assert!(refused(404, "").is_about_session());
        assert!(refused(400, r#"{"error":"Bad Request: No valid Session ID provided"}"#).is_about_session());
        assert!(!refused(400, "bad params").is_about_session());
        assert!(!refused(500, "session").is_about_session());
    }

    #[test]
    fn the_client_learns_which_target_failed() {
        let fault = Fault::new(&"github".into(), Kind::Unreachable, "is unreachable: refused");
        let text = fault.error_object();
        assert!(text.contains(r#""message":"target \"github\" is unreachable: refused""#), "{text}");
        let own = r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}"#;
        let fault = Fault::new(&"github".into(), Kind::Status(Arc::new(refused(400, own))), "answered 400");
        assert_eq!(fault.error_object(), r#"{"code":1,"message":"x"}"#);
    }
}
