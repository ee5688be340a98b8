//! Answers of the gateway's own to gRPC clients: the status is in headers of a "Trailers-Only" response, with HTTP status
//! 200 (gRPC over HTTP2, "Responses"), since clients look at the HTTP status only where they must.

use agentgateway_upstream::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether a request is a gRPC call: these are POST over HTTP/2, so others cost no look at the headers.
pub(crate) fn is_call(head: &Parts) -> bool {
    head.version == Version::HTTP_2
        && head.method == Method::POST
        && head.headers.get(CONTENT_TYPE).is_some_and(|value| {
            let rest = value.as_bytes().strip_prefix(b"application/grpc");
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
        })
}

/// Turns an answer that the gateway made into the one for a gRPC client. What a backend said stays as it is.
pub(crate) fn translate(response: &mut Response<Body>) {
    if !matches!(response.body(), Body::Empty | Body::Full(_)) || response.headers().contains_key(GRPC_STATUS) {
        return;
    }
    let code = code(response.status());
    let text = match std::mem::take(response.body_mut()) {
        Body::Full(Some(text)) => message(&text),
        _ => HeaderValue::from_static(""),
    };
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(code));
    if !text.is_empty() {
        headers.insert(GRPC_MESSAGE, text);
    }
}

/// The mapping of gRPC's "HTTP to gRPC Status Code Mapping". Of the gateway's own answers 500 means that the backend
/// reference or the backend is invalid, for which GRPCRoute wants UNAVAILABLE.
fn code(status: StatusCode) -> u16 {
    match status.as_u16() {
        // Not an error: the policy that gave it is not one for gRPC.
        200..=299 => 2,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 500 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// Percent-encoded (gRPC over HTTP2, "Status-Message").
fn message(text: &[u8]) -> HeaderValue {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.trim_ascii() {
        match byte {
            b'%' | 0..=0x1f | 0x7f..=0xff => encoded.push_str(&format!("%{byte:02X}")),
            printable => encoded.push(char::from(*printable)),
        }
    }
    HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static("error"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::reply;

    #[test]
    fn calls_are_told_by_their_content_type() {
        let call = |content_type: &str, method: Method, version: Version| {
            let request = Request::builder().method(method).version(version).header("content-type", content_type);
            is_call(&request.body(()).expect("request").into_parts().0)
        };
        assert!(call("application/grpc", Method::POST, Version::HTTP_2));
        assert!(call("application/grpc+proto", Method::POST, Version::HTTP_2));
        assert!(!call("application/grpc-web", Method::POST, Version::HTTP_2));
        assert!(!call("application/json", Method::POST, Version::HTTP_2));
        assert!(!call("application/grpc", Method::POST, Version::HTTP_11));
        assert!(!call("application/grpc", Method::GET, Version::HTTP_2));
    }

    #[test]
    fn answers_carry_a_grpc_status_and_no_body() {
        for (status, code) in [(404, "12"), (503, "14"), (500, "14"), (403, "7"), (401, "16"), (413, "2")] {
            let mut response = reply::for_status(StatusCode::from_u16(status).expect("status"));
            translate(&mut response);
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["grpc-status"], code, "{status}");
            assert_eq!(response.headers()["content-type"], "application/grpc");
            assert!(matches!(response.body(), Body::Empty));
        }
    }

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(message("50 % ä\n".as_bytes()), "50 %25 %C3%A4");
    }
}
