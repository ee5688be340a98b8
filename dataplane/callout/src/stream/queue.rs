//! Messages on their way to the service: a queue, and the request's body that is made of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use agentgateway_upstream::BoxError;
use bytes::Bytes;
use http_body::Frame;

use crate::limits::MAX_STREAM_QUEUE_BYTES;

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
    state: State,
    /// Of who sends them.
    reader: Option<Waker>,
    /// Of who waits for room.
    writer: Option<Waker>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// Nothing is added.
    Finished,
    /// The call was given up.
    Cancelled,
    /// The body is gone: nobody sends anything.
    Abandoned,
}

/// The end that is filled.
pub(super) struct Sender(Rc<RefCell<Queue>>);

/// The request's body.
pub(super) struct Messages(Rc<RefCell<Queue>>);

pub(super) fn pair() -> (Sender, Messages) {
    let queue = Rc::default();
    (Sender(Rc::clone(&queue)), Messages(queue))
}

impl Sender {
    pub(super) fn push(&self, frame: Bytes) {
        let mut queue = self.0.borrow_mut();
        if queue.state == State::Open {
            queue.bytes += frame.len();
            queue.frames.push_back(frame);
            queue.wake_reader();
        }
    }

    pub(super) fn finish(&self) {
        self.end(State::Finished);
    }

    pub(super) fn waiting_bytes(&self) -> Option<usize> {
        let queue = self.0.borrow();
        (queue.state == State::Open).then_some(queue.bytes)
    }

    /// Whether there is room; false when nobody sends anything any more.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut queue = self.0.borrow_mut();
        if queue.state != State::Open {
            return Poll::Ready(false);
        }
        if queue.frames.is_empty() || queue.bytes < MAX_STREAM_QUEUE_BYTES {
            return Poll::Ready(true);
        }
        queue.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn end(&self, state: State) {
        let mut queue = self.0.borrow_mut();
        if queue.state == State::Open {
            queue.state = state;
            queue.wake_reader();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end(State::Cancelled);
    }
}

impl Queue {
    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut queue = self.0.borrow_mut();
        if queue.state == State::Cancelled {
            return Poll::Ready(Some(Err("the call was given up".into())));
        }
        if let Some(frame) = queue.frames.pop_front() {
            queue.bytes = queue.bytes.saturating_sub(frame.len());
            if queue.bytes < MAX_STREAM_QUEUE_BYTES {
                queue.wake_writer();
            }
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        if queue.state == State::Finished {
            return Poll::Ready(None);
        }
        queue.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let queue = self.0.borrow();
        queue.state == State::Finished && queue.frames.is_empty()
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        let mut queue = self.0.borrow_mut();
        if queue.state == State::Open {
            queue.state = State::Abandoned;
        }
        queue.frames.clear();
        queue.wake_writer();
    }
}
