//! Answers that the gateway gives itself.

use agentgateway_upstream::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

/// A short text for people.
pub(crate) fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The text that goes with a status when there is nothing more to tell the client.
pub(crate) fn for_status(status: StatusCode) -> Response<Body> {
    text(
        status,
        match status {
            StatusCode::BAD_REQUEST => "bad request\n",
            StatusCode::NOT_FOUND => "no route matches the request\n",
            StatusCode::MISDIRECTED_REQUEST => "this connection is not for the host\n",
            StatusCode::BAD_GATEWAY => "the backend gave no valid response\n",
            StatusCode::SERVICE_UNAVAILABLE => "the backend is unavailable\n",
            StatusCode::GATEWAY_TIMEOUT => "the backend gave no response in time\n",
            _ => "the gateway cannot answer the request\n",
        },
    )
}
