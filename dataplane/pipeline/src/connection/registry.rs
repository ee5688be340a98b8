//! The open connections of one worker: which of them are idle, and how they are told to end.
//!
//! One sweep over all connections every second takes the place of a timer per request, which would cost every
//! request a few per cent of its time.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::limits::STREAM_IDLE_TIMEOUT;
use crate::worker::Drain;

/// What the worker knows of one connection.
pub(crate) struct State {
    /// Requests whose response is not sent completely.
    busy: Cell<u32>,
    /// When the last of them ended, bytes of a stream came, or the connection began.
    idle_since: Cell<Instant>,
    end: Cell<End>,
    /// Wakes the connection's task when `end` changes.
    waker: RefCell<Option<Waker>>,
    kind: Cell<Kind>,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not known yet.
    Opening,
    /// Is idle between requests.
    Http1,
    /// Is kept by pings, and ended by its client or when it is drained.
    Http2,
    /// Bytes, which may be rare.
    Stream,
}

/// Whether the connection is to end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    No,
    /// When its requests are answered.
    Graceful,
    /// At once: it is idle, or a request's head takes too long.
    Now,
}

/// Counts a request against its connection for as long as it lives.
pub(crate) struct Busy(Rc<State>);

impl Busy {
    pub(crate) fn new(state: &Rc<State>) -> Self {
        state.busy.set(state.busy.get() + 1);
        Busy(Rc::clone(state))
    }
}

impl Busy {
    /// The request ended at this time.
    pub(crate) fn ended(&self, now: Instant) {
        self.0.idle_since.set(now);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
    }
}

/// All connections of a worker.
#[derive(Default)]
pub(crate) struct Registry {
    states: RefCell<Vec<Rc<State>>>,
}

impl Registry {
    pub(crate) fn add(&self) -> Rc<State> {
        let state = Rc::new(State {
            busy: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            end: Cell::new(End::No),
            waker: RefCell::new(None),
            kind: Cell::new(Kind::Opening),
        });
        self.states.borrow_mut().push(Rc::clone(&state));
        state
    }

    /// Ends connections that have been idle for longer than `limit`, and forgets those that are gone.
    pub(crate) fn sweep(&self, limit: Duration) {
        let now = Instant::now();
        self.states.borrow_mut().retain(|state| {
            if Rc::strong_count(state) == 1 {
                return false;
            }
            let limit = match state.kind.get() {
                Kind::Opening | Kind::Http1 => limit,
                Kind::Http2 => return true,
                Kind::Stream => STREAM_IDLE_TIMEOUT,
            };
            if state.busy.get() == 0 && now.duration_since(state.idle_since.get()) > limit {
                state.tell(End::Now);
            }
            true
        });
    }

    /// Tells connections how far the end has come. HTTP/1.1 clients learn of an announced end from their next response.
    pub(crate) fn drain(&self, stage: Drain) {
        for state in self.states.borrow().iter() {
            if stage == Drain::Closing || state.kind.get() == Kind::Http2 && stage == Drain::Announced {
                state.tell(End::Graceful);
            }
        }
    }
}

impl State {
    pub(crate) fn set_kind(&self, kind: Kind) {
        self.kind.set(kind);
    }

    /// Bytes of a stream have come.
    pub(crate) fn touch(&self) {
        self.idle_since.set(Instant::now());
    }

    fn tell(&self, end: End) {
        if self.end.get() < end {
            self.end.set(end);
            if let Some(waker) = self.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }
}

/// A connection that can be asked to end.
pub(crate) trait Connection: Future {
    fn shut_down(self: Pin<&mut Self>);
}

/// Runs a connection until it ends by itself or is told to.
pub(crate) struct Run<C> {
    connection: C,
    state: Rc<State>,
    shutting_down: bool,
}

impl<C: Connection> Run<C> {
    pub(crate) fn new(connection: C, state: Rc<State>) -> Self {
        Run { connection, state, shutting_down: false }
    }
}

impl<C: Connection + Unpin> Future for Run<C> {
    /// None when it was told to end at once.
    type Output = Option<C::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match this.state.end.get() {
            End::No => {
                let mut waker = this.state.waker.borrow_mut();
                if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
            }
            End::Graceful if !this.shutting_down => {
                this.shutting_down = true;
                Pin::new(&mut this.connection).shut_down();
            }
            End::Graceful => {}
            End::Now => return Poll::Ready(None),
        }
        Pin::new(&mut this.connection).poll(cx).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Never(Rc<Cell<bool>>);

    impl Future for Never {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    impl Connection for Never {
        fn shut_down(self: Pin<&mut Self>) {
            self.0.set(true);
        }
    }

    fn poll(run: &mut Run<Never>) -> Poll<Option<()>> {
        Pin::new(run).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn idle_connections_end_and_busy_ones_do_not() {
        let registry = Registry::default();
        let state = registry.add();
        let mut run = Run::new(Never(Rc::default()), Rc::clone(&state));
        assert!(poll(&mut run).is_pending());
        let busy = Busy::new(&state);
        registry.sweep(Duration::ZERO);
        assert!(poll(&mut run).is_pending(), "a request is being served");
        drop(busy);
        registry.sweep(Duration::from_secs(60));
        assert!(poll(&mut run).is_pending(), "not idle for long enough");
        std::thread::yield_now();
        registry.sweep(Duration::ZERO);
        assert!(poll(&mut run).is_ready());
    }

    #[test]
    fn draining_shuts_down_when_it_is_time() {
        let registry = Registry::default();
        let (one, two) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let mut http1 = Run::new(Never(Rc::clone(&one)), registry.add());
        let state = registry.add();
        state.set_kind(Kind::Http2);
        let mut http2 = Run::new(Never(Rc::clone(&two)), state);
        registry.drain(Drain::Announced);
        assert!(poll(&mut http1).is_pending() && poll(&mut http2).is_pending());
        assert_eq!((one.get(), two.get()), (false, true));
        registry.drain(Drain::Closing);
        assert!(poll(&mut http1).is_pending());
        assert!(one.get());
    }

    #[test]
    fn a_stream_may_be_silent_for_longer_than_a_request() {
        let registry = Registry::default();
        let state = registry.add();
        state.set_kind(Kind::Stream);
        let mut run = Run::new(Never(Rc::default()), Rc::clone(&state));
        registry.sweep(Duration::ZERO);
        assert!(poll(&mut run).is_pending());
        state.idle_since.set(Instant::now().checked_sub(STREAM_IDLE_TIMEOUT * 2).expect("a time"));
        state.touch();
        registry.sweep(Duration::ZERO);
        assert!(poll(&mut run).is_pending(), "bytes have come");
        state.idle_since.set(Instant::now().checked_sub(STREAM_IDLE_TIMEOUT * 2).expect("a time"));
        registry.sweep(Duration::ZERO);
        assert!(poll(&mut run).is_ready());
    }

    #[test]
    fn connections_that_are_gone_are_forgotten() {
        let registry = Registry::default();
        drop(registry.add());
        registry.sweep(Duration::from_secs(60));
        assert!(registry.states.borrow().is_empty());
    }
}
