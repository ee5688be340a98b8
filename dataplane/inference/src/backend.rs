//! The inference backend kind: pools, and their place in the HTTP pipeline.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use agentgateway_pipeline::protocol::{BackendRequest, ProtocolBackend, ProtocolFactory};
use agentgateway_pipeline::{Error, worker::Worker};
use agentgateway_policy::Pool as Threads;
use agentgateway_proto::{key, v1};
use agentgateway_upstream::{AddressRules, Body, Cluster, EndpointRegistry, Resolver};
use dashmap::DashMap;
use futures::future::LocalBoxFuture;
use http::Response;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

use crate::limits::POOL_SWEEP;
use crate::metrics;
use crate::pool::{Parts, Pool, capacity};
use crate::readers::Readers;
use crate::serve;
use crate::state::PoolState;

/// Makes pools; holds what outlives their configuration.
#[derive(Debug, Clone)]
pub struct InferenceFactory {
    shared: Arc<Shared>,
}

/// What all pools share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) readers: Arc<Readers>,
    states: DashMap<String, Weak<PoolState>>,
    pools: Mutex<Vec<Weak<Pool>>>,
    /// For prompts that take too long to look through on a worker; started with the first pool.
    pub(crate) threads: std::sync::OnceLock<Threads>,
    seed: u64,
}

impl Shared {
    /// Pools in force.
    pub(crate) fn pools(&self) -> Vec<Arc<Pool>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }

    fn sweep(&self) {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).retain(|pool| pool.strong_count() > 0);
        self.states.retain(|_, state| state.strong_count() > 0);
        self.readers.sweep();
        for pool in self.pools() {
            pool.refresh();
            pool.state.sweep();
        }
    }
}

impl InferenceFactory {
    /// Metrics are read, and pools looked after, by tasks of the runtime `background`.
    pub fn new(
        endpoints: Arc<EndpointRegistry>,
        rules: Arc<AddressRules>,
        resolver: Resolver,
        background: &Handle,
    ) -> Self {
        let mut seed = [0; 8];
        // Without randomness prompts could be made that collide, which spoils no more than a choice.
        let _unlikely = getrandom::fill(&mut seed);
        let shared = Arc::new(Shared {
            readers: Readers::new(endpoints, rules, background.clone()),
            states: DashMap::new(),
            pools: Mutex::default(),
            threads: std::sync::OnceLock::new(),
            seed: u64::from_ne_bytes(seed),
        });
        background.spawn(look_after(Arc::downgrade(&shared), resolver));
        InferenceFactory { shared }
    }

    /// Adds the counters of all pools.
    pub fn register(&self, registry: &mut Registry) {
        metrics::register(registry, Arc::clone(&self.shared));
    }
}

async fn look_after(shared: Weak<Shared>, resolver: Resolver) {
    loop {
        tokio::time::sleep(POOL_SWEEP).await;
        let Some(shared) = shared.upgrade() else { return };
        for pool in shared.pools() {
            pool.cluster.resolve(&resolver).await;
        }
        shared.sweep();
    }
}

impl ProtocolFactory for InferenceFactory {
    fn compile(
        &self,
        backend: &v1::Backend,
        clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Arc<dyn ProtocolBackend>, String> {
        let Some(v1::backend::Kind::Inference(config)) = &backend.kind else {
            return Err("it is not an inference pool".into());
        };
        let cluster = clusters(&config.backend_key);
        let cluster = cluster.ok_or_else(|| format!("the pool's endpoints, {}, cannot be used", config.backend_key))?;
        let state = {
            let mut slot = self.shared.states.entry(backend.key.clone()).or_default();
            slot.upgrade().unwrap_or_else(|| {
                let fresh = Arc::new(PoolState::new(key::print_backend(backend), capacity(config)));
                *slot = Arc::downgrade(&fresh);
                fresh
            })
        };
        state.resize(capacity(config));
        let readers = Arc::clone(&self.shared.readers);
        let pool = Pool::compile(&backend.key, config, Parts { cluster, state, readers, seed: self.shared.seed })?;
        let pool = Arc::new(pool);
        self.shared.threads.get_or_init(|| Threads::start("prompts"));
        self.shared.pools.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&pool));
        Ok(Arc::new(Served { pool, shared: Arc::clone(&self.shared) }))
    }
}

/// A pool with what all pools share.
#[derive(Debug)]
struct Served {
    pool: Arc<Pool>,
    shared: Arc<Shared>,
}

impl ProtocolBackend for Served {
    fn handle(
        self: Arc<Self>,
        request: BackendRequest,
        worker: Rc<Worker>,
    ) -> LocalBoxFuture<'static, Result<Response<Body>, Error>> {
        Box::pin(async move { serve::handle(&self.pool, &self.shared, request, &worker).await })
    }
}
