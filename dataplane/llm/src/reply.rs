//! Answers to clients.

use agentgateway_llm_format::{Dialect, Fault};
use agentgateway_upstream::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::head::JSON;

/// An answer of JSON.
pub(crate) fn json(status: u16, headers: HeaderMap, body: Bytes) -> Response<Body> {
    with_type(status, headers, JSON, body.into())
}

/// An answer with a body of a content type.
pub(crate) fn with_type(status: u16, headers: HeaderMap, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.headers_mut() = headers;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// The gateway's own error, in the shape of the client's API.
pub(crate) fn fault(client: Dialect, fault: &Fault) -> Response<Body> {
    json(fault.kind.status(), HeaderMap::new(), fault.body(client))
}
