//! Bodies for tests.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// A body in pieces that are there at once.
#[derive(Default)]
pub(crate) struct Pieces {
    data: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    broken: bool,
}

impl Pieces {
    pub(crate) fn of(data: &[&str]) -> Pieces {
        Pieces { data: data.iter().map(|d| Bytes::copy_from_slice(d.as_bytes())).collect(), ..Pieces::default() }
    }

    pub(crate) fn with_trailer(mut self, name: &'static str, value: &'static str) -> Pieces {
        self.trailers.get_or_insert_default().insert(name, http::HeaderValue::from_static(value));
        self
    }

    /// It ends with an error.
    pub(crate) fn broken(mut self) -> Pieces {
        self.broken = true;
        self
    }

    pub(crate) fn body(self) -> Body {
        Body::stream(self)
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self.data.pop_front() {
            Some(data) => Some(Ok(Frame::data(data))),
            None if std::mem::take(&mut self.broken) => Some(Err("broke off".into())),
            None => self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
        };
        Poll::Ready(frame)
    }
}

/// Data and trailers of a body.
pub(crate) async fn read_all(
    mut body: impl http_body::Body<Data = Bytes, Error = BoxError> + Unpin,
) -> Result<(Vec<u8>, HeaderMap), BoxError> {
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(bytes) => data.extend_from_slice(&bytes),
            Err(other) => trailers.extend(other.into_trailers().unwrap_or_default()),
        }
    }
    Ok((data, trailers))
}
