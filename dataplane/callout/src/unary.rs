//! One gRPC call with one message each way.

use std::sync::Arc;
use std::time::Duration;

use agentgateway_upstream::{Cluster, Upstream};
use http::Request;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, TE};
use prost::Message;

use crate::exchange::exchange;
use crate::{Error, frame, status};

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
    let mut request = head(path, authority).map(|()| frame::encode(question));
    request.headers_mut().extend(timeout(limit).map(|value| (http::HeaderName::from_static("grpc-timeout"), value)));
    let response = exchange(upstream, cluster, request, limit).await?;
    status::of_head(response.status())?;
    status::of(response.headers())?;
    frame::decode(response.body())
}

/// The head of a call of the method at `path`.
pub(crate) fn head(path: &'static str, authority: Option<&HeaderValue>) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.extend(authority.map(|authority| (HOST, authority.clone())));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    request
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
