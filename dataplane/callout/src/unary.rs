//! One gRPC call with one message each way.

use std::sync::Arc;
use std::time::Duration;

use agentgateway_upstream::{Cluster, Upstream};
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, TE};
use http::{Request, StatusCode};
use prost::Message;

use crate::exchange::exchange;
use crate::{Error, frame};

/// Calls the method at `path`, "/package.Service/Method", within `limit`. The cluster must speak HTTP/2. `authority` is the name
/// under which the service is asked; None for that of the cluster.
///
/// # Errors
/// No answer, a status other than OK, or an answer that is none.
pub async fn unary<Q: Message, A: Message + Default>(
    upstream: &Upstream,
    cluster: &Arc<Cluster>,
    path: &'static str,
    authority: Option<&HeaderValue>,
    question: &Q,
    limit: Duration,
) -> Result<A, Error> {
    let mut request = Request::new(frame::encode(question));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.extend(authority.map(|authority| (HOST, authority.clone())));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.extend(timeout(limit).map(|value| (http::HeaderName::from_static("grpc-timeout"), value)));
    let response = exchange(upstream, cluster, request, limit).await?;
    if response.status() != StatusCode::OK {
        return Err(Error::Answer(format!("HTTP status {}; is it a gRPC service?", response.status())));
    }
    match status(response.headers())? {
        0 => frame::decode(response.body()),
        code => {
            let message = response.headers().get("grpc-message").and_then(|m| m.to_str().ok()).unwrap_or_default();
            Err(Error::Status { code, message: message.to_owned() })
        }
    }
}

/// In headers or trailers.
fn status(headers: &HeaderMap) -> Result<i32, Error> {
    let text = headers.get("grpc-status").and_then(|s| s.to_str().ok());
    text.and_then(|s| s.parse().ok()).ok_or_else(|| Error::Answer("it has no grpc-status".into()))
}

/// At most eight digits and a unit.
fn timeout(limit: Duration) -> Option<HeaderValue> {
    let milliseconds = limit.as_millis();
    let text = if milliseconds < 100_000_000 {
        format!("{milliseconds}m")
    } else {
        format!("{}S", limit.as_secs().min(99_999_999))
    };
    HeaderValue::try_from(text).ok()
}
