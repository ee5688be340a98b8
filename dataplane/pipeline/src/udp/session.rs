//! One client's datagrams to one endpoint, and back.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use agentgateway_upstream::{Cluster, Datagrams, Picked};
use tokio::sync::Notify;

use super::Sessions;
use crate::connection::stream::{Chosen, Flow};
use crate::limits::{MAX_CONNECT_TRIES, MAX_UDP_WAITING, UDP_IDLE_TIMEOUT};
use crate::snapshot::{BackendKind, Snapshot, StreamListener};

/// A session.
pub(super) struct Session {
    source: SocketAddr,
    listener: Arc<StreamListener>,
    flow: RefCell<Option<Flow>>,
    /// Key and cluster of the backend, once it is chosen.
    backend: RefCell<Option<(Arc<str>, Arc<Cluster>)>>,
    /// None while the socket is being opened.
    open: RefCell<Option<Rc<Datagrams>>>,
    /// Datagrams that came before.
    waiting: RefCell<VecDeque<Box<[u8]>>>,
    last: Cell<Instant>,
    ended: Cell<bool>,
    /// Wakes the session's task: it is to end, or to go to another endpoint.
    changed: Notify,
}

impl Session {
    /// Starts the session's task.
    pub(super) fn start(sessions: &Rc<Sessions>, listener: &Arc<StreamListener>, source: SocketAddr) -> Rc<Session> {
        let flow = Flow::new(&sessions.worker, Arc::clone(listener), source, "UDP");
        let session = Rc::new(Session {
            source,
            listener: Arc::clone(listener),
            flow: RefCell::new(None),
            backend: RefCell::new(None),
            open: RefCell::new(None),
            waiting: RefCell::default(),
            last: Cell::new(Instant::now()),
            ended: Cell::new(false),
            changed: Notify::new(),
        });
        let (running, sessions) = (Rc::clone(&session), Rc::downgrade(sessions));
        tokio::task::spawn_local(async move {
            running.run(flow, &sessions).await;
            if let Some(sessions) = sessions.upgrade() {
                sessions.forget(source, &running);
            }
            // With the last reference the flow is told of.
            running.flow.take();
        });
        session
    }

    /// From the client. What cannot be sent at once is dropped, as a network does.
    pub(super) fn send(&self, bytes: &[u8]) {
        self.last.set(Instant::now());
        let open = self.open.borrow().clone();
        let Some(open) = open else { return self.wait(bytes) };
        match open.socket.try_send(bytes) {
            Ok(_) => self.count(true, bytes.len()),
            Err(error) if is_refused(&error) => {
                open.refused();
                self.wait(bytes);
                self.changed.notify_one();
            }
            Err(_) => self.drop_one(),
        }
    }

    fn wait(&self, bytes: &[u8]) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() < MAX_UDP_WAITING {
            waiting.push_back(bytes.into());
        } else {
            self.drop_one();
        }
    }

    /// Whether it stays, in the configuration as it is now. Where its endpoint is gone it is sent to another.
    pub(super) fn is_wanted(&self, now: Instant, listener: &StreamListener, snapshot: &Snapshot) -> bool {
        if now.duration_since(self.last.get()) > UDP_IDLE_TIMEOUT || self.ended.get() {
            return false;
        }
        let mut chosen = self.backend.borrow_mut();
        let Some((key, cluster)) = chosen.as_mut() else { return true };
        let mut routes = listener.routes.values().flat_map(|r| &r.backends);
        let routed = routes.any(|(weight, backend)| *weight > 0 && backend.as_ref() == Some(key));
        let backend = snapshot.backends.get(key).filter(|b| b.denied.is_none());
        let Some(BackendKind::Cluster(current)) = backend.map(|b| &b.kind).filter(|_| routed) else { return false };
        if listener.denied.is_some() {
            return false;
        }
        if !Arc::ptr_eq(current, cluster) {
            *cluster = Arc::clone(current);
            let lost = self.open.borrow().as_ref().is_some_and(|open| current.has_lost(open.endpoint()));
            if lost {
                self.changed.notify_one();
            }
        }
        true
    }

    /// It is to end now.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.changed.notify_one();
    }

    async fn run(&self, mut flow: Flow, sessions: &Weak<Sessions>) {
        let chosen = flow.choose().await;
        let Some(Chosen { backend, cluster, picked }) = chosen else {
            self.give_up(flow);
            return;
        };
        *self.backend.borrow_mut() = Some((backend, cluster));
        *self.flow.borrow_mut() = Some(flow);
        let mut next = Some(picked);
        while !self.ended.get() {
            let Some(open) = self.open(next.take(), sessions).await else { return };
            let open = Rc::new(open);
            *self.open.borrow_mut() = Some(Rc::clone(&open));
            let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
            waiting.iter().for_each(|bytes| self.send(bytes));
            tokio::select! {
                _refused = self.answer(&open, sessions) => {}
                () = self.changed.notified() => {}
            }
            *self.open.borrow_mut() = None;
        }
    }

    /// A socket to the first endpoint that can be reached.
    async fn open(&self, mut next: Option<Picked>, sessions: &Weak<Sessions>) -> Option<Datagrams> {
        let worker = Rc::clone(&sessions.upgrade()?.worker);
        let mut failed = None;
        for _ in 0..MAX_CONNECT_TRIES {
            let cluster = Arc::clone(&self.backend.borrow().as_ref()?.1);
            let picked = match next.take() {
                Some(picked) => Ok(picked),
                None => worker.upstream.pick(&cluster).await,
            };
            let opened = match picked {
                Ok(picked) => worker.upstream.open_datagrams(&picked).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok(open) => {
                    if let Some(flow) = self.flow.borrow_mut().as_mut() {
                        flow.endpoint = Some(open.endpoint().address());
                    }
                    return Some(open);
                }
                Err(error) if error.retry_safe => failed = Some(error),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let mut flow = self.flow.take()?;
        if let Some(error) = failed {
            flow.because(format!("{}: {error}", error.reason()));
        }
        self.give_up(flow);
        None
    }

    /// Carries the endpoint's datagrams to the client, until the endpoint refuses some.
    async fn answer(&self, open: &Datagrams, sessions: &Weak<Sessions>) {
        while open.socket.readable().await.is_ok() {
            let Some(sessions) = sessions.upgrade() else { return };
            let mut buffer = sessions.buffer.borrow_mut();
            match open.socket.try_recv(&mut buffer) {
                Ok(length) => {
                    self.last.set(Instant::now());
                    let bytes = buffer.get(..length).unwrap_or_default();
                    match sessions.socket.try_send_to(bytes, self.source) {
                        Ok(_) => self.count(false, length),
                        Err(_) => self.drop_one(),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return open.refused(),
            }
        }
    }

    /// What waits is lost.
    fn give_up(&self, flow: Flow) {
        let lost = std::mem::take(&mut *self.waiting.borrow_mut()).len();
        self.listener.metrics.dropped.fetch_add(lost as u64, Ordering::Relaxed);
        self.ended.set(true);
        drop(flow);
    }

    fn drop_one(&self) {
        self.listener.metrics.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, from_client: bool, bytes: usize) {
        if let Some(flow) = self.flow.borrow().as_ref() {
            flow.count(from_client, bytes);
        }
    }
}

/// The endpoint's machine says that nobody listens there.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable)
}
