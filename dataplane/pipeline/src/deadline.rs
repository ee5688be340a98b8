//! Response bodies that are cut: when the request's time is over, or when no piece came for too long.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use agentgateway_upstream::{Body, BoxError};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

struct Deadline {
    body: Body,
    sleep: Pin<Box<Sleep>>,
}

/// The body, which ends with an error when it is not complete at `deadline`.
pub(crate) fn until(deadline: Instant, body: Body) -> Body {
    match body {
        Body::Empty | Body::Full(_) => body,
        body => Body::stream(Deadline { body, sleep: Box::pin(tokio::time::sleep_until(deadline)) }),
    }
}

struct Idle {
    body: Body,
    limit: Duration,
    /// Whether a piece is waited for.
    waits: bool,
    sleep: Pin<Box<Sleep>>,
}

/// The body, which ends with an error when no piece of it comes for so long. A reader that takes its time is no such case: the
/// time begins when the next piece is asked for.
pub(crate) fn while_moving(limit: Duration, body: Body) -> Body {
    match body {
        Body::Empty | Body::Full(_) => body,
        body => Body::stream(Idle { body, limit, waits: false, sleep: Box::pin(tokio::time::sleep(limit)) }),
    }
}

impl http_body::Body for Idle {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waits = false;
            return Poll::Ready(frame);
        }
        if !self.waits {
            self.waits = true;
            let over = Instant::now() + self.limit;
            self.sleep.as_mut().reset(over);
        }
        if self.sleep.as_mut().poll(cx).is_ready() {
            // The backend's connection is closed with it.
            self.body = Body::Empty;
            return Poll::Ready(Some(Err("no piece of the response came for too long".into())));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl http_body::Body for Deadline {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.sleep.as_mut().poll(cx).is_ready() {
            // The backend's connection is closed with it.
            self.body = Body::Empty;
            return Poll::Ready(Some(Err("the request's timeout is over".into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Pieces, read_all};

    struct Never;

    impl http_body::Body for Never {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_late_is_cut_and_one_in_time_is_not() {
        let start = Instant::now();
        let deadline = start + Duration::from_secs(5);
        assert_eq!(read_all(until(deadline, Pieces::of(&["a", "b"]).body())).await.expect("in time").0, b"ab");
        assert!(read_all(until(deadline, Body::stream(Never))).await.is_err());
        assert!(start.elapsed() >= Duration::from_secs(5));
        assert!(matches!(until(deadline, Body::from(Bytes::from_static(b"x"))), Body::Full(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_move_is_cut() {
        let limit = Duration::from_secs(2);
        assert_eq!(read_all(while_moving(limit, Pieces::of(&["a", "b"]).body())).await.expect("moves").0, b"ab");
        let start = Instant::now();
        assert!(read_all(while_moving(limit, Body::stream(Never))).await.is_err());
        assert_eq!(start.elapsed(), limit);
    }
}
