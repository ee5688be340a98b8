//! Deny: refuses every request; what a policy that protects becomes when it cannot be applied.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::{Reason, Reply};

/// What clients read; the reason is for the log alone.
const TEXT: &str = "denied by policy";

/// The answer to every request.
pub(crate) fn reply(reason: &Arc<str>) -> Reply {
    let mut response = http::Response::new(Bytes::from_static(TEXT.as_bytes()));
    *response.status_mut() = StatusCode::FORBIDDEN;
    Reply { response, reason: Reason::Denied(Arc::clone(reason)) }
}
