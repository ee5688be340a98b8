//! What is waited for before a connection is served: it is given up when the gateway closes.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::registry::{Connection, Run, State};

/// Pause before a second look at a beginning that is too short to tell: it would be seen again at once.
pub(super) const PEEK_AGAIN: Duration = Duration::from_millis(10);

/// A step of which nothing remains when it is given up.
pub(super) struct Opening<'a, T> {
    step: Pin<Box<dyn Future<Output = T> + 'a>>,
    closing: bool,
}

impl<'a, T> Opening<'a, T> {
    /// What the step gives; None when the connection is to end first.
    pub(super) async fn run(state: &Rc<State>, step: impl Future<Output = T> + 'a) -> Option<T> {
        Run::new(Opening { step: Box::pin(step), closing: false }, Rc::clone(state)).await.flatten()
    }
}

impl<T> Future for Opening<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if self.closing {
            return Poll::Ready(None);
        }
        self.step.as_mut().poll(cx).map(Some)
    }
}

impl<T> Connection for Opening<'_, T> {
    fn shut_down(mut self: Pin<&mut Self>) {
        self.closing = true;
    }
}
