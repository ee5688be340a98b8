//! Bodies, or their beginnings, that are read for a policy and put back.

use std::pin::Pin;
use std::task::{Context, Poll};

use agentgateway_upstream::{Body, BoxError};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame, SizeHint};

/// How much of a body is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Bytes.
    pub limit: usize,
    /// Of larger bodies the beginning is read.
    pub partial: bool,
}

/// What was read of a body.
pub struct Read {
    /// The bytes, which are also in the body again.
    pub bytes: Bytes,
    /// There is more.
    pub is_partial: bool,
    /// They were read too.
    pub has_trailers: bool,
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It has more bytes than are read.
    TooLarge,
    /// It ended too early.
    BrokeOff,
    /// Somebody has it.
    Gone,
}

impl Refused {
    /// The answer to a request with such a body.
    pub fn status(self) -> StatusCode {
        match self {
            Refused::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refused::BrokeOff => StatusCode::BAD_REQUEST,
            Refused::Gone => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The same in words.
    pub fn text(self) -> &'static str {
        match self {
            Refused::TooLarge => "the body is too large",
            Refused::BrokeOff => "the body broke off",
            Refused::Gone => "the body is gone",
        }
    }
}

impl Reading {
    /// Reads as much as is asked for, and leaves a body that begins with it. Dropped before it is done, it takes the body along:
    /// the request is refused then.
    pub async fn read(self, body: &mut Option<Body>) -> Result<Read, Refused> {
        let mut source = body.take().ok_or(Refused::Gone)?;
        let hint = source.size_hint();
        let (mut read, mut trailers, mut ended) = (BytesMut::new(), None, source.is_end_stream());
        while !ended && read.len() <= self.limit {
            if !self.partial && source.size_hint().lower() > (self.limit - read.len()) as u64 {
                break;
            }
            match std::future::poll_fn(|cx| Pin::new(&mut source).poll_frame(cx)).await {
                None => ended = true,
                Some(Err(_)) => return Err(Refused::BrokeOff),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => read.extend_from_slice(&data),
                    Err(other) => trailers = other.into_trailers().ok(),
                },
            }
            ended |= source.is_end_stream();
        }
        let (read, is_partial) = (read.freeze(), !ended);
        let is_larger = is_partial || read.len() > self.limit;
        let (sent, has_trailers) = (read.slice(..read.len().min(self.limit)), trailers.is_some());
        *body = Some(if ended && trailers.is_none() {
            Body::from(read)
        } else {
            Body::stream(Restored { read: Some(read).filter(|r| !r.is_empty()), trailers, rest: source, hint, ended })
        });
        if is_larger && !self.partial {
            return Err(Refused::TooLarge);
        }
        Ok(Read { bytes: sent, is_partial: is_larger, has_trailers })
    }
}

/// A body with other bytes in the place of its first ones.
pub(crate) fn replace_beginning(body: Body, first: usize, with: Bytes) -> Body {
    Body::stream(Replaced { with: Some(with).filter(|with| !with.is_empty()), skip: first, rest: body })
}

struct Replaced {
    with: Option<Bytes>,
    skip: usize,
    rest: Body,
}

impl http_body::Body for Replaced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(with) = self.with.take() {
            return Poll::Ready(Some(Ok(Frame::data(with))));
        }
        loop {
            let frame = match std::task::ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            match frame.into_data() {
                Ok(mut data) => {
                    let skipped = data.len().min(self.skip);
                    self.skip -= skipped;
                    let data = data.split_off(skipped);
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.with.is_none() && self.rest.is_end_stream()
    }
}

/// A body whose beginning was read.
struct Restored {
    read: Option<Bytes>,
    trailers: Option<HeaderMap>,
    rest: Body,
    /// Of the whole.
    hint: SizeHint,
    /// Nothing is left in `rest`.
    ended: bool,
}

impl http_body::Body for Restored {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(read) = self.read.take() {
            self.hint = SizeHint::default();
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.trailers.is_none() && (self.ended || self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces that are there at once, and then trailers.
    struct Pieces(Vec<Frame<Bytes>>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready((!self.0.is_empty()).then(|| Ok(self.0.remove(0))))
        }
    }

    fn pieces(data: &[&'static str], trailer: bool) -> Option<Body> {
        let mut frames: Vec<_> = data.iter().map(|d| Frame::data(Bytes::from_static(d.as_bytes()))).collect();
        if trailer {
            frames.push(Frame::trailers(HeaderMap::from_iter([(
                http::HeaderName::from_static("x-sum"),
                http::HeaderValue::from_static("1"),
            )])));
        }
        Some(Body::stream(Pieces(frames)))
    }

    async fn rest(body: Option<Body>) -> (String, usize) {
        let (mut body, mut data, mut trailers) = (body.expect("a body"), Vec::new(), 0);
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame.expect("reads").into_data() {
                Ok(bytes) => data.extend_from_slice(&bytes),
                Err(_) => trailers += 1,
            }
        }
        (String::from_utf8(data).expect("text"), trailers)
    }

    #[tokio::test]
    async fn what_was_read_is_put_back() {
        for (data, limit, partial, sent) in [
            (vec!["abc", "def"], 6, false, Ok("abcdef")),
            (vec!["abc", "def"], 5, false, Err(Refused::TooLarge)),
            (vec!["abc", "def"], 5, true, Ok("abcde")),
            (vec!["abc", "def"], 2, true, Ok("ab")),
            (vec![], 5, false, Ok("")),
        ] {
            let mut body = pieces(&data, true);
            let read = Reading { limit, partial }.read(&mut body).await;
            let read = read.map(|f| String::from_utf8(f.bytes.to_vec()).expect("text"));
            assert_eq!(read, sent.map(str::to_owned), "{data:?} {limit}");
            assert_eq!(rest(body).await, (data.concat(), 1), "{data:?} {limit}");
        }
    }

    #[tokio::test]
    async fn a_size_that_is_told_is_believed() {
        let mut body = Some(Body::from(Bytes::from_static(b"too long")));
        assert_eq!(Reading { limit: 3, partial: false }.read(&mut body).await.err(), Some(Refused::TooLarge));
        assert_eq!(rest(body).await.0, "too long");
        assert_eq!(Reading { limit: 3, partial: false }.read(&mut None).await.err(), Some(Refused::Gone));
    }

    #[tokio::test]
    async fn the_beginning_is_replaced() {
        for (first, with, expected) in [(0, "", "abcdef"), (2, "x", "xcdef"), (4, "xyz", "xyzef"), (6, "", "")] {
            let body = pieces(&["abc", "def"], true).expect("a body");
            let replaced = replace_beginning(body, first, Bytes::from_static(with.as_bytes()));
            assert_eq!(rest(Some(replaced)).await, (expected.to_owned(), 1), "{first} {with}");
        }
    }

    #[tokio::test]
    async fn a_part_is_known_as_such() {
        let read = Reading { limit: 2, partial: true }.read(&mut pieces(&["abc"], false)).await.expect("reads");
        assert!(read.is_partial);
        let read = Reading { limit: 3, partial: true }.read(&mut pieces(&["abc"], true)).await.expect("reads");
        assert!(!read.is_partial, "{:?}", read.bytes);
    }
}
