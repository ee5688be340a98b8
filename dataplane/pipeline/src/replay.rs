//! A request body that can be read again for a retry, and of which mirrors get copies.
//!
//! What was read is kept as long as it is small; nothing is read ahead of the backend, so a large body costs no more
//! memory than without.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use crate::limits::MAX_REPLAYED_BYTES;
use crate::tap::{self, Tap};

/// The body of a request for all its tries and copies.
pub(crate) struct Replay(Rc<RefCell<State>>);

struct State {
    source: Body,
    hint: SizeHint,
    /// What was read so far; None when that is too much, or nothing is tried again.
    kept: Option<Vec<Piece>>,
    kept_bytes: usize,
    end: End,
    /// The reader that may read; those before it belong to tries that were given up.
    turn: u32,
    taps: Vec<tap::Sender>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    Reached,
    Broken,
}

/// A frame that can be copied.
#[derive(Clone)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Piece {
    fn of(frame: Frame<Bytes>) -> Option<Piece> {
        match frame.into_data() {
            Ok(data) => Some(Piece::Data(data)),
            Err(other) => other.into_trailers().ok().map(Piece::Trailers),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Piece::Data(data) => data.len(),
            Piece::Trailers(trailers) => trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum(),
        }
    }

    pub(crate) fn into_frame(self) -> Frame<Bytes> {
        match self {
            Piece::Data(data) => Frame::data(data),
            Piece::Trailers(trailers) => Frame::trailers(trailers),
        }
    }
}

impl Replay {
    /// `again`: whether it may have to be read more than once.
    pub(crate) fn new(source: Body, again: bool) -> Replay {
        let hint = source.size_hint();
        let kept = again.then(Vec::new);
        let end = End::NotYet;
        Replay(Rc::new(RefCell::new(State { source, hint, kept, kept_bytes: 0, end, turn: 0, taps: Vec::new() })))
    }

    /// The body from its beginning; readers before this one get an error from now on.
    pub(crate) fn reader(&self) -> Body {
        let mut state = self.0.borrow_mut();
        state.turn += 1;
        Body::stream(Reader { state: Rc::clone(&self.0), turn: state.turn, at: 0 })
    }

    /// A copy of what the readers read. Broken off where the beginning was read already and is not kept.
    pub(crate) fn tap(&self) -> Tap {
        let mut state = self.0.borrow_mut();
        let (sender, tap) = tap::pair(state.hint);
        let beginning = state.kept.as_deref().unwrap_or_default();
        let is_whole = state.kept.is_some() || state.kept_bytes == 0;
        if is_whole && beginning.iter().all(|piece| sender.push(piece)) {
            match state.end {
                End::NotYet => state.taps.push(sender),
                End::Reached => sender.end(),
                End::Broken => {}
            }
        }
        tap
    }

    /// Whether another reader would get the whole body.
    pub(crate) fn is_whole(&self) -> bool {
        let state = self.0.borrow();
        state.kept.is_some() && state.end != End::Broken
    }

    /// What no reader has read; readers get an error from now on.
    pub(crate) fn into_unread(self) -> Body {
        let mut state = self.0.borrow_mut();
        state.turn += 1;
        state.taps.clear();
        std::mem::take(&mut state.source)
    }
}

impl State {
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.end != End::NotYet {
            return Poll::Ready(None);
        }
        let piece = match ready!(Pin::new(&mut self.source).poll_frame(cx)) {
            Some(Ok(frame)) => Piece::of(frame),
            Some(Err(error)) => {
                self.end = End::Broken;
                self.taps.clear();
                return Poll::Ready(Some(Err(error)));
            }
            None => None,
        };
        if let Some(piece) = &piece {
            self.keep(piece);
            self.taps.retain(|tap| tap.push(piece));
        }
        // Whoever reads may stop as soon as the source says that it ends, without asking again.
        if piece.is_none() || self.source.is_end_stream() {
            self.end = End::Reached;
            self.taps.drain(..).for_each(tap::Sender::end);
        }
        Poll::Ready(piece.map(|piece| Ok(piece.into_frame())))
    }

    fn keep(&mut self, piece: &Piece) {
        self.kept_bytes = self.kept_bytes.saturating_add(piece.len());
        if self.kept_bytes > MAX_REPLAYED_BYTES {
            self.kept = None;
        } else if let Some(kept) = &mut self.kept {
            kept.push(piece.clone());
        }
    }
}

/// One reading of the body.
struct Reader {
    state: Rc<RefCell<State>>,
    turn: u32,
    /// Pieces read so far, as long as they are kept.
    at: usize,
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut state = this.state.borrow_mut();
        if state.turn != this.turn {
            return Poll::Ready(Some(Err("the request was given up".into())));
        }
        if let Some(piece) = state.kept.as_ref().and_then(|kept| kept.get(this.at)) {
            this.at += 1;
            return Poll::Ready(Some(Ok(piece.clone().into_frame())));
        }
        let read = ready!(state.read(cx));
        this.at += usize::from(matches!(read, Some(Ok(_))));
        Poll::Ready(read)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.state.borrow();
        let unread = state.kept.as_ref().is_some_and(|kept| self.at < kept.len());
        !unread && (state.end == End::Reached || state.source.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.at == 0 { self.state.borrow().hint } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Pieces, read_all};

    #[tokio::test]
    async fn a_small_body_is_read_again_with_its_trailers() {
        let replay = Replay::new(Pieces::of(&["a", "bc"]).with_trailer("x-sum", "1").body(), true);
        let mut first = replay.reader();
        let frame = std::future::poll_fn(|cx| Pin::new(&mut first).poll_frame(cx)).await;
        assert_eq!(frame.and_then(Result::ok).and_then(|f| f.into_data().ok()).as_deref(), Some(&b"a"[..]));
        assert!(replay.is_whole());
        let (data, trailers) = read_all(replay.reader()).await.expect("reads");
        assert_eq!((data.as_slice(), &trailers["x-sum"]), (&b"abc"[..], &"1".parse().expect("value")));
        let (data, _) = read_all(replay.reader()).await.expect("reads");
        assert_eq!(data, b"abc");
        assert!(read_all(first).await.is_err(), "a try that was given up reads no more");
    }

    #[tokio::test]
    async fn a_large_body_is_read_once() {
        let large = "x".repeat(MAX_REPLAYED_BYTES);
        let replay = Replay::new(Pieces::of(&[&large, "y", "z"]).body(), true);
        assert!(replay.is_whole());
        let (data, _) = read_all(replay.reader()).await.expect("reads");
        assert_eq!(data.len(), MAX_REPLAYED_BYTES + 2);
        assert!(!replay.is_whole());
    }

    #[tokio::test]
    async fn nothing_is_kept_where_nothing_is_tried_again() {
        let replay = Replay::new(Pieces::of(&["a"]).body(), false);
        assert!(!replay.is_whole());
        assert_eq!(read_all(replay.reader()).await.expect("reads").0, b"a");
    }

    #[tokio::test]
    async fn copies_get_each_byte_once() {
        let replay = Replay::new(Pieces::of(&["a", "b"]).with_trailer("x-sum", "1").body(), true);
        let tap = replay.tap();
        drop(read_all(replay.reader()).await.expect("reads"));
        drop(read_all(replay.reader()).await.expect("reads"));
        let (data, trailers) = read_all(tap).await.expect("reads");
        assert_eq!((data.as_slice(), trailers.len()), (&b"ab"[..], 1));
    }

    #[tokio::test]
    async fn a_late_copy_begins_with_what_was_kept_or_breaks_off() {
        for (again, whole) in [(true, true), (false, false)] {
            let replay = Replay::new(Pieces::of(&["a", "b"]).body(), again);
            let mut reader = replay.reader();
            let _first = std::future::poll_fn(|cx| Pin::new(&mut reader).poll_frame(cx)).await;
            let tap = replay.tap();
            drop(read_all(reader).await.expect("reads"));
            assert_eq!(read_all(tap).await.is_ok_and(|(data, _)| data == b"ab"), whole);
            assert_eq!(read_all(replay.tap()).await.is_ok_and(|(data, _)| data == b"ab"), whole);
        }
    }

    #[tokio::test]
    async fn a_copy_of_a_body_that_breaks_off_breaks_off() {
        let replay = Replay::new(Pieces::of(&["a"]).broken().body(), true);
        let tap = replay.tap();
        assert!(read_all(replay.reader()).await.is_err());
        assert!(!replay.is_whole());
        assert!(read_all(tap).await.is_err());
    }

    #[tokio::test]
    async fn what_is_unread_is_given_back() {
        let replay = Replay::new(Pieces::of(&["a", "b"]).body(), true);
        let mut reader = replay.reader();
        let _first = std::future::poll_fn(|cx| Pin::new(&mut reader).poll_frame(cx)).await;
        assert_eq!(read_all(replay.into_unread()).await.expect("reads").0, b"b");
    }
}
