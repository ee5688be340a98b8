//! One discovery stream: subscriptions in, pushes out, one push at a time.
//!
//! A push begins when the one before it was answered in full, and then with the newest snapshot; so a slow proxy never
//! queues old ones, and what is unanswered is bounded by one push.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentgateway_proto::discovery::Node;
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Version;
use agentgateway_proto::snapshot::Snapshot;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::metrics::Metrics;
use crate::push::Held;
use crate::registry::Phase;
use crate::rejections::{Rejection, Rejections, Reporter};
use crate::skew::View;

/// Longest wait for the answer to a push, after which the stream is closed and the proxy begins anew.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a request says.
pub(crate) enum Ask {
    /// It wants a kind, and has this of it.
    Subscribe { type_url: String, names: Vec<String>, has: BTreeMap<String, String> },
    /// It applied a response, or not.
    Answer { nonce: String, error: Option<agentgateway_proto::discovery::Status> },
    /// It does not want a kind any more.
    Unsubscribe { type_url: String },
}

/// What differs between the incremental and the state-of-the-world form.
pub(crate) trait Protocol: Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;
    /// One response before it is encoded.
    type Step: Send;

    fn node(request: &Self::Request) -> Option<&Node>;
    fn read(request: Self::Request) -> Ask;
    /// The responses that bring a peer with `held` to `snapshot`, in order.
    fn plan(held: &mut BTreeMap<Kind, Held>, snapshot: &Snapshot) -> VecDeque<Self::Step>;
    /// The response, and what it delivers: kind, key and version (none for a removal).
    fn encode(step: Self::Step, nonce: String, generation: &str, metrics: &Metrics)
    -> (Self::Response, Vec<Delivered>);
}

/// One resource of a response.
pub(crate) struct Delivered {
    pub(crate) kind: Kind,
    pub(crate) key: Arc<str>,
    pub(crate) version: Option<Version>,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) gateway: String,
    pub(crate) proxy: String,
    /// Whether it says what it knows, as our own proxies do. They subscribe to all kinds before they are answered.
    pub(crate) ours: bool,
}

pub(crate) struct Session<P: Protocol> {
    pub(crate) peer: Peer,
    pub(crate) view: Option<Arc<View>>,
    pub(crate) snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) rejections: Arc<Rejections>,
    pub(crate) metrics: Metrics,
    held: BTreeMap<Kind, Held>,
    /// Responses of the push in progress that are not sent yet.
    queue: VecDeque<P::Step>,
    /// Responses sent and not answered.
    unanswered: HashMap<String, Vec<Delivered>>,
    reporter: Reporter,
    nonce: u64,
    /// Generation of the last push.
    pushed: Option<Version>,
    push_began: Instant,
    /// Whether a kind was subscribed to since the last push.
    new_subscription: bool,
}

impl<P: Protocol> Session<P> {
    pub(crate) fn new(
        peer: Peer,
        view: Option<Arc<View>>,
        snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
        phase: watch::Receiver<Phase>,
        rejections: Arc<Rejections>,
        metrics: Metrics,
    ) -> Self {
        static STREAMS: AtomicU64 = AtomicU64::new(1);
        let stream = STREAMS.fetch_add(1, Ordering::Relaxed);
        Session {
            reporter: Reporter { gateway: peer.gateway.clone(), proxy: peer.proxy.clone(), stream },
            peer,
            view,
            snapshots,
            phase,
            rejections,
            metrics,
            held: BTreeMap::new(),
            queue: VecDeque::new(),
            unanswered: HashMap::new(),
            nonce: 0,
            pushed: None,
            push_began: Instant::now(),
            new_subscription: false,
        }
    }

    /// Runs until the peer leaves, breaks the protocol, or the server stops.
    pub(crate) async fn run(
        mut self,
        first: P::Request,
        mut requests: Streaming<P::Request>,
        responses: mpsc::Sender<Result<P::Response, Status>>,
    ) {
        self.metrics.streams.inc();
        tracing::info!(gateway = self.peer.gateway, proxy = self.peer.proxy, "discovery stream opened");
        let end = match self.on_request(first) {
            Ok(()) => self.serve(&mut requests, &responses).await,
            Err(status) => Err(status),
        };
        match end {
            Ok(()) => tracing::info!(gateway = self.peer.gateway, proxy = self.peer.proxy, "discovery stream closed"),
            Err(status) => {
                tracing::info!(
                    gateway = self.peer.gateway,
                    proxy = self.peer.proxy,
                    code = ?status.code(),
                    reason = status.message(),
                    "discovery stream ended"
                );
                // A peer that is gone needs no status.
                let _ = responses.try_send(Err(status));
            }
        }
        self.rejections.replace(&self.reporter, Vec::new());
        self.metrics.streams.dec();
    }

    async fn serve(
        &mut self,
        requests: &mut Streaming<P::Request>,
        responses: &mpsc::Sender<Result<P::Response, Status>>,
    ) -> Result<(), Status> {
        loop {
            let phase = *self.phase.borrow_and_update();
            if phase == Phase::Stopping {
                return Err(Status::unavailable("this control plane is stopping; another replica answers"));
            }
            if phase == Phase::Serving {
                self.begin_push();
            }
            let waits_for_answer = self.queue.is_empty() && !self.unanswered.is_empty();
            tokio::select! {
                request = requests.message() => match request? {
                    Some(request) => self.on_request(request)?,
                    None => return Ok(()),
                },
                permit = responses.reserve(), if !self.queue.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(response) = self.next_response() {
                            permit.send(Ok(response));
                        }
                    }
                    Err(_) => return Ok(()),
                },
                changed = self.snapshots.changed() => if changed.is_err() {
                    return Err(Status::unavailable("this control plane is stopping"));
                },
                changed = self.phase.changed() => if changed.is_err() {
                    return Err(Status::unavailable("this control plane is stopping"));
                },
                () = tokio::time::sleep_until(self.push_began + ANSWER_TIMEOUT), if waits_for_answer => {
                    return Err(Status::deadline_exceeded("the proxy did not answer a push in time"));
                }
            }
        }
    }

    fn begin_push(&mut self) {
        let subscribed = if self.peer.ours { self.held.contains_key(&Kind::Generation) } else { !self.held.is_empty() };
        if !subscribed || !self.queue.is_empty() || !self.unanswered.is_empty() {
            return;
        }
        let Some(newest) = self.snapshots.borrow_and_update().clone() else { return };
        let snapshot = self.view.as_ref().map_or_else(|| newest.clone(), |view| view.adapt(&newest));
        let generation = snapshot.generation().version;
        if self.pushed == Some(generation) && !self.new_subscription {
            return;
        }
        self.queue = P::plan(&mut self.held, &snapshot);
        self.pushed = Some(generation);
        self.new_subscription = false;
        self.push_began = Instant::now();
        if !self.queue.is_empty() {
            self.metrics.pushes.inc();
        }
    }

    fn next_response(&mut self) -> Option<P::Response> {
        let step = self.queue.pop_front()?;
        self.nonce += 1;
        let nonce = self.nonce.to_string();
        let generation = self.pushed.map(|version| version.to_string()).unwrap_or_default();
        let (response, delivered) = P::encode(step, nonce.clone(), &generation, &self.metrics);
        self.unanswered.insert(nonce, delivered);
        Some(response)
    }

    fn on_request(&mut self, request: P::Request) -> Result<(), Status> {
        match P::read(request) {
            Ask::Subscribe { type_url, names, has } => {
                if names.iter().any(|name| name != "*") {
                    return Err(Status::invalid_argument("only wildcard subscriptions are served"));
                }
                match Kind::from_type_url(&type_url) {
                    Some(kind) => {
                        self.held.insert(kind, Held::Named(has));
                        self.new_subscription = true;
                    }
                    None => tracing::debug!(type_url, proxy = self.peer.proxy, "subscription to a kind unknown here"),
                }
            }
            Ask::Unsubscribe { type_url } => {
                if let Some(kind) = Kind::from_type_url(&type_url) {
                    self.held.remove(&kind);
                }
            }
            Ask::Answer { nonce, error } => self.on_answer(&nonce, error),
        }
        Ok(())
    }

    fn on_answer(&mut self, nonce: &str, error: Option<agentgateway_proto::discovery::Status>) {
        let Some(delivered) = self.unanswered.remove(nonce) else { return };
        let rejected = error.map(|error| crate::service::resource_errors(&error, &delivered)).unwrap_or_default();
        for resource in &delivered {
            let refused = rejected.iter().any(|r| r.kind == resource.kind && r.key == *resource.key);
            if !refused {
                self.rejections.clear(&self.reporter, resource.kind, &resource.key);
            }
        }
        if let Some(first) = delivered.first().filter(|_| rejected.is_empty()) {
            self.rejections.clear(&self.reporter, first.kind, "");
        }
        for rejection in rejected {
            self.book(rejection);
        }
        if self.unanswered.is_empty() && self.queue.is_empty() {
            self.metrics.push_seconds.observe(self.push_began.elapsed().as_secs_f64());
        }
    }

    fn book(&self, rejection: Rejection) {
        tracing::warn!(
            gateway = self.peer.gateway,
            proxy = self.peer.proxy,
            kind = rejection.kind.message(),
            key = rejection.key,
            reason = rejection.reason,
            "a proxy cannot apply a resource"
        );
        self.metrics.rejected(rejection.kind).inc();
        self.rejections.add(&self.reporter, rejection);
    }
}
