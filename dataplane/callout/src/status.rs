//! The status of a call, in the headers or trailers of its answer.

use http::{HeaderMap, StatusCode};

use crate::Error;

/// Whether a gRPC service answered at all.
pub(crate) fn of_head(status: StatusCode) -> Result<(), Error> {
    match status {
        StatusCode::OK => Ok(()),
        status => Err(Error::Answer(format!("HTTP status {status}; is it a gRPC service?"))),
    }
}

/// An error unless the status is OK.
pub(crate) fn of(headers: &HeaderMap) -> Result<(), Error> {
    let text = headers.get("grpc-status").and_then(|s| s.to_str().ok());
    match text.and_then(|s| s.parse().ok()) {
        Some(0) => Ok(()),
        Some(code) => {
            let message = headers.get("grpc-message").and_then(|m| m.to_str().ok()).unwrap_or_default();
            Err(Error::Status { code, message: message.to_owned() })
        }
        None => Err(Error::Answer("it has no grpc-status".into())),
    }
}
