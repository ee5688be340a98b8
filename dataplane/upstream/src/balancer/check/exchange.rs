//! One question of a health check, over a connection of its own, so that it tells of new connections too.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use agentgateway_tls::Offer;
use bytes::{BufMut, Bytes, BytesMut};
use futures::future::{Either, select};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::Kind;
use crate::address::AddressRules;
use crate::dial::dial;
use crate::endpoint::{Endpoint, Protocol};
use crate::limits;
use crate::stream::Stream;

/// Asks, without a limit of time.
pub(super) async fn ask(kind: &Kind, endpoint: &Arc<Endpoint>, rules: &AddressRules) -> Result<(), String> {
    let wants_http2 = matches!(kind, Kind::Grpc { .. }) || endpoint.protocol() == Protocol::Http2;
    let offer = match kind {
        Kind::Tcp => Offer::Nothing,
        _ if wants_http2 => Offer::Http2,
        _ => Offer::Http1,
    };
    let tls = endpoint.tls().map(|tls| (tls.as_ref(), offer));
    let (stream, _slot) = dial(endpoint, rules, tls, None).await.map_err(|error| error.to_string())?;
    let address = HeaderValue::from_str(&endpoint.address().to_string()).map_err(|error| error.to_string())?;
    match kind {
        Kind::Tcp => Ok(()),
        Kind::Http { host, path, method } => {
            let host = host.as_ref().unwrap_or(&address);
            let request = head(method.clone(), path, host, wants_http2.then_some(endpoint), Bytes::new())?;
            let response = exchange(stream, request, wants_http2).await?;
            let status = response.0;
            if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
        }
        Kind::Grpc { service, authority } => {
            let host = authority.as_ref().unwrap_or(&address);
            let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
            let mut request = head(Method::POST, &path, host, Some(endpoint), question(service))?;
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
            let (status, headers, body) = exchange(stream, request, true).await?;
            if !status.is_success() {
                return Err(format!("it answered {status}"));
            }
            match headers.get("grpc-status").map(HeaderValue::as_bytes) {
                Some(b"0") if serves(&body) => Ok(()),
                Some(b"0") => Err("it says that it does not serve".into()),
                Some(code) => Err(format!("it answered with gRPC status {}", String::from_utf8_lossy(code))),
                None => Err("it answered without a gRPC status".into()),
            }
        }
    }
}

/// A request; one of HTTP/2, for the endpoint, has its host in its URI.
fn head(
    method: Method,
    path: &PathAndQuery,
    host: &HeaderValue,
    http2: Option<&Arc<Endpoint>>,
    body: Bytes,
) -> Result<Request<Whole>, String> {
    let mut request = Request::new(Whole(Some(body).filter(|body| !body.is_empty())));
    *request.method_mut() = method;
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("agentgateway-health-check"));
    let Some(endpoint) = http2 else {
        *request.uri_mut() = Uri::from(path.clone());
        request.headers_mut().insert(header::HOST, host.clone());
        return Ok(request);
    };
    let scheme = if endpoint.tls().is_some() { "https" } else { "http" };
    let authority = host.to_str().map_err(|error| error.to_string())?;
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path.clone()).build();
    *request.uri_mut() = uri.map_err(|error| error.to_string())?;
    *request.version_mut() = Version::HTTP_2;
    Ok(request)
}

type Answer = (http::StatusCode, HeaderMap, Bytes);

/// The answer, with its trailers among its headers.
async fn exchange(stream: Stream, request: Request<Whole>, http2: bool) -> Result<Answer, String> {
    let failed = |error: hyper::Error| error.to_string();
    let io = TokioIo::new(stream);
    if http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(failed)?;
        beside(connection, async move { read(sender.send_request(request).await.map_err(failed)?).await }).await
    } else {
        let (mut sender, connection) = http1::handshake(io).await.map_err(failed)?;
        beside(connection, async move { read(sender.send_request(request).await.map_err(failed)?).await }).await
    }
}

/// Drives the connection while the answer is waited for.
async fn beside<C, A>(connection: C, answer: A) -> Result<Answer, String>
where
    C: Future<Output = hyper::Result<()>>,
    A: Future<Output = Result<Answer, String>>,
{
    match select(std::pin::pin!(answer), std::pin::pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // What came before the end is still to be read.
        Either::Right((_, answer)) => answer.await,
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, String> {
    let (head, mut body) = response.into_parts();
    let (mut headers, mut read) = (head.headers, BytesMut::new());
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        match frame.map_err(|error| error.to_string())?.into_data() {
            Ok(data) if read.len() + data.len() > limits::MAX_CHECK_BODY => {
                return Err(format!("its answer has more than {} bytes", limits::MAX_CHECK_BODY));
            }
            Ok(data) => read.extend_from_slice(&data),
            Err(frame) => headers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok((head.status, headers, read.freeze()))
}

/// A HealthCheckRequest in its frame: not compressed, length, field 1.
fn question(service: &str) -> Bytes {
    let length = |n: usize| prost::length_delimiter_len(n);
    let message = if service.is_empty() { 0 } else { 1 + length(service.len()) + service.len() };
    let mut framed = BytesMut::with_capacity(5 + message);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message).unwrap_or(u32::MAX));
    if !service.is_empty() {
        prost::encoding::string::encode(1, &service.to_owned(), &mut framed);
    }
    framed.freeze()
}

/// Whether a HealthCheckResponse says SERVING: field 1 is 1.
fn serves(body: &[u8]) -> bool {
    matches!(body, [0, _, _, _, _, 0x08, 1, ..])
}

/// A body that is there at once; it may go to another thread, which other bodies may not.
struct Whole(Option<Bytes>);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_of_grpc_is_framed_and_its_answer_read() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("a.B")[..], b"\0\0\0\0\x05\x0a\x03a.B");
        assert!(serves(&[0, 0, 0, 0, 2, 8, 1]));
        assert!(!serves(&[0, 0, 0, 0, 2, 8, 2]) && !serves(&[0, 0, 0, 0, 0]) && !serves(&[]));
    }
}
