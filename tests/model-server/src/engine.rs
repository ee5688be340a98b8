//! One server: its queue, its batch and its cache. Time passes in the tasks of the requests.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::cache::{Cache, Held};
use crate::lora::{Adapters, Room};
use crate::metrics::{Counters, Fake};
use crate::parameters::{Parameters, milliseconds};
use crate::prompt::Prompt;

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) parameters: Rc<Parameters>,
    pub(crate) port: u16,
    pub(crate) cache: RefCell<Cache>,
    pub(crate) adapters: RefCell<Adapters>,
    waiting: RefCell<VecDeque<Waiting>>,
    running: Cell<usize>,
    pub(crate) counters: RefCell<Counters>,
    /// What it shows and does instead of the truth.
    pub(crate) fake: RefCell<Fake>,
}

#[derive(Debug)]
struct Waiting {
    hashes: Vec<u64>,
    unnamed: usize,
    adapter: Option<String>,
    start: oneshot::Sender<Start>,
}

#[derive(Debug)]
struct Start {
    held: Held,
    load: Duration,
}

/// A request in the batch; it leaves the batch when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    engine: Rc<Engine>,
    held: Held,
    adapter: Option<String>,
    load: Duration,
    uncached: usize,
    pub(crate) cached_tokens: usize,
    pub(crate) began: Instant,
}

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Refused {
    NoSuchModel,
    TooLong,
    QueueFull,
}

impl Engine {
    pub(crate) fn new(parameters: Rc<Parameters>, port: u16) -> Rc<Engine> {
        let cache = RefCell::new(Cache::new(parameters.kv_cache_size));
        Rc::new(Engine {
            parameters,
            port,
            cache,
            adapters: RefCell::default(),
            waiting: RefCell::default(),
            running: Cell::new(0),
            counters: RefCell::default(),
            fake: RefCell::default(),
        })
    }

    pub(crate) fn running(&self) -> usize {
        self.running.get()
    }

    pub(crate) fn queue_length(&self) -> usize {
        self.waiting.borrow().iter().filter(|w| !w.start.is_closed()).count()
    }

    /// Adapters that requests in the queue want.
    pub(crate) fn waiting_adapters(&self) -> Vec<String> {
        let mut names: Vec<String> = self.waiting.borrow().iter().filter_map(|w| w.adapter.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Waits for a place in the batch.
    pub(crate) async fn enter(self: &Rc<Self>, prompt: &Prompt) -> Result<Running, Refused> {
        let parameters = &self.parameters;
        let adapter = match &prompt.model {
            model if *model == parameters.model => None,
            model if parameters.lora_modules.contains(model) => Some(model.clone()),
            _ => return Err(Refused::NoSuchModel),
        };
        let whole = prompt.tokens.saturating_add(prompt.max_tokens);
        let blocks = whole.div_ceil(parameters.block_size);
        if whole > parameters.max_model_len || blocks > parameters.kv_cache_size {
            return Err(Refused::TooLong);
        }
        let began = Instant::now();
        if self.queue_length() >= parameters.max_waiting_queue_length {
            return Err(Refused::QueueFull);
        }
        let (start, started) = oneshot::channel();
        let unnamed = blocks.saturating_sub(prompt.hashes.len());
        let waiting = Waiting { hashes: prompt.hashes.clone(), unnamed, adapter: adapter.clone(), start };
        self.waiting.borrow_mut().push_back(waiting);
        self.admit();
        let Ok(Start { held, load }) = started.await else { return Err(Refused::QueueFull) };
        let cached_tokens = (held.cached * parameters.block_size).min(prompt.tokens);
        let uncached = prompt.tokens - cached_tokens;
        Ok(Running { engine: Rc::clone(self), held, adapter, load, uncached, cached_tokens, began })
    }

    /// Takes requests from the queue into the batch: in order, but those whose adapter has no room are passed over.
    fn admit(&self) {
        let parameters = &self.parameters;
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|w| !w.start.is_closed());
        let (mut cache, mut adapters) = (self.cache.borrow_mut(), self.adapters.borrow_mut());
        let mut at = 0;
        while self.running.get() < parameters.max_num_seqs {
            let Some(next) = waiting.get(at) else { return };
            let room = next.adapter.as_ref().map_or(Room::Loaded, |name| adapters.room(name, parameters.max_loras));
            if room == Room::Full {
                at += 1;
                continue;
            }
            let Some(held) = cache.take(&next.hashes, next.unnamed, parameters.block_size) else { return };
            let Some(next) = waiting.remove(at) else { return };
            if let Some(name) = &next.adapter {
                adapters.enter(name, parameters.max_loras);
            }
            let load = if room == Room::MustLoad { milliseconds(parameters.lora_load_time) } else { Duration::ZERO };
            self.running.set(self.running.get() + 1);
            if let Err(unwanted) = next.start.send(Start { held, load }) {
                self.leave(&mut cache, &mut adapters, &unwanted.held, next.adapter.as_deref());
            }
        }
    }

    fn leave(&self, cache: &mut Cache, adapters: &mut Adapters, held: &Held, adapter: Option<&str>) {
        cache.give(held);
        if let Some(name) = adapter {
            adapters.leave(name);
        }
        self.running.set(self.running.get() - 1);
    }
}

impl Running {
    /// Until the first token.
    pub(crate) async fn prefill(&self) {
        let running = self.engine.running();
        sleep(self.load + self.engine.parameters.prefill(self.uncached, running)).await;
        self.engine.counters.borrow_mut().first_token(self.began.elapsed());
    }

    /// Until the next token.
    pub(crate) fn step(&self) -> Duration {
        self.engine.parameters.step(self.engine.running())
    }

    pub(crate) fn model(&self) -> &str {
        self.adapter.as_deref().unwrap_or(&self.engine.parameters.model)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        {
            let (mut cache, mut adapters) = (self.engine.cache.borrow_mut(), self.engine.adapters.borrow_mut());
            self.engine.leave(&mut cache, &mut adapters, &self.held, self.adapter.as_deref());
        }
        self.engine.counters.borrow_mut().ended(self.began.elapsed());
        self.engine.admit();
    }
}
