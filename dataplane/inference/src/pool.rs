//! A compiled pool: its endpoints, and the choice among them for a request.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use agentgateway_proto::v1;
use agentgateway_upstream::{Cluster, Endpoint, Picked};
use arc_swap::ArcSwap;
use smallvec::SmallVec;
use tokio::runtime::Handle;

use crate::external::External;
use crate::flow::FlowControl;
use crate::limits::{DEFAULT_LRU_CAPACITY, DEFAULT_MATCHED_TOKENS, MIN_BLOCK_TOKENS};
use crate::objectives::Objectives;
use crate::picker::{Profile, ScorerKind, Scratch};
use crate::prompt::{Blocks, Prompt};
use crate::readers::{Readers, Source};
use crate::rewrite::Rewrites;
use crate::server::{self, Server};
use crate::state::{Number, PoolState};

/// A pool.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) key: Arc<str>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) profile: Profile,
    pub(crate) rewrites: Rewrites,
    pub(crate) objectives: Objectives,
    pub(crate) flow: FlowControl,
    pub(crate) background: Handle,
    /// None: the profile alone chooses.
    pub(crate) external: Option<External>,
    pub(crate) choice_header: Option<http::HeaderName>,
    pub(crate) state: Arc<PoolState>,
    pub(crate) block_tokens: usize,
    max_blocks: usize,
    seed: u64,
    source: Source,
    readers: Arc<Readers>,
    members: ArcSwap<Box<[Arc<Pod>]>>,
}

/// An endpoint of a pool.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) picked: Picked,
    pub(crate) server: Arc<Server>,
    number: Arc<Number>,
}

/// What a choice needs to know of a request.
#[derive(Debug)]
pub(crate) struct Wanted<'r> {
    pub(crate) blocks: Blocks,
    /// The model, as it is sent.
    pub(crate) model: Option<&'r str>,
    /// Where the request's session is.
    pub(crate) session: Option<SocketAddr>,
    /// Endpoints that were asked already.
    pub(crate) tried: Vec<SocketAddr>,
    /// Say why.
    pub(crate) explain: bool,
}

/// What was chosen.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// The best first.
    pub(crate) pods: SmallVec<[Arc<Pod>; 4]>,
    pub(crate) decided_by: Option<ScorerKind>,
    /// Blocks of the prompt, and those that the first one has.
    pub(crate) blocks: usize,
    pub(crate) cached: u32,
    pub(crate) candidates: usize,
    /// Whether the pool's external picker did it.
    pub(crate) is_external: bool,
    /// The scores, where they were asked for.
    pub(crate) why: Option<String>,
}

#[derive(Default)]
struct Work {
    scratch: Scratch,
    matched: Vec<u32>,
    indexes: Vec<usize>,
}

thread_local! {
    static WORK: RefCell<Work> = RefCell::default();
}

/// What pools are compiled with.
pub(crate) struct Parts {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) state: Arc<PoolState>,
    pub(crate) readers: Arc<Readers>,
    pub(crate) seed: u64,
}

/// Blocks that are remembered for each endpoint.
pub(crate) fn capacity(config: &v1::InferenceBackend) -> usize {
    let prefix = config.picker.as_ref().and_then(|picker| picker.prefix_cache.as_ref());
    or(prefix.map_or(0, |prefix| prefix.blocks_per_endpoint), DEFAULT_LRU_CAPACITY)
}

fn or(number: u32, usual: usize) -> usize {
    if number == 0 { usual } else { usize::try_from(number).unwrap_or(usize::MAX) }
}

impl Pool {
    pub(crate) fn compile(key: &str, config: &v1::InferenceBackend, parts: Parts) -> Result<Pool, String> {
        let profile = config.picker.as_ref().map(Profile::compile).transpose()?.unwrap_or_default();
        let prefix = config.picker.as_ref().and_then(|p| p.prefix_cache).unwrap_or_default();
        let block_tokens = or(prefix.block_tokens, MIN_BLOCK_TOKENS).max(MIN_BLOCK_TOKENS);
        let Parts { cluster, state, readers, seed } = parts;
        let header = match config.choice_header.as_str() {
            "" => None,
            name => Some(name.parse().map_err(|_| format!("{name:?} is no name of a header"))?),
        };
        let pool = Pool {
            key: key.into(),
            cluster,
            profile,
            rewrites: Rewrites::compile(&config.rewrites)?,
            objectives: Objectives::compile(&config.objectives),
            flow: FlowControl::compile(config.flow_control.as_ref())?,
            background: readers.background().clone(),
            external: config.external_picker.as_ref().map(|picker| External::compile(picker, &state.printed)),
            choice_header: header,
            state,
            block_tokens,
            max_blocks: (or(prefix.max_tokens, DEFAULT_MATCHED_TOKENS) / block_tokens).max(1),
            seed,
            source: source(config.metrics.as_ref())?,
            readers,
            members: ArcSwap::from_pointee(Box::default()),
        };
        pool.refresh();
        Ok(pool)
    }

    /// Looks at which endpoints there are now.
    pub(crate) fn refresh(&self) {
        let (known, mut now) = (self.members.load(), Vec::new());
        self.cluster.each_endpoint(&mut |picked| now.push(picked));
        let is_known = |(pod, picked): (&Arc<Pod>, &Picked)| Arc::ptr_eq(pod.picked.endpoint(), picked.endpoint());
        if known.len() == now.len() && known.iter().zip(&now).all(is_known) {
            return;
        }
        let pods = now.into_iter().map(|picked| {
            let address = picked.endpoint().address();
            let server = self.readers.server(picked.endpoint(), &self.source);
            Arc::new(Pod { picked, server, number: self.state.number(address) })
        });
        self.members.store(Arc::new(pods.collect()));
    }

    /// Whether no endpoint is known, perhaps because names were not looked up yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.load().is_empty()
    }

    /// Its endpoints.
    pub(crate) fn members(&self) -> arc_swap::Guard<Arc<Box<[Arc<Pod>]>>> {
        self.members.load()
    }

    /// Blocks of a prompt, where something asks for them.
    pub(crate) fn blocks(&self, prompt: &Prompt, body: &[u8]) -> Blocks {
        if !self.profile.uses(ScorerKind::PrefixCache) || prompt.is_empty() {
            return Blocks::default();
        }
        Blocks::of(prompt, body, self.block_tokens, self.max_blocks, self.seed)
    }

    /// Chooses endpoints for a request, and records its prompt as that of the first. None when there is no endpoint.
    pub(crate) fn choose(&self, wanted: &Wanted<'_>, random: &mut dyn FnMut() -> u64) -> Option<Chosen> {
        let began = Instant::now();
        let members = self.members.load();
        let now = server::now();
        self.mark(&members, now);
        let chosen = WORK.with_borrow_mut(|work| self.choose_with(work, &members, wanted, now, random))?;
        if let Some(first) = chosen.pods.first() {
            self.state.record(first.number.get(), wanted.blocks.hashes());
        }
        let counters = &self.state.counters;
        counters.choosing.observe(began.elapsed());
        counters.blocks.fetch_add(chosen.blocks as u64, Ordering::Relaxed);
        counters.blocks_cached.fetch_add(u64::from(chosen.cached), Ordering::Relaxed);
        let reason = chosen.decided_by.and_then(|kind| ScorerKind::ALL.iter().position(|k| *k == kind));
        if let Some(counter) = counters.choices.get(reason.unwrap_or(ScorerKind::ALL.len())) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Some(chosen)
    }

    fn choose_with(
        &self,
        work: &mut Work,
        members: &[Arc<Pod>],
        wanted: &Wanted<'_>,
        now: u64,
        random: &mut dyn FnMut() -> u64,
    ) -> Option<Chosen> {
        let Work { scratch, matched, indexes } = work;
        matched.clear();
        if !wanted.blocks.hashes().is_empty() {
            self.state.prefixes().matches(wanted.blocks.hashes(), matched);
        }
        // Those that serve; if none does, those that may again; if there is nothing else, those that failed the request before.
        let serves = |pod: &Pod| pod.picked.is_serving() && !pod.picked.endpoint().is_avoided();
        let is_new = |pod: &Pod| !wanted.tried.contains(&pod.server.address());
        let rules: [&dyn Fn(&Pod) -> bool; 3] = [&|pod| serves(pod) && is_new(pod), &is_new, &|_| true];
        for rule in rules {
            indexes.clear();
            indexes.extend(members.iter().enumerate().filter(|(_, pod)| rule(pod)).map(|(at, _)| at));
            if !indexes.is_empty() {
                break;
            }
        }
        let adapter = wanted.model.filter(|_| self.profile.uses(ScorerKind::LoraAffinity));
        scratch.candidates.clear();
        for pod in indexes.iter().filter_map(|at| members.get(*at)) {
            let mut candidate = pod.server.candidate(adapter, now);
            candidate.matched_blocks = matched.get(pod.number.get() as usize).copied().unwrap_or_default();
            candidate.has_session = wanted.session == Some(pod.server.address());
            scratch.candidates.push(candidate);
        }
        let blocks = wanted.blocks.hashes().len();
        let whole = u32::try_from(blocks).unwrap_or(u32::MAX);
        let choice = self.profile.choose(scratch, whole, random)?;
        let first = *choice.order.first()?;
        let pod = |at: &usize| indexes.get(*at).and_then(|at| members.get(*at)).map(Arc::clone);
        Some(Chosen {
            pods: choice.order.iter().filter_map(pod).collect(),
            decided_by: choice.decided_by,
            blocks,
            cached: scratch.candidates.get(first).map_or(0, |candidate| candidate.matched_blocks),
            candidates: scratch.candidates.len(),
            is_external: false,
            why: wanted.explain.then(|| self.profile.explain(scratch, whole, first)),
        })
    }

    /// Lets the readers know, once a second, that requests come.
    fn mark(&self, members: &[Arc<Pod>], now: u64) {
        const EVERY: u64 = 1000;
        let before = self.state.marked_at.load(Ordering::Relaxed);
        if now.saturating_sub(before) >= EVERY || before == 0 {
            self.state.marked_at.store(now, Ordering::Relaxed);
            members.iter().for_each(|pod| pod.server.want(now));
        }
    }

    /// The average over the endpoints of how near to full they are: 1 and more are saturated. Where nothing at all is known of
    /// the endpoints the pool counts as idle, as it would serve nobody else.
    pub(crate) fn saturation(&self) -> f32 {
        let (members, now) = (self.members.load(), server::now());
        if !members.iter().any(|pod| pod.server.is_fresh(now)) {
            return 0.0;
        }
        let one = |pod: &Arc<Pod>| pod.server.saturation(self.flow.queue_depth, self.flow.kv_usage, now);
        members.iter().map(one).sum::<f32>() / members.len().max(1) as f32
    }

    /// Endpoints, and those of them whose metrics are of now.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let (members, now) = (self.members.load(), server::now());
        (members.len(), members.iter().filter(|pod| pod.server.is_fresh(now)).count())
    }
}

impl Pod {
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        self.picked.endpoint()
    }
}

fn source(config: Option<&v1::InferenceMetrics>) -> Result<Source, String> {
    let config = config.cloned().unwrap_or_default();
    let engine = v1::inference_metrics::Engine::try_from(config.engine);
    let path = if config.path.is_empty() { "/metrics" } else { &config.path };
    Ok(Source {
        engine: engine.map_err(|_| format!("engine {} is not known here", config.engine))?,
        path: path.parse().map_err(|_| format!("{path:?} is no path"))?,
        port: match config.port {
            0 => None,
            port => Some(u16::try_from(port).map_err(|_| format!("{port} is no port"))?),
        },
    })
}
