//! Reads the metrics of model servers on the background thread: one reader for each server, however many pools it is in.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use agentgateway_proto::v1::inference_metrics::Engine;
use agentgateway_upstream::{AddressRules, Endpoint, EndpointRegistry, Reader};
use dashmap::DashMap;
use http::uri::PathAndQuery;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::exposition::Parser;
use crate::limits::{IDLE_READ_INTERVAL, READ_INTERVAL, READ_TIMEOUT, READING_SHARE};
use crate::server::Server;

/// What one reading costs beside looking through the text, roughly.
const EXCHANGE_COST: Duration = Duration::from_micros(30);

/// How metrics are read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) engine: Engine,
    pub(crate) path: PathAndQuery,
    /// None: that of the endpoint.
    pub(crate) port: Option<u16>,
}

/// All servers that are read.
#[derive(Debug)]
pub(crate) struct Readers {
    known: DashMap<(SocketAddr, Source), Weak<Server>>,
    endpoints: Arc<EndpointRegistry>,
    rules: Arc<AddressRules>,
    background: Handle,
    running: AtomicUsize,
    /// Microseconds that a reading takes of a thread, on the average.
    cost: AtomicU64,
}

impl Readers {
    /// Readers are tasks of the runtime `background`.
    pub(crate) fn new(endpoints: Arc<EndpointRegistry>, rules: Arc<AddressRules>, background: Handle) -> Arc<Readers> {
        let known = DashMap::new();
        Arc::new(Readers { known, endpoints, rules, background, running: AtomicUsize::new(0), cost: AtomicU64::new(0) })
    }

    /// The server behind an endpoint; its reader runs for as long as somebody has it.
    pub(crate) fn server(self: &Arc<Self>, endpoint: &Endpoint, source: &Source) -> Arc<Server> {
        let mut slot = self.known.entry((endpoint.address(), source.clone())).or_default();
        if let Some(server) = slot.upgrade() {
            return server;
        }
        let server = Arc::new(Server::new(endpoint.address()));
        *slot = Arc::downgrade(&server);
        let port = source.port.unwrap_or(endpoint.address().port());
        let reader = Reader::new(self.endpoints.beside(endpoint, port), Arc::clone(&self.rules));
        self.background.spawn(Arc::clone(self).read(Arc::downgrade(&server), reader, source.clone()));
        server
    }

    /// Forgets servers that nobody has any more.
    pub(crate) fn sweep(&self) {
        self.known.retain(|_, server| server.strong_count() > 0);
    }

    /// Readings and failures of all servers by their address.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let all = self.known.iter().filter_map(|server| server.upgrade());
        all.fold((0, 0), |(readings, failures), server| {
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            (readings + count(&server.readings), failures + count(&server.failures))
        })
    }

    async fn read(self: Arc<Self>, server: Weak<Server>, mut reader: Reader, source: Source) {
        self.running.fetch_add(1, Ordering::Relaxed);
        let mut failed = 0_u32;
        loop {
            let Some(known) = server.upgrade() else { break };
            match self.once(&known, &mut reader, &source).await {
                Ok(()) => failed = 0,
                Err(why) => {
                    known.failed();
                    if failed == 0 {
                        tracing::warn!(server = %known.address(), why, "the metrics of a model server cannot be used");
                    }
                    failed = failed.saturating_add(1);
                }
            }
            let pause = self.pause(known.is_idle(), failed);
            known.set_interval(pause);
            // Not held during the pause, so that it can end with its pool; whoever holds it can wake the reader.
            let woken = tokio::time::timeout(pause, known.wake.notified());
            if pause < IDLE_READ_INTERVAL {
                drop(woken);
                drop(known);
                tokio::time::sleep(pause).await;
            } else {
                let _woken = woken.await;
            }
        }
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    async fn once(&self, server: &Server, reader: &mut Reader, source: &Source) -> Result<(), String> {
        let (mut parser, mut spent) = (Parser::new(source.engine), EXCHANGE_COST);
        // What is sent from now on may be in the metrics or not; it is counted as if not.
        let in_flight = server.in_flight();
        let reading = reader.get(&source.path, |piece| {
            let began = Instant::now();
            let more = parser.push(piece);
            spent += began.elapsed();
            more
        });
        let outcome = match timeout(READ_TIMEOUT, reading).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {} ms", READ_TIMEOUT.as_millis())),
        };
        self.spent(spent);
        outcome?;
        server.read(parser.finish().map_err(|unusable| unusable.to_string())?, in_flight);
        Ok(())
    }

    /// An average over some readings.
    fn spent(&self, time: Duration) {
        let (before, now) = (self.cost.load(Ordering::Relaxed), u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        let next = if before == 0 { now } else { (before * 15 + now.min(1_000_000)) / 16 };
        self.cost.store(next, Ordering::Relaxed);
    }

    /// As short as may be, so that all readings together take no more than their share of a core; longer after failures, and while
    /// nobody asks.
    fn pause(&self, is_idle: bool, failures: u32) -> Duration {
        if is_idle {
            return IDLE_READ_INTERVAL;
        }
        let readers = u32::try_from(self.running.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let cost = Duration::from_micros(self.cost.load(Ordering::Relaxed));
        let fair = cost.saturating_mul(readers).saturating_mul(READING_SHARE);
        let pause = READ_INTERVAL.max(fair).saturating_mul(1 << failures.min(6));
        pause.min(IDLE_READ_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_or_large_metrics_are_read_less_often() {
        let readers = Readers::new(Arc::default(), Arc::default(), Handle::current());
        assert_eq!(readers.pause(false, 0), READ_INTERVAL);
        assert_eq!(readers.pause(true, 0), IDLE_READ_INTERVAL);
        assert_eq!(readers.pause(false, 2), READ_INTERVAL * 4);
        readers.running.store(100, Ordering::Relaxed);
        readers.spent(Duration::from_micros(100));
        // 100 servers, 100 us each, a twentieth of a core.
        assert_eq!(readers.pause(false, 0), Duration::from_millis(200));
        readers.running.store(10_000, Ordering::Relaxed);
        assert_eq!(readers.pause(false, 20), IDLE_READ_INTERVAL);
    }
}
