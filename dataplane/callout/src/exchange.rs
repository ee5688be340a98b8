//! One HTTP request to a service, with an answer that is read as a whole.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agentgateway_upstream::{Body, Cluster, Upstream};
use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Request, Response};

use crate::Error;
use crate::limits::{MAX_ANSWER_BYTES, MAX_CONNECT_TRIES};

/// Asks a service within `limit`; `Host` is the service's own where the request has none. The answer's
/// trailers are among its headers.
///
/// # Errors
/// No answer, or one that is too large.
pub async fn exchange(
    upstream: &Upstream,
    cluster: &Arc<Cluster>,
    request: Request<Bytes>,
    limit: Duration,
) -> Result<Response<Bytes>, Error> {
    let asked = async {
        let response = send(upstream, cluster, request.map(Body::from)).await?;
        let (mut head, body) = response.into_parts();
        let (body, trailers) = read(body).await?;
        head.headers.extend(trailers);
        Ok(Response::from_parts(head, body))
    };
    tokio::time::timeout(limit, asked).await.unwrap_or(Err(Error::Timeout(limit)))
}

/// Sends a request, to other endpoints where no connection comes about, and gives the head of the answer.
pub(crate) async fn send(
    upstream: &Upstream,
    cluster: &Arc<Cluster>,
    mut request: Request<Body>,
) -> Result<Response<Body>, Error> {
    if !request.headers().contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(cluster.authority().as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    let mut tries = 1;
    loop {
        let picked = upstream.pick(cluster).await?;
        match upstream.try_send(&picked, request).await {
            Ok(response) => return Ok(response),
            Err(failed) => match failed.unsent {
                Some(unsent) if tries < MAX_CONNECT_TRIES && failed.error.retry_safe => {
                    tries += 1;
                    request = *unsent;
                }
                _ => return Err(failed.error.into()),
            },
        }
    }
}

async fn read(mut body: Body) -> Result<(Bytes, HeaderMap), Error> {
    use http_body::Body as _;
    let (mut data, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|e| Error::Answer(format!("it broke off: {e}")))?;
        match frame.into_data() {
            Ok(bytes) if data.len() + bytes.len() > MAX_ANSWER_BYTES => {
                return Err(Error::Answer(format!("it has more than {MAX_ANSWER_BYTES} bytes")));
            }
            Ok(bytes) => data.extend_from_slice(&bytes),
            Err(other) => trailers.extend(other.into_trailers().unwrap_or_default()),
        }
    }
    Ok((data.freeze(), trailers))
}
