//! One worker: a thread with a single-threaded runtime, its connections and its upstream pool.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use agentgateway_telemetry::access_log::{self, AccessLog, WorkerLog};
use agentgateway_telemetry::metrics::HttpMetrics;
use agentgateway_upstream::{AddressRules, Resolver, Upstream};
use ahash::AHashMap;
use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

use crate::connection::{self, registry::Registry};
use crate::limits::{CONNECTION_SWEEP, HEAD_TIMEOUT, MAX_COMMANDS, MAX_HANDED_OVER, STALL_PROBE};
use crate::listen::accept;
use crate::snapshot::Snapshot;
use crate::udp;

/// What all workers share.
#[derive(Clone)]
pub struct Shared {
    /// The configuration in force.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Counters.
    pub metrics: Arc<HttpMetrics>,
    /// Names.
    pub resolver: Resolver,
    /// Addresses that backends may have.
    pub address_rules: Arc<AddressRules>,
    /// None: no access log.
    pub access_log: Option<AccessLog>,
    /// The runtime of the main thread: child processes, blocking work.
    pub background: tokio::runtime::Handle,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drain {
    /// Not at all.
    #[default]
    Serving,
    /// Clients are asked to go elsewhere with their next request.
    Announced,
    /// Idle connections are closed, others when their request is done.
    Closing,
}

/// What a request may use on its thread.
pub struct Worker {
    /// Number of the worker, from 0.
    pub id: usize,
    /// Connections to backends.
    pub upstream: Upstream,
    /// The runtime of the main thread: child processes, blocking work.
    pub background: tokio::runtime::Handle,
    /// Counters.
    pub metrics: Arc<HttpMetrics>,
    /// None: no access log.
    pub access_log: Option<WorkerLog>,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) registry: Registry,
    drain: Cell<Drain>,
    /// By how much it came late to its tasks when that was looked at last.
    lag: Cell<Duration>,
    pub(crate) peers: Arc<[Peer]>,
    random: Cell<u64>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Worker {
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain.get() != Drain::Serving
    }

    /// By how much it came late to its tasks when that was looked at last.
    pub(crate) fn lag(&self) -> Duration {
        self.lag.get()
    }

    /// Any number; good enough to spread load, and no secret.
    pub fn random(&self) -> u64 {
        // splitmix64
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub(crate) fn random_below(&self, n: u64) -> u64 {
        u64::try_from((u128::from(self.random()) * u128::from(n)) >> 64).unwrap_or(0)
    }
}

/// What workers know of each other.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Open connections.
    pub(crate) connections: AtomicU32,
    /// Takes accepted sockets.
    pub(crate) handover: mpsc::Sender<Accepted>,
}

/// An accepted socket on its way to the worker that will serve it.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) source: std::net::SocketAddr,
    pub(crate) bind_key: Arc<str>,
    pub(crate) port: u16,
}

/// A change of a worker's sockets.
pub(crate) enum Command {
    /// Accept on this socket.
    Listen { bind_key: Arc<str>, socket: Listening },
    /// Take what waits in the socket's queue, then close it, then answer.
    Unlisten { bind_key: Arc<str>, done: oneshot::Sender<()> },
}

/// A socket that clients reach.
pub(crate) enum Listening {
    Tcp(std::net::TcpListener),
    Udp(std::net::UdpSocket),
}

/// The workers, as the main thread sees them.
pub struct Workers {
    pub(crate) commands: Vec<mpsc::Sender<Command>>,
    drain: watch::Sender<Drain>,
    peers: Arc<[Peer]>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` workers.
    ///
    /// # Errors
    /// A thread or its runtime could not be made.
    pub fn start(count: usize, shared: &Shared) -> std::io::Result<Workers> {
        let (drain, draining) = watch::channel(Drain::default());
        let mut peers = Vec::with_capacity(count);
        let mut receivers = Vec::with_capacity(count);
        for _ in 0..count {
            let (handover, accepted) = mpsc::channel(MAX_HANDED_OVER);
            peers.push(Peer { connections: AtomicU32::new(0), handover });
            receivers.push(accepted);
        }
        let peers: Arc<[Peer]> = peers.into();
        let (mut commands, mut threads) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (id, accepted) in receivers.into_iter().enumerate() {
            let (sender, receiver) = mpsc::channel(MAX_COMMANDS);
            let (shared, draining, peers) = (shared.clone(), draining.clone(), Arc::clone(&peers));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let thread = std::thread::Builder::new().name(format!("worker-{id}")).spawn(move || {
                let local = tokio::task::LocalSet::new();
                runtime.block_on(local.run_until(run(id, shared, draining, peers, receiver, accepted)));
            })?;
            commands.push(sender);
            threads.push(thread);
        }
        Ok(Workers { commands, drain, peers, threads })
    }

    /// Open connections of all workers.
    pub fn connections(&self) -> u32 {
        self.peers.iter().map(|p| p.connections.load(Ordering::Relaxed)).sum()
    }

    /// Tells all workers how far the end has come.
    pub fn drain(&self, stage: Drain) {
        self.drain.send_replace(stage);
    }

    /// Ends the threads; connections that are still open are cut.
    pub fn stop(self) {
        drop(self.commands);
        for thread in self.threads {
            // A worker that panicked has said so already.
            let _ended = thread.join();
        }
    }
}

async fn run(
    id: usize,
    shared: Shared,
    mut drain: watch::Receiver<Drain>,
    peers: Arc<[Peer]>,
    mut commands: mpsc::Receiver<Command>,
    mut accepted: mpsc::Receiver<Accepted>,
) {
    let worker = Rc::new(Worker {
        id,
        upstream: Upstream::new(shared.resolver, shared.address_rules),
        background: shared.background,
        metrics: shared.metrics,
        access_log: shared.access_log.as_ref().map(AccessLog::worker),
        snapshot: shared.snapshot,
        registry: Registry::default(),
        drain: Cell::new(*drain.borrow()),
        lag: Cell::new(Duration::ZERO),
        peers,
        random: Cell::new(ahash::RandomState::new().hash_one(id)),
    });
    tokio::task::spawn_local(flush_log(Rc::clone(&worker)));
    tokio::task::spawn_local(watch_stalls(Rc::clone(&worker)));
    let mut sweep = tokio::time::interval(CONNECTION_SWEEP);
    let sockets: RefCell<AHashMap<Arc<str>, oneshot::Sender<oneshot::Sender<()>>>> = RefCell::default();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Listen { bind_key, socket }) => {
                    let (stop, stopped) = oneshot::channel();
                    sockets.borrow_mut().insert(Arc::clone(&bind_key), stop);
                    let worker = Rc::clone(&worker);
                    match socket {
                        Listening::Tcp(socket) => tokio::task::spawn_local(accept(worker, bind_key, socket, stopped)),
                        Listening::Udp(socket) => tokio::task::spawn_local(udp::serve(worker, bind_key, socket, stopped)),
                    };
                }
                Some(Command::Unlisten { bind_key, done }) => {
                    if let Some(stop) = sockets.borrow_mut().remove(&bind_key) {
                        // The accept loop answers when it has closed; if it has ended already, `done` is dropped here.
                        let _ = stop.send(done);
                    }
                }
                None => return,
            },
            Some(socket) = accepted.recv() => connection::start(&worker, socket),
            Ok(()) = drain.changed() => {
                let stage = *drain.borrow_and_update();
                worker.drain.set(stage);
                worker.registry.drain(stage);
            }
            _ = sweep.tick() => {
                worker.registry.sweep(HEAD_TIMEOUT);
                // Connections that were opened after the end was announced are told now.
                worker.registry.drain(worker.drain.get());
            }
        }
    }
}

async fn flush_log(worker: Rc<Worker>) {
    let Some(log) = &worker.access_log else { return };
    loop {
        tokio::time::sleep(access_log::FLUSH_INTERVAL).await;
        log.flush();
    }
}

/// Counts how often the worker did not reach its tasks in time, which means that something ran too long on it.
async fn watch_stalls(worker: Rc<Worker>) {
    let (interval, late) = STALL_PROBE;
    loop {
        let due = Instant::now() + interval;
        tokio::time::sleep(interval).await;
        let lag = due.elapsed();
        worker.lag.set(lag);
        if lag > late {
            worker.metrics.worker_stalls.fetch_add(1, Ordering::Relaxed);
        }
    }
}
