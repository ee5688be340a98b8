//! The keys of issuers: one task for each URL in use, which ends with the last policy that names it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use agentgateway_policy::{RemoteKeys, State};

use crate::Network;
use crate::document::fetch;

/// Pause after the first fetch that failed, doubled up to the longest while none succeeds.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Fetches keys of all policies, for ever.
pub async fn run(state: Arc<State>, network: Network) {
    loop {
        let keys = state.next_keys().await;
        tokio::spawn(follow(keys, network.clone()));
    }
}

async fn follow(keys: Weak<RemoteKeys>, network: Network) {
    let Some(mut asked) = keys.upgrade().map(|keys| keys.asked()) else { return };
    let mut failures = 0_u32;
    // Held only while it is fetched for: keys that no policy names any more are dropped, and with them this task ends.
    while let Some(current) = keys.upgrade() {
        let outcome = fetch(current.url(), current.authorities(), &network).await;
        let outcome = outcome.map_err(|error| error.to_string()).and_then(|document| {
            let text = std::str::from_utf8(&document).map_err(|_| "the document is not UTF-8".to_owned())?;
            current.set(text)
        });
        let refresh = current.refresh_interval();
        let pause = match outcome {
            Ok(()) => {
                if failures > 0 || tracing::enabled!(tracing::Level::DEBUG) {
                    tracing::info!(url = current.url(), "keys fetched");
                }
                failures = 0;
                jittered(refresh)
            }
            Err(error) => {
                let kept = if current.is_present() { "the last ones are kept" } else { "requests are refused" };
                tracing::warn!(url = current.url(), error, "keys cannot be fetched; {kept}");
                failures = failures.saturating_add(1);
                jittered((RETRY * 2_u32.saturating_pow(failures - 1).min(64)).min(LONGEST_RETRY).min(refresh))
            }
        };
        current.ended();
        // Who asked meanwhile has been answered.
        asked.mark_unchanged();
        drop(current);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            asked = asked.changed() => if asked.is_err() {
                return;
            },
        }
    }
}

/// Up to a tenth less, so that proxies that started together do not ask together.
fn jittered(pause: Duration) -> Duration {
    let random = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
    pause.mul_f64(1.0 - random / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_shortened_a_little() {
        for _ in 0..100 {
            let pause = jittered(Duration::from_secs(100));
            assert!((90..=100).contains(&pause.as_secs()), "{pause:?}");
        }
    }
}
