//! Deny: refuses every request; what a policy becomes when it cannot be applied.

use std::sync::Arc;

use http::StatusCode;

use crate::{Reason, Reply};

/// Answers every request with a fixed text; the reason is for the log alone.
pub(crate) fn reply(reason: &Arc<str>) -> Reply {
    Reply::new(StatusCode::FORBIDDEN, "denied by policy", Reason::Denied(Arc::clone(reason)))
}
