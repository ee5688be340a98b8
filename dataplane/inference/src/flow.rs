//! What requests do that find their pool saturated: those of negative priority are refused, others wait, where the configuration
//! lets them, in bands by priority and fairly between tenants.

mod queue;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use agentgateway_proto::v1;
use http::{HeaderMap, StatusCode};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::limits::{
    DEFAULT_BAND_BYTES, DEFAULT_BAND_REQUESTS, DEFAULT_TTL, QUEUE_TICK, SATURATED_KV_USAGE, SATURATED_QUEUE,
};
use crate::pool::Pool;
use queue::{Evicted, Queues};

/// Names the tenant, between those of whom a band is fair; the second is what older clusters use.
const TENANT: [&str; 2] = ["x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id"];
/// Bytes of a tenant's name that count.
const MAX_TENANT: usize = 128;

/// When a pool is saturated, and who may wait then.
#[derive(Debug)]
pub(crate) struct FlowControl {
    /// Waiting requests of a server at which it is saturated.
    pub(crate) queue_depth: f32,
    /// Use of its KV cache at which it is.
    pub(crate) kv_usage: f32,
    /// None: nobody waits.
    pub(crate) waiting: Option<Waiting>,
}

/// Who may wait.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) max_requests: usize,
    pub(crate) max_bytes: usize,
    ttl: Duration,
    bands: Vec<(i32, Band)>,
    default: Band,
    default_negative: Band,
}

/// Bounds of the requests of one priority.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Band {
    pub(crate) max_requests: usize,
    pub(crate) max_bytes: usize,
    /// One of each tenant in turn; else the one that came first.
    pub(crate) takes_turns: bool,
}

/// Why a request was dropped, as llm-d names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    Saturated,
    Expired,
    Evicted,
    NoEndpoints,
    /// The external picker did not choose.
    NoPicker,
}

impl Dropped {
    pub(crate) const ALL: [Dropped; 5] =
        [Dropped::Saturated, Dropped::Expired, Dropped::Evicted, Dropped::NoEndpoints, Dropped::NoPicker];

    /// The value of `x-llm-d-request-dropped-reason`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Dropped::Saturated => "rejected-saturated",
            Dropped::Expired => "rejected-ttl-expired",
            Dropped::Evicted => "evicted",
            Dropped::NoEndpoints => "rejected-no-endpoints",
            Dropped::NoPicker => "rejected-no-picker",
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Dropped::NoEndpoints | Dropped::NoPicker => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// The waiting requests of one pool, whatever its configuration.
#[derive(Debug, Default)]
pub(crate) struct Flow(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    queues: Queues,
    /// A task looks after them.
    is_watched: bool,
}

/// A place in the line; whoever drops it leaves.
struct Place<'f> {
    flow: &'f Flow,
    ticket: queue::Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.flow.line().queues.remove(&self.ticket);
    }
}

impl FlowControl {
    pub(crate) fn compile(config: Option<&v1::InferenceFlowControl>) -> Result<FlowControl, String> {
        let Some(config) = config else {
            return Ok(FlowControl { queue_depth: SATURATED_QUEUE, kv_usage: SATURATED_KV_USAGE, waiting: None });
        };
        let threshold = |value: f64, usual: f32| match value {
            0.0 => Ok(usual),
            value if value.is_finite() && value > 0.0 => Ok(value as f32),
            value => Err(format!("a threshold of {value}")),
        };
        let band = |band: Option<&v1::inference_flow_control::Band>| {
            let band = band.copied().unwrap_or_default();
            Band {
                max_requests: or(band.max_requests, DEFAULT_BAND_REQUESTS),
                max_bytes: or(band.max_bytes, DEFAULT_BAND_BYTES),
                takes_turns: band.fairness() == v1::inference_flow_control::Fairness::RoundRobin,
            }
        };
        let waiting = Waiting {
            max_requests: or(config.max_requests, usize::MAX),
            max_bytes: or(config.max_bytes, usize::MAX),
            ttl: match config.ttl_milliseconds {
                0 => DEFAULT_TTL,
                milliseconds => Duration::from_millis(milliseconds),
            },
            bands: config.bands.iter().map(|b| (b.priority, band(Some(b)))).collect(),
            default: band(config.default_band.as_ref()),
            default_negative: band(config.default_negative_band.as_ref()),
        };
        Ok(FlowControl {
            queue_depth: threshold(config.queue_depth, SATURATED_QUEUE)?,
            kv_usage: threshold(config.kv_cache_utilization, SATURATED_KV_USAGE)?,
            waiting: config.waits.then_some(waiting),
        })
    }
}

impl Waiting {
    pub(crate) fn band(&self, priority: i32) -> Band {
        let own = self.bands.iter().find(|(of, _)| *of == priority).map(|(_, band)| *band);
        own.unwrap_or(if priority < 0 { self.default_negative } else { self.default })
    }
}

fn or(number: u64, usual: usize) -> usize {
    if number == 0 { usual } else { usize::try_from(number).unwrap_or(usize::MAX) }
}

/// Lets a request on when there is room for it. `bytes` are those of its body.
pub(crate) async fn admit(pool: &Arc<Pool>, priority: i32, headers: &HeaderMap, bytes: usize) -> Result<(), Dropped> {
    let flow = &pool.state.flow;
    let Some(waiting) = &pool.flow.waiting else {
        // Without a queue only what may be shed is.
        return if priority < 0 && pool.saturation() >= 1.0 { Err(Dropped::Saturated) } else { Ok(()) };
    };
    if flow.is_empty() && pool.saturation() < 1.0 {
        return Ok(());
    }
    let (go, turn) = oneshot::channel();
    let place = {
        let mut line = flow.line();
        let ticket = line.queues.push(waiting, priority, tenant(headers), bytes, go).ok_or(Dropped::Saturated)?;
        if !std::mem::replace(&mut line.is_watched, true) {
            pool.background.spawn(watch(Arc::downgrade(pool)));
        }
        Place { flow, ticket }
    };
    let outcome = match timeout(waiting.ttl, turn).await {
        Ok(Ok(Evicted(false))) => Ok(()),
        Ok(Ok(Evicted(true)) | Err(_)) => Err(Dropped::Evicted),
        Err(_) if pool.is_empty() => Err(Dropped::NoEndpoints),
        Err(_) => Err(Dropped::Expired),
    };
    drop(place);
    outcome
}

/// The tenant, for fairness; empty where the request names none.
fn tenant(headers: &HeaderMap) -> String {
    let named = TENANT.iter().find_map(|name| headers.get(*name)).and_then(|name| name.to_str().ok());
    named.unwrap_or_default().chars().take(MAX_TENANT).collect()
}

/// Lets as many go as there is room for, as metrics are read and answers end; while anybody waits.
async fn watch(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(QUEUE_TICK).await;
        let Some(known) = pool.upgrade() else { return };
        if !release(&known) {
            return;
        }
    }
}

/// Lets as many go as there is room for; says whether others wait.
pub(crate) fn release(pool: &Pool) -> bool {
    let servers = pool.counts().0.max(1) as f32;
    // By so much one more request makes the pool fuller.
    let step = 1.0 / (pool.flow.queue_depth * servers);
    let mut saturation = pool.saturation();
    let mut line = pool.state.flow.line();
    while saturation < 1.0 && line.queues.pop() {
        saturation += step;
    }
    line.is_watched = !line.queues.is_empty();
    line.is_watched
}

impl Flow {
    fn line(&self) -> std::sync::MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.line().queues.is_empty()
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.line().queues.len()
    }
}
