//! The body of a mirrored request: a bounded queue beside the body that the backend reads.
//!
//! The one who fills it never waits. Where the mirror is slower than that the copy breaks off.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use agentgateway_upstream::BoxError;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::limits::MAX_MIRROR_QUEUE_BYTES;
use crate::replay::Piece;

#[derive(Default)]
pub(crate) struct Queue {
    pieces: VecDeque<Piece>,
    bytes: usize,
    end: Option<End>,
    /// The mirror is gone.
    abandoned: bool,
    reader: Option<Waker>,
    watcher: Option<Waker>,
}

#[derive(Clone, Copy)]
enum End {
    Complete,
    TooSlow,
    BrokenOff,
}

/// The end that is filled.
pub(crate) struct Sender(Rc<RefCell<Queue>>);

/// The end that the mirror reads.
pub(crate) struct Tap {
    queue: Rc<RefCell<Queue>>,
    hint: SizeHint,
}

/// A queue for a body of this size.
pub(crate) fn pair(hint: SizeHint) -> (Sender, Tap) {
    let queue = Rc::new(RefCell::new(Queue::default()));
    (Sender(Rc::clone(&queue)), Tap { queue, hint })
}

impl Queue {
    fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.wake();
        if let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Sender {
    /// Adds a copy. False when the mirror is too slow, or gone, and gets no more.
    pub(crate) fn push(&self, piece: &Piece) -> bool {
        if self.0.borrow().abandoned {
            return false;
        }
        let mut queue = self.0.borrow_mut();
        queue.bytes = queue.bytes.saturating_add(piece.len());
        // One piece always fits, however the client has cut its body.
        if queue.bytes > MAX_MIRROR_QUEUE_BYTES && !queue.pieces.is_empty() {
            queue.pieces.clear();
            queue.end(End::TooSlow);
            return false;
        }
        queue.pieces.push_back(piece.clone());
        queue.wake();
        true
    }

    /// The body is complete.
    pub(crate) fn end(self) {
        self.0.borrow_mut().end(End::Complete);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut queue = self.queue.borrow_mut();
        queue.abandoned = true;
        queue.pieces.clear();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.borrow_mut().end(End::BrokenOff);
    }
}

/// Tells when a copy breaks off, also while whoever reads it waits for something else: a mirror that takes no more bytes.
pub(crate) struct Watcher(Rc<RefCell<Queue>>);

impl Tap {
    pub(crate) fn watch(&self) -> Watcher {
        Watcher(Rc::clone(&self.queue))
    }
}

impl Watcher {
    /// What happened; pending for ever when the copy is complete.
    pub(crate) async fn broken(self) -> &'static str {
        std::future::poll_fn(|cx| {
            let mut queue = self.0.borrow_mut();
            match queue.end {
                Some(end @ (End::TooSlow | End::BrokenOff)) => return Poll::Ready(end.text()),
                Some(End::Complete) => {}
                None => queue.watcher = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }
}

impl End {
    fn text(self) -> &'static str {
        match self {
            End::Complete => "",
            End::TooSlow => "the mirror is slower than the backend",
            End::BrokenOff => "the mirrored request broke off",
        }
    }
}

impl http_body::Body for Tap {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut queue = self.queue.borrow_mut();
        if let Some(piece) = queue.pieces.pop_front() {
            queue.bytes = queue.bytes.saturating_sub(piece.len());
            return Poll::Ready(Some(Ok(piece.into_frame())));
        }
        match queue.end {
            Some(End::Complete) => Poll::Ready(None),
            Some(end) => Poll::Ready(Some(Err(end.text().into()))),
            None => {
                queue.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::read_all;

    #[tokio::test]
    async fn a_slow_mirror_loses_its_copy_and_nobody_waits() {
        let (sender, tap) = pair(SizeHint::default());
        let piece = Piece::Data(Bytes::from(vec![0; MAX_MIRROR_QUEUE_BYTES / 2]));
        assert!(sender.push(&piece) && sender.push(&piece));
        assert!(!sender.push(&piece));
        assert!(tap.watch().broken().await.contains("slower"));
        let error = read_all(tap).await.expect_err("breaks off");
        assert!(error.to_string().contains("slower"), "{error}");
    }

    #[tokio::test]
    async fn a_mirror_that_reads_gets_more_than_the_queue_holds() {
        let (sender, tap) = pair(SizeHint::default());
        let piece = Piece::Data(Bytes::from(vec![0; MAX_MIRROR_QUEUE_BYTES / 2]));
        let write = async {
            for _ in 0..8 {
                assert!(sender.push(&piece));
                tokio::task::yield_now().await;
            }
            sender.end();
        };
        let ((), read) = tokio::join!(write, read_all(tap));
        assert_eq!(read.expect("reads").0.len(), 4 * MAX_MIRROR_QUEUE_BYTES);
    }

    #[tokio::test]
    async fn nothing_is_queued_for_a_mirror_that_is_gone() {
        let (sender, tap) = pair(SizeHint::default());
        drop(tap);
        assert!(!sender.push(&Piece::Data(Bytes::from_static(b"a"))));
    }
}
