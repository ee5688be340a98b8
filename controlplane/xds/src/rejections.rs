//! What proxies could not apply: a table that holds today's state, so that nothing is lost when its reader is slow.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use agentgateway_proto::kind::Kind;
use tokio::sync::watch;

/// Most rejections kept per proxy; what goes beyond is logged only.
const MAX_PER_PROXY: usize = 1_000;
/// Most bytes kept of a reason, which comes from outside.
const MAX_REASON_BYTES: usize = 1_024;

/// One resource that a proxy could not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Its kind.
    pub kind: Kind,
    /// Its key; empty when a foreign client refused a whole response without saying which resource.
    pub key: String,
    /// The version refused.
    pub version: String,
    /// The proxy's words.
    pub reason: String,
}

/// Who rejects: a proxy may have an old and a new stream for a while, and the old one's end must not clear the new one's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reporter {
    pub(crate) gateway: String,
    pub(crate) proxy: String,
    pub(crate) stream: u64,
}

type ByResource = BTreeMap<(Kind, String), Rejection>;

/// Rejections by gateway and proxy.
#[derive(Debug)]
pub struct Rejections {
    reporters: Mutex<BTreeMap<Reporter, ByResource>>,
    changed: watch::Sender<u64>,
}

impl Default for Rejections {
    fn default() -> Self {
        Rejections { reporters: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Rejections {
    /// Ticks at each change of the table.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What the proxies of a gateway reject at present, with the proxy's name.
    pub fn of_gateway(&self, gateway: &str) -> Vec<(String, Rejection)> {
        self.all()
            .into_iter()
            .filter(|(g, _, _)| g == gateway)
            .map(|(_, proxy, rejection)| (proxy, rejection))
            .collect()
    }

    /// The whole table: gateway, proxy, rejection.
    pub fn all(&self) -> Vec<(String, String, Rejection)> {
        let reporters = self.reporters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        for (reporter, rejections) in reporters.iter() {
            all.extend(rejections.values().map(|r| (reporter.gateway.clone(), reporter.proxy.clone(), r.clone())));
        }
        all
    }

    pub(crate) fn add(&self, reporter: &Reporter, mut rejection: Rejection) {
        truncate(&mut rejection.reason);
        self.change(reporter, |table| {
            let key = (rejection.kind, rejection.key.clone());
            if table.len() >= MAX_PER_PROXY && !table.contains_key(&key) {
                return false;
            }
            table.insert(key, rejection.clone()).as_ref() != Some(&rejection)
        });
    }

    pub(crate) fn clear(&self, reporter: &Reporter, kind: Kind, key: &str) {
        self.change(reporter, |table| table.remove(&(kind, key.to_owned())).is_some());
    }

    pub(crate) fn replace(&self, reporter: &Reporter, rejections: Vec<Rejection>) {
        let new: ByResource =
            rejections.into_iter().take(MAX_PER_PROXY).map(|r| ((r.kind, r.key.clone()), r)).collect();
        self.change(reporter, |table| {
            let differs = *table != new;
            *table = new;
            differs
        });
    }

    fn change(&self, reporter: &Reporter, change: impl FnOnce(&mut ByResource) -> bool) {
        let mut reporters = self.reporters.lock().unwrap_or_else(PoisonError::into_inner);
        let table = reporters.entry(reporter.clone()).or_default();
        let changed = change(table);
        if table.is_empty() {
            reporters.remove(reporter);
        }
        drop(reporters);
        if changed {
            self.changed.send_modify(|tick| *tick = tick.wrapping_add(1));
        }
    }
}

fn truncate(reason: &mut String) {
    let mut end = MAX_REASON_BYTES.min(reason.len());
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_on_change_only_and_bounds_what_comes_from_outside() {
        let rejections = Rejections::default();
        let p = &Reporter { gateway: "g".into(), proxy: "p".into(), stream: 1 };
        let tick = rejections.subscribe();
        let one = Rejection { kind: Kind::Route, key: "k".into(), version: "v".into(), reason: "é".repeat(2_000) };
        rejections.add(p, one.clone());
        rejections.add(p, one);
        assert_eq!(*tick.borrow(), 1);
        assert_eq!(rejections.of_gateway("g")[0].1.reason.len(), MAX_REASON_BYTES);
        for i in 0..2 * MAX_PER_PROXY {
            let rejection =
                Rejection { kind: Kind::Route, key: i.to_string(), version: String::new(), reason: String::new() };
            rejections.add(p, rejection);
        }
        assert_eq!(rejections.of_gateway("g").len(), MAX_PER_PROXY);
        rejections.replace(p, Vec::new());
        assert!(rejections.all().is_empty());
    }
}
