//! Keys that an issuer publishes at a URL: kept here, fetched by whoever serves [`State::next_keys`].
//!
//! The last good set is used until a newer one comes, for a bounded time. A token with a key id that is not in it asks for
//! another fetch, at most one in [`REFETCH_INTERVAL`] whatever callers send.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentgateway_proto::v1;
use arc_swap::ArcSwapOption;
use ring::digest;
use tokio::sync::watch;
use tokio::time::Instant;

use super::keys::Keys;
use crate::State;
use crate::limits::{DEFAULT_JWKS_REFRESH, MAX_JWKS_AGE_SECONDS, REFETCH_INTERVAL};

/// The keys of one URL, shared by all policies that name it in the same way.
#[derive(Debug)]
pub struct RemoteKeys {
    spec: v1::RemoteJwks,
    current: ArcSwapOption<Fetched>,
    /// Counts what was asked for; the fetcher waits for it.
    asked: watch::Sender<u64>,
    /// Counts fetches that ended, well or not; requests wait for it.
    ended: watch::Sender<u64>,
    /// When the last fetch ended, in milliseconds after `start`, and 1 more; 0: never.
    last: AtomicU64,
    start: Instant,
}

/// Keys as they were fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keys: Keys,
    /// Of its content.
    pub(super) version: u64,
    /// Seconds since the epoch, at which it counts no more.
    until: f64,
}

impl Fetched {
    pub(super) fn is_fresh(&self, now: f64) -> bool {
        now < self.until
    }
}

impl RemoteKeys {
    pub(crate) fn new(spec: &v1::RemoteJwks) -> RemoteKeys {
        RemoteKeys {
            spec: spec.clone(),
            current: ArcSwapOption::empty(),
            asked: watch::Sender::new(0),
            ended: watch::Sender::new(0),
            last: AtomicU64::new(0),
            start: Instant::now(),
        }
    }

    /// Where they are.
    pub fn url(&self) -> &str {
        &self.spec.url
    }

    /// PEM of the authorities that are trusted there; empty for those of the system.
    pub fn authorities(&self) -> &[u8] {
        &self.spec.authorities
    }

    /// How often they are to be fetched.
    pub fn refresh_interval(&self) -> Duration {
        self.spec.refresh_milliseconds.map_or(DEFAULT_JWKS_REFRESH, Duration::from_millis)
    }

    /// Whether there are some.
    pub fn is_present(&self) -> bool {
        self.current.load().is_some()
    }

    /// Hears of each time that a fetch is asked for before its time.
    pub fn asked(&self) -> watch::Receiver<u64> {
        self.asked.subscribe()
    }

    /// Takes what was fetched.
    ///
    /// # Errors
    /// Why it cannot be used; what was there stays.
    pub fn set(&self, jwks: &str) -> Result<(), String> {
        let keys = Keys::compile(jwks)?;
        let hash = digest::digest(&digest::SHA256, jwks.as_bytes());
        let version = hash.as_ref().iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        // The interval is a promise to look again: more than that is patience with a failing issuer.
        let until = now + MAX_JWKS_AGE_SECONDS.max(2.0 * self.refresh_interval().as_secs_f64());
        self.current.store(Some(Arc::new(Fetched { keys, version, until })));
        Ok(())
    }

    /// Says that a fetch has ended, well or not.
    pub fn ended(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now.saturating_add(1), Ordering::Relaxed);
        self.ended.send_modify(|count| *count += 1);
    }

    pub(super) fn current(&self) -> Option<Arc<Fetched>> {
        self.current.load_full()
    }

    /// Waits until a fetch has ended that began after now, or is under way; not longer than `patience`. Says whether there was one.
    pub(super) async fn refetched(&self, patience: Duration) -> bool {
        let mut ended = self.ended.subscribe();
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.last.load(Ordering::Relaxed);
        let least = u64::try_from(REFETCH_INTERVAL.as_millis()).unwrap_or(u64::MAX);
        if last > 0 && now.saturating_sub(last - 1) < least {
            return false;
        }
        self.asked.send_modify(|count| *count += 1);
        ended.mark_unchanged();
        matches!(tokio::time::timeout(patience, ended.changed()).await, Ok(Ok(())))
    }
}

impl State {
    /// Keys of a URL that no one fetches yet. Waits for the next ones.
    pub async fn next_keys(&self) -> std::sync::Weak<RemoteKeys> {
        loop {
            if let Some(keys) = self.unfetched() {
                return keys;
            }
            self.keys_added().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JWKS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn spec(url: &str) -> v1::RemoteJwks {
        v1::RemoteJwks { url: url.into(), ..v1::RemoteJwks::default() }
    }

    #[test]
    fn what_cannot_be_used_replaces_nothing() {
        let keys = RemoteKeys::new(&spec("https://a"));
        assert!(keys.current().is_none());
        keys.set(JWKS).expect("a set");
        let version = keys.current().expect("keys").version;
        for wrong in ["", "{}", "{\"keys\":[]}", "<html>"] {
            assert!(keys.set(wrong).is_err(), "{wrong}");
        }
        assert_eq!(keys.current().expect("still there").version, version);
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_keys_ask_for_one_fetch_in_an_interval() {
        let keys = Arc::new(RemoteKeys::new(&spec("https://a")));
        let mut asked = keys.asked();
        let answer = {
            let keys = Arc::clone(&keys);
            tokio::spawn(async move { keys.refetched(Duration::from_secs(5)).await })
        };
        asked.changed().await.expect("asked for");
        keys.ended();
        assert!(answer.await.expect("waits"));
        assert!(!keys.refetched(Duration::from_secs(5)).await, "not again at once");
        tokio::time::advance(REFETCH_INTERVAL).await;
        assert!(!keys.refetched(Duration::from_millis(1)).await, "nobody fetches");
        assert!(asked.has_changed().expect("open"));
    }

    #[tokio::test]
    async fn policies_that_name_one_url_share_its_keys_and_forgotten_ones_go() {
        let state = State::new();
        let first = state.remote_keys(&spec("https://a")).expect("keys");
        assert!(Arc::ptr_eq(&first, &state.remote_keys(&spec("https://a")).expect("keys")));
        assert!(!Arc::ptr_eq(&first, &state.remote_keys(&spec("https://b")).expect("keys")));
        let offered = state.next_keys().await.upgrade().expect("in use");
        assert!(Arc::ptr_eq(&first, &offered));
        assert!(state.next_keys().await.upgrade().is_none(), "nobody uses the second any more");
    }
}
