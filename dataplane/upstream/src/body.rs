//! The one body type for both ways: requests up, responses down.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::pool::Lease;

/// Any error, as bodies carry it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body. It stays on the thread that made it.
#[derive(Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// All bytes at once; None when they were taken.
    Full(Option<Bytes>),
    /// From a client.
    Incoming(Incoming),
    /// From a backend, with what holds the connection.
    Upstream(UpstreamBody),
    /// Made by the gateway piece by piece.
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError>>>),
}

/// A backend's response body. When it is dropped its connection goes back to the pool.
pub struct UpstreamBody {
    // Dropped before the lease: the connection is ready again only when nothing reads from it.
    incoming: Incoming,
    _lease: Lease,
}

impl UpstreamBody {
    pub(crate) fn new(incoming: Incoming, lease: Lease) -> Self {
        UpstreamBody { incoming, _lease: lease }
    }
}

impl Body {
    /// Wraps any body.
    pub fn stream(body: impl http_body::Body<Data = Bytes, Error = BoxError> + 'static) -> Self {
        Body::Stream(Box::pin(body))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Body::Empty } else { Body::Full(Some(bytes)) }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Body::Empty => "Empty",
            Body::Full(_) => "Full",
            Body::Incoming(_) => "Incoming",
            Body::Upstream(_) => "Upstream",
            Body::Stream(_) => "Stream",
        })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let incoming = match self.get_mut() {
            Body::Empty => return Poll::Ready(None),
            Body::Full(bytes) => return Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Body::Stream(body) => return body.as_mut().poll_frame(cx),
            Body::Incoming(incoming) => incoming,
            Body::Upstream(upstream) => &mut upstream.incoming,
        };
        Poll::Ready(ready!(Pin::new(incoming).poll_frame(cx)).map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_none(),
            Body::Incoming(incoming) => incoming.is_end_stream(),
            Body::Upstream(upstream) => upstream.incoming.is_end_stream(),
            Body::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Body::Incoming(incoming) => incoming.size_hint(),
            Body::Upstream(upstream) => upstream.incoming.size_hint(),
            Body::Stream(body) => body.size_hint(),
        }
    }
}
