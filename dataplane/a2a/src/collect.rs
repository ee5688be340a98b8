//! Bodies that are read before they go on: whole, or as much as is looked at.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use agentgateway_upstream::{Body, BoxError};
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body broke off: {0}")]
    Broken(BoxError),
}

/// A body of at most `limit` bytes.
pub(crate) async fn whole(mut body: Body, limit: usize) -> Result<Bytes, Unread> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Unread::TooLarge(limit));
    }
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Err(Unread::TooLarge(limit));
        }
        if first.is_empty() {
            // Most come in one piece, which needs no copy.
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut all = BytesMut::with_capacity(first.len() + rest.len());
    all.extend_from_slice(&first);
    all.extend_from_slice(&rest);
    Ok(all.freeze())
}

/// Pieces that were read, and what follows them.
pub(crate) struct Resumed {
    pieces: VecDeque<Bytes>,
    rest: Option<Body>,
}

impl Resumed {
    /// A body of the same bytes.
    pub(crate) fn body(mut pieces: VecDeque<Bytes>, rest: Option<Body>) -> Body {
        match (pieces.len(), &rest) {
            (0, None) => Body::Empty,
            (1, None) => pieces.pop_front().map_or(Body::Empty, Body::from),
            _ => Body::stream(Resumed { pieces, rest }),
        }
    }
}

impl http_body::Body for Resumed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let held: u64 = self.pieces.iter().map(|piece| piece.len() as u64).sum();
        let rest = self.rest.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(held.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(held)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(all: &[&'static str]) -> VecDeque<Bytes> {
        all.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect()
    }

    #[tokio::test]
    async fn bodies_have_a_limit() {
        let body = || Resumed::body(pieces(&["ab", "cd", "e"]), None);
        assert_eq!(&whole(body(), 5).await.expect("fits")[..], b"abcde");
        assert!(matches!(whole(body(), 4).await, Err(Unread::TooLarge(4))));
        assert_eq!(whole(Body::Empty, 0).await.expect("nothing"), Bytes::new());
    }

    #[tokio::test]
    async fn what_was_read_comes_again_before_the_rest() {
        let rest = Resumed::body(pieces(&["cd", "ef"]), None);
        let body = Resumed::body(pieces(&["ab"]), Some(rest));
        assert_eq!(body.size_hint().exact(), Some(6));
        assert_eq!(&whole(body, 6).await.expect("fits")[..], b"abcdef");
        assert!(matches!(Resumed::body(pieces(&["ab"]), None), Body::Full(_)));
    }
}
