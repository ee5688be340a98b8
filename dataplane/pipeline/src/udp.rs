//! Serves a UDP listener: the datagrams of one client address are a session, which stays with one endpoint.
//!
//! The kernel gives a client's datagrams to the same worker's socket always, so a session needs no lock.

mod session;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ahash::AHashMap;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use crate::limits::{MAX_DATAGRAM, MAX_UDP_SESSIONS, UDP_BURST, UDP_SWEEP};
use crate::snapshot::{Listeners, StreamListener};
use crate::worker::Worker;
use session::Session;

/// A bind's sessions on one worker.
pub(crate) struct Sessions {
    worker: Rc<Worker>,
    socket: UdpSocket,
    /// For the datagram that is just being carried, either way.
    buffer: RefCell<Vec<u8>>,
    /// By the client's address.
    all: RefCell<AHashMap<SocketAddr, Rc<Session>>>,
}

/// Serves until told to stop; sessions end with it.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    bind_key: Arc<str>,
    socket: std::net::UdpSocket,
    mut stop: oneshot::Receiver<oneshot::Sender<()>>,
) {
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(bind = %bind_key, %error, "the socket cannot be used");
            return;
        }
    };
    let buffer = RefCell::new(vec![0; MAX_DATAGRAM]);
    let sessions = Rc::new(Sessions { worker, socket, buffer, all: RefCell::default() });
    let mut sweep = tokio::time::interval(UDP_SWEEP);
    let done = loop {
        tokio::select! {
            biased;
            done = &mut stop => break done.ok(),
            _ = sweep.tick() => sessions.sweep(&bind_key),
            ready = sessions.socket.readable() => if ready.is_ok() {
                sessions.receive(&bind_key);
                tokio::task::yield_now().await;
            },
        }
    };
    sessions.all.take().values().for_each(|session| session.end());
    drop(sessions);
    if let Some(done) = done {
        // Nobody waits when the process is ending.
        let _ = done.send(());
    }
}

impl Sessions {
    /// Takes what has come, up to a burst.
    fn receive(self: &Rc<Self>, bind_key: &str) {
        let snapshot = self.worker.snapshot();
        let listener = match snapshot.binds.get(bind_key).map(|b| &b.listeners) {
            Some(Listeners::Stream(Some(listener))) => Some(listener),
            _ => None,
        };
        for _ in 0..UDP_BURST {
            let mut buffer = self.buffer.borrow_mut();
            // An error is what an earlier answer met, such as a client that is gone; or there is nothing more.
            let Ok((length, source)) = self.socket.try_recv_from(&mut buffer) else { return };
            if let Some(listener) = listener {
                self.datagram(listener, source, buffer.get(..length).unwrap_or_default());
            }
        }
    }

    fn datagram(self: &Rc<Self>, listener: &Arc<StreamListener>, source: SocketAddr, bytes: &[u8]) {
        let known = self.all.borrow().get(&source).cloned();
        let session = match known {
            Some(session) => session,
            None if self.all.borrow().len() >= MAX_UDP_SESSIONS => {
                listener.metrics.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            None => {
                let session = Session::start(self, listener, source);
                self.all.borrow_mut().insert(source, Rc::clone(&session));
                session
            }
        };
        session.send(bytes);
    }

    /// Ends what is idle or no longer configured, and moves on what lost its endpoint.
    fn sweep(&self, bind_key: &str) {
        let (now, snapshot) = (Instant::now(), self.worker.snapshot());
        let listener = match snapshot.binds.get(bind_key).map(|b| &b.listeners) {
            Some(Listeners::Stream(Some(listener))) => Some(listener),
            _ => None,
        };
        self.all.borrow_mut().retain(|_, session| {
            let keep = listener.is_some_and(|listener| session.is_wanted(now, listener, &snapshot));
            if !keep {
                session.end();
            }
            keep
        });
    }

    /// The session has ended by itself.
    fn forget(&self, source: SocketAddr, session: &Session) {
        let mut all = self.all.borrow_mut();
        if all.get(&source).is_some_and(|known| std::ptr::eq(Rc::as_ptr(known), session)) {
            all.remove(&source);
        }
    }
}
