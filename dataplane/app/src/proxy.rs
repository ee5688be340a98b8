//! The running proxy: applies configuration changes, follows signals, and ends in order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentgateway_fetch::Network;
use agentgateway_otlp::Exporters;
use agentgateway_pipeline::listen::{ListenError, Sockets};
use agentgateway_pipeline::snapshot::Snapshot;
use agentgateway_pipeline::store::{Environment, Rejected, Store};
use agentgateway_pipeline::worker::{Drain, Shared, Workers};
use agentgateway_policy::State;
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use agentgateway_telemetry::access_log;
use agentgateway_telemetry::metrics::HttpMetrics;
use agentgateway_upstream::balancer::{self, Balancers};
use agentgateway_upstream::{EndpointRegistry, Resolver};
use anyhow::Context;
use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::admin::{self, Admin, Readiness};
use crate::dump::dump;
use crate::protocols::{Process, Protocols};
use crate::settings::Settings;
use crate::source::{self, Change, Source};
use crate::upstream_metrics;

/// How often sockets that could not be opened are tried again.
const RETRY_LISTEN: Duration = Duration::from_secs(2);
/// How long after a change the memory of what read and compiled it is given back. Changes that come meanwhile go with it.
const RELEASE_CODE_AFTER: Duration = Duration::from_secs(5);
/// How often the end is looked for while connections drain.
const DRAIN_POLL: Duration = Duration::from_millis(50);
/// How long child processes get to end by themselves.
const PROTOCOL_PATIENCE: Duration = Duration::from_secs(5);

/// How long the last spans and log records may take.
const EXPORT_PATIENCE: Duration = Duration::from_secs(3);

/// A proxy that serves.
struct Proxy {
    settings: Settings,
    store: Arc<Mutex<Store>>,
    endpoints: Arc<EndpointRegistry>,
    balancers: Arc<Balancers>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    workers: Workers,
    sockets: Sockets,
    readiness: Readiness,
    protocols: Protocols,
    unopened: bool,
    /// When code that ran for a change of the configuration is given back; None: there was no change since.
    release_code_at: Option<Instant>,
    exporters: Arc<Exporters>,
    exporting: JoinHandle<std::io::Result<()>>,
}

/// Runs until a signal ends it. `first` is the configuration to start with, where it is known.
pub(crate) async fn run(settings: Settings, mut source: Source, first: Option<Vec<Resource>>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut proxy = Proxy::start(settings, &source).await?;
    if let Some(resources) = first {
        let errors = proxy.replace(resources).await;
        if let Some(error) = errors.into_iter().next() {
            return Err(error).context("nothing was started");
        }
    }
    loop {
        tokio::select! {
            change = source.next() => proxy.change(change?).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => {
                proxy.settings.announce = Duration::ZERO;
                break;
            }
            () = tokio::time::sleep(RETRY_LISTEN), if proxy.unopened => {
                proxy.update_sockets().await;
            }
            () = at(proxy.release_code_at), if proxy.release_code_at.is_some() => {
                proxy.release_code_at = None;
                if let Err(error) = agentgateway_resident::release_code() {
                    tracing::debug!(%error, "code stays resident");
                }
            }
        }
    }
    tokio::select! {
        () = proxy.drain() => {}
        // A second signal means: now.
        _ = interrupt.recv() => tracing::warn!("interrupted while draining; open connections are cut"),
    }
    proxy.protocols.shutdown(PROTOCOL_PATIENCE).await;
    let Proxy { workers, exporters, exporting, .. } = proxy;
    tokio::task::spawn_blocking(|| workers.stop()).await.context("workers did not end")?;
    exporters.close(exporting, EXPORT_PATIENCE).await;
    tracing::info!("ended");
    Ok(())
}

/// Waits until then; None is now.
async fn at(when: Option<Instant>) {
    if let Some(when) = when {
        tokio::time::sleep_until(when).await;
    }
}

impl Proxy {
    async fn start(settings: Settings, source: &Source) -> anyhow::Result<Proxy> {
        let background = tokio::runtime::Handle::current();
        let metrics = Arc::new(HttpMetrics::default());
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let endpoints = Arc::new(EndpointRegistry::default());
        let balancers = Arc::new(Balancers::default());
        upstream_metrics::register(&mut registry, Arc::clone(&balancers));
        let (resolver, rules) = (Resolver::system(background.clone()), Arc::new(settings.address_rules()));
        let process = Process {
            endpoints: Arc::clone(&endpoints),
            rules: Arc::clone(&rules),
            resolver: resolver.clone(),
            background: background.clone(),
            session_key: settings.session_key.clone(),
        };
        let protocols = Protocols::new(&mut registry, process)?;
        if let Source::ControlPlane(started) = source {
            crate::discovery_metrics::register(&mut registry, Arc::clone(&started.status));
        }
        let policy_state = Arc::new(State::new());
        crate::limit_metrics::register(&mut registry, policy_state.limit_counters());
        let store = Arc::new(Mutex::new(Store::new(Environment {
            endpoints: Arc::clone(&endpoints),
            balancers: Arc::clone(&balancers),
            location: settings.location.clone(),
            policy_state: Arc::clone(&policy_state),
            metrics: Arc::clone(&metrics),
            protocols: Arc::new(protocols.clone()),
        })));
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let access_log = if settings.access_log {
            let log = access_log::start(settings.log_format, Arc::clone(&metrics));
            Some(log.context("cannot start the access log")?)
        } else {
            None
        };
        let exporters = Arc::clone(policy_state.exporters());
        crate::telemetry_metrics::register(&mut registry, Arc::clone(&policy_state));
        let network = Network { resolver: resolver.clone(), rules: Arc::clone(&rules) };
        background.spawn(agentgateway_fetch::run(policy_state, network));
        let configured = Arc::clone(&snapshot);
        let sending = agentgateway_otlp::Network {
            resolver: resolver.clone(),
            rules: Arc::clone(&rules),
            cluster: Arc::new(move |key| configured.load().cluster(key)),
        };
        let exporting = background.spawn(Arc::clone(&exporters).run(sending));
        background.spawn(balancer::run(Arc::clone(&balancers), resolver.clone(), Arc::clone(&rules)));
        let shared =
            Shared { snapshot: Arc::clone(&snapshot), metrics, resolver, address_rules: rules, access_log, background };
        let readiness = Readiness::not_ready("no configuration yet");
        let (dumped, balanced) = (Arc::clone(&store), Arc::clone(&balancers));
        let admin = Admin {
            dump: Box::new(move || {
                let (resources, snapshot, routes) = {
                    let store = dumped.lock().unwrap_or_else(PoisonError::into_inner);
                    (store.resources(), store.snapshot().clone(), store.routes())
                };
                format!("{:#}\n", dump(&resources, &snapshot, &routes, &balanced.read()))
            }),
            metrics: registry,
            ready: readiness.clone(),
        };
        admin::serve(admin, settings.admin, settings.metrics, settings.readiness).await?;
        let workers = Workers::start(settings.workers, &shared).context("cannot start the workers")?;
        tracing::info!(workers = settings.workers, version = env!("CARGO_PKG_VERSION"), "agentgateway started");
        let sockets = Sockets::default();
        Ok(Proxy {
            settings,
            store,
            endpoints,
            balancers,
            snapshot,
            workers,
            sockets,
            readiness,
            protocols,
            unopened: false,
            release_code_at: None,
            exporters,
            exporting,
        })
    }

    async fn change(&mut self, change: Change) {
        match change {
            Change::Whole(resources) => {
                for error in self.replace(resources).await {
                    tracing::error!("{error:#}");
                }
            }
            Change::Difference(mut update) => {
                let (changed, removed) = source::take(&mut update);
                let rejected = self.apply(|store| store.apply(changed, removed)).await;
                tracing::debug!(?update, rejected = rejected.len(), "configuration applied");
                update.answer(source::answer(rejected));
            }
        }
    }

    /// Applies a whole configuration; gives what is wrong with it.
    async fn replace(&mut self, resources: Vec<Resource>) -> Vec<anyhow::Error> {
        let rejected = self.apply(|store| store.replace(resources)).await;
        tracing::info!(rejected = rejected.len(), "configuration loaded");
        rejected.into_iter().map(|r| anyhow::anyhow!("{} {}: {}", r.kind.message(), r.key, r.reason)).collect()
    }

    /// Compiles a change and puts it into force: what routes need first, then sockets.
    async fn apply(&mut self, change: impl FnOnce(&mut Store) -> Vec<Rejected>) -> Vec<Rejected> {
        let (mut rejected, snapshot) = {
            let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            let rejected = change(&mut store);
            (rejected, store.snapshot().clone())
        };
        self.snapshot.store(Arc::new(snapshot));
        self.release_code_at.get_or_insert_with(|| Instant::now() + RELEASE_CODE_AFTER);
        self.endpoints.sweep();
        self.balancers.sweep();
        rejected.extend(self.update_sockets().await.into_iter().map(|e| Rejected {
            kind: Kind::Bind,
            key: e.bind_key.clone(),
            reason: e.to_string(),
        }));
        self.readiness.set_ready();
        rejected
    }

    async fn update_sockets(&mut self) -> Vec<ListenError> {
        let own = self.settings.own_ports();
        let mut snapshot = self.snapshot.load_full().as_ref().clone();
        let taken: Vec<_> = snapshot
            .binds
            .iter()
            .filter(|(_, b)| own.contains(&b.address.port()))
            .map(|(key, b)| (Arc::clone(key), b.address))
            .collect();
        for (key, _) in &taken {
            snapshot.binds.remove(key);
        }
        let mut errors = self.sockets.update(&snapshot, &self.workers).await;
        for error in &errors {
            tracing::error!("{error}");
        }
        self.unopened = !errors.is_empty();
        errors.extend(taken.into_iter().map(|(key, address)| ListenError {
            address,
            source: std::io::Error::new(std::io::ErrorKind::AddrInUse, "it is a port of the proxy itself"),
            bind_key: key.to_string(),
        }));
        errors
    }

    /// Fails the readiness probe, sends clients elsewhere, closes the sockets, and waits for requests to end.
    async fn drain(&mut self) {
        let deadline = tokio::time::Instant::now() + self.settings.drain_timeout;
        tracing::info!(connections = self.workers.connections(), "draining");
        self.readiness.set_not_ready("draining");
        self.workers.drain(Drain::Announced);
        tokio::time::sleep(self.settings.announce).await;
        self.sockets.close_all(&self.workers).await;
        self.workers.drain(Drain::Closing);
        while self.workers.connections() > 0 {
            if tokio::time::Instant::now() >= deadline {
                tracing::warn!(connections = self.workers.connections(), "the drain time is over; connections are cut");
                return;
            }
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }
}
