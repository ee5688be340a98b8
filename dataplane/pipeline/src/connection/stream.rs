//! A stream: a connection whose bytes go to a backend unread.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use agentgateway_telemetry::access_log::StreamEntry;
use agentgateway_upstream::{Cluster, Opened, Picked};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::registry::{Kind, Run, State};
use super::relay::Relay;
use super::{Client, Opening};
use crate::limits::MAX_CONNECT_TRIES;
use crate::snapshot::{BackendKind, StreamListener, StreamRoute};
use crate::worker::Worker;

/// Serves a connection of a TCP listener.
pub(super) async fn serve(client: Client, listener: Arc<StreamListener>, stream: TcpStream) {
    let mut flow = Flow::new(&client.worker, listener, client.source, "TCP");
    let Some(Some(chosen)) = Opening::run(&client.state, flow.choose()).await else { return };
    flow.carry(&client.state, chosen, stream, Vec::new()).await;
}

/// Where a stream goes.
pub(crate) struct Chosen {
    pub(crate) backend: Arc<str>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) picked: Picked,
}

/// One TCP connection or UDP session, from the choice of its backend to its end. It is counted, and logged when it is dropped.
pub(crate) struct Flow {
    worker: Rc<Worker>,
    listener: Arc<StreamListener>,
    route: Option<Arc<StreamRoute>>,
    source: SocketAddr,
    protocol: &'static str,
    pub(crate) server_name: Option<String>,
    start: Instant,
    received: Cell<u64>,
    sent: Cell<u64>,
    pub(crate) endpoint: Option<SocketAddr>,
    reason: Option<String>,
    /// Whether its end is told.
    told: bool,
}

/// A backend's key, its cluster, and the hash of the client where its load balancer hashes addresses.
type Target = (Arc<str>, Arc<Cluster>, Option<u64>);

impl Flow {
    pub(crate) fn new(
        worker: &Rc<Worker>,
        listener: Arc<StreamListener>,
        source: SocketAddr,
        protocol: &'static str,
    ) -> Self {
        listener.metrics.begun.fetch_add(1, Ordering::Relaxed);
        listener.metrics.open.fetch_add(1, Ordering::Relaxed);
        Flow {
            worker: Rc::clone(worker),
            listener,
            route: None,
            source,
            protocol,
            server_name: None,
            start: Instant::now(),
            received: Cell::new(0),
            sent: Cell::new(0),
            endpoint: None,
            reason: None,
            told: true,
        }
    }

    /// A route by server name, a backend by weight, and an endpoint of it. None: there is none, and the flow knows why.
    pub(crate) async fn choose(&mut self) -> Option<Chosen> {
        if let Some(why) = self.listener.denied.clone() {
            self.because(format!("denied: {why}"));
            return None;
        }
        let name = self.server_name.as_deref().unwrap_or_default();
        let Some(route) = self.listener.routes.matching(name).next().cloned() else {
            self.because("no route matches");
            return None;
        };
        self.route = Some(Arc::clone(&route));
        let (backend, cluster, hash) = match self.backend(&route) {
            Ok(found) => found,
            Err(why) => {
                self.because(why);
                return None;
            }
        };
        match self.worker.upstream.pick_hashed(&cluster, hash).await {
            Ok(picked) => Some(Chosen { backend, cluster, picked }),
            Err(error) => {
                self.because(format!("{}: {error}", error.reason()));
                None
            }
        }
    }

    fn backend(&self, route: &StreamRoute) -> Result<Target, String> {
        if route.total_weight == 0 {
            return Err("the route has no backend".into());
        }
        let mut draw = self.worker.random_below(route.total_weight);
        for (weight, backend) in &route.backends {
            let weight = u64::from(*weight);
            if draw >= weight {
                draw -= weight;
                continue;
            }
            let key = backend.as_ref().ok_or("the backend reference is invalid")?;
            let snapshot = self.worker.snapshot();
            let backend = snapshot.backends.get(key).ok_or("the backend does not exist")?;
            if let Some(why) = &backend.denied {
                return Err(format!("denied: {why}"));
            }
            let hash = backend.hash.as_ref().and_then(|policies| policies.of_address(self.source));
            return match &backend.kind {
                BackendKind::Cluster(cluster) => Ok((Arc::clone(key), Arc::clone(cluster), hash)),
                BackendKind::Inspected(..) | BackendKind::Protocol(_) => {
                    Err("the backend speaks a protocol of its own".into())
                }
                BackendKind::Broken(why) => Err(format!("backend_invalid: {why}")),
            };
        }
        Err("the route has no backend".into())
    }

    /// Connects, and carries bytes both ways until the end. `read` are bytes of the client that were read already.
    pub(super) async fn carry<S>(mut self, state: &Rc<State>, chosen: Chosen, stream: S, read: Vec<u8>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connected = Opening::run(state, self.connect(chosen)).await;
        let Some(Some(opened)) = connected else { return };
        state.set_kind(Kind::Stream);
        let metrics = Arc::clone(&self.listener.metrics);
        let (received, sent) = (&self.received, &self.sent);
        let relay = Relay::new(stream, opened.stream, read, |from_client, count| {
            let (flow, all) = if from_client { (received, &metrics.received) } else { (sent, &metrics.sent) };
            flow.set(flow.get() + count);
            all.fetch_add(count, Ordering::Relaxed);
            state.touch();
        });
        match Run::new(relay, Rc::clone(state)).await {
            Some(Ok(())) => {}
            Some(Err(broken)) => self.because(broken),
            None => self.because("idle for too long"),
        }
    }

    /// Another endpoint is tried when one refuses: no byte was sent yet.
    async fn connect(&mut self, chosen: Chosen) -> Option<Opened> {
        let Chosen { cluster, mut picked, .. } = chosen;
        // What is passed through is the client's own TLS with the backend.
        let encrypted = self.protocol == "TLS" && self.listener.tls.is_none();
        let mut tries = 1;
        loop {
            self.endpoint = Some(picked.endpoint().address());
            let error = match self.worker.upstream.open(&picked, encrypted).await {
                Ok(opened) => return Some(opened),
                Err(error) => error,
            };
            if tries < MAX_CONNECT_TRIES && error.retry_safe {
                tries += 1;
                self.worker.metrics.retries.fetch_add(1, Ordering::Relaxed);
                if let Ok(other) = self.worker.upstream.pick(&cluster).await {
                    picked = other;
                    continue;
                }
            }
            self.because(format!("{}: {error}", error.reason()));
            return None;
        }
    }

    /// Counts bytes of a datagram.
    pub(crate) fn count(&self, from_client: bool, bytes: usize) {
        let (flow, all) = if from_client {
            (&self.received, &self.listener.metrics.received)
        } else {
            (&self.sent, &self.listener.metrics.sent)
        };
        flow.set(flow.get() + bytes as u64);
        all.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// It failed, and this is why.
    pub(crate) fn because(&mut self, reason: impl Into<String>) {
        self.reason = Some(reason.into());
    }

    /// Somebody else tells of it.
    pub(super) fn forget(mut self) {
        self.told = false;
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let metrics = &self.listener.metrics;
        metrics.open.fetch_sub(1, Ordering::Relaxed);
        if self.reason.is_some() || !self.told {
            metrics.failed.fetch_add(1, Ordering::Relaxed);
        }
        if let (Some(log), true) = (&self.worker.access_log, self.told) {
            log.write_stream(&StreamEntry {
                listener: &self.listener.printed,
                route: self.route.as_ref().map_or("", |r| &r.printed),
                source: self.source,
                protocol: self.protocol,
                server_name: self.server_name.as_deref(),
                duration: self.start.elapsed(),
                received: self.received.get(),
                sent: self.sent.get(),
                endpoint: self.endpoint,
                reason: self.reason.as_deref(),
            });
        }
    }
}
