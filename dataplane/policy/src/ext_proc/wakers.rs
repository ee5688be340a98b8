//! One call is read by two tasks: the one that serves the request, and the one that sends its body to the backend.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use super::mode::Side;

/// Wakes whoever waits, in both directions: only that one knows whether what came is its.
#[derive(Debug, Default)]
pub(super) struct Wakers(Mutex<[Option<Waker>; 2]>);

impl Wakers {
    pub(super) fn set(&self, side: Side, waker: &Waker) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = all.get_mut(side.index()) {
            *slot = Some(waker.clone());
        }
    }

    fn wake_all(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        all.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}
