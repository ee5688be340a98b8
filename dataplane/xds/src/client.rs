//! The client's life: start from the kept snapshot, then one stream after the other until the proxy ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use agentgateway_proto::snapshot::Snapshot;
use tokio::sync::{mpsc, oneshot, watch};

use crate::backoff::Backoff;
use crate::config::ClientConfig;
use crate::kept;
use crate::status::Status;
use crate::stream::StreamEnd;
use crate::transaction;
use crate::update::{ConfigUpdate, Origin, Rejected};

/// A running client.
#[derive(Debug)]
pub struct Started {
    /// Whole generations, one at a time; dropping it ends the client.
    pub updates: mpsc::Receiver<ConfigUpdate>,
    /// What the client says about itself.
    pub status: Arc<Status>,
}

/// Starts the client on the current runtime.
pub fn start(config: ClientConfig) -> Started {
    let (updates, receiver) = mpsc::channel(1);
    let status = Arc::new(Status::default());
    let (keep, kept) = watch::channel(None);
    if let Some(path) = config.snapshot.clone() {
        tokio::spawn(write_kept(kept, path, config.gateway.clone(), config.release.clone()));
    }
    let client = Client {
        config,
        updates,
        status: status.clone(),
        keep,
        held: Snapshot::default(),
        rejected: BTreeSet::new(),
        anew: false,
    };
    tokio::spawn(client.run());
    Started { updates: receiver, status }
}

pub(crate) struct Client {
    pub(crate) config: ClientConfig,
    pub(crate) status: Arc<Status>,
    pub(crate) held: Snapshot,
    /// Of what is held, what the proxy could not apply.
    pub(crate) rejected: BTreeSet<(Kind, String)>,
    /// Whether the next stream must not build on what is held.
    pub(crate) anew: bool,
    updates: mpsc::Sender<ConfigUpdate>,
    keep: watch::Sender<Option<Snapshot>>,
}

/// The proxy does not listen any more.
#[derive(Debug, thiserror::Error)]
#[error("the proxy has stopped taking configuration")]
pub(crate) struct Gone;

impl Client {
    async fn run(mut self) {
        if self.restore().await.is_err() {
            return;
        }
        let mut backoff = Backoff::default();
        loop {
            let generations = self.status.generations();
            let end = self.stream().await;
            self.status.set_connected(false);
            if self.status.generations() > generations {
                backoff.reset();
            }
            let wait = backoff.next();
            match end {
                StreamEnd::Gone => return,
                StreamEnd::Closed => tracing::info!(?wait, "the control plane closed the discovery stream"),
                StreamEnd::Failed(reason) => {
                    tracing::warn!(%reason, ?wait, address = %self.config.address, "no discovery stream; trying again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.updates.closed() => return,
            }
        }
    }

    async fn restore(&mut self) -> Result<(), Gone> {
        let Some(path) = self.config.snapshot.clone() else { return Ok(()) };
        let kept = match kept::load(&path, &self.config.gateway, &self.config.release) {
            Ok(Some(kept)) => kept,
            Ok(None) => return Ok(()),
            Err(reason) => {
                tracing::warn!(path = %path.display(), %reason, "the kept snapshot is not used");
                return Ok(());
            }
        };
        let age = kept.written.elapsed().unwrap_or_default();
        tracing::info!(resources = kept.snapshot.len(), ?age, "starting from the kept snapshot");
        let mut encoded = BTreeMap::new();
        for kind in Kind::PUSH_ORDER {
            for (key, value) in kept.snapshot.kind(kind).into_iter().flat_map(|k| k.iter()) {
                encoded.insert((kind, key.to_string()), value.clone());
            }
        }
        let (changed, undecoded) = transaction::decode(encoded, &self.config.gateway);
        self.held = kept.snapshot;
        self.deliver(changed, Vec::new(), Origin::Kept(kept.written), undecoded).await?;
        Ok(())
    }

    /// Hands the difference to what is held to the proxy, and waits until it is in use. Gives what cannot be applied.
    pub(crate) async fn deliver(
        &mut self,
        changed: Vec<Resource>,
        removed: Vec<(Kind, String)>,
        origin: Origin,
        mut rejected: Vec<Rejected>,
    ) -> Result<Vec<Rejected>, Gone> {
        for resource in &changed {
            self.rejected.remove(&(resource.kind(), resource.key().to_owned()));
        }
        for key in &removed {
            self.rejected.remove(key);
        }
        let (answer, answered) = oneshot::channel();
        let generation = self.held.generation().version.to_string();
        let update = ConfigUpdate { changed, removed, generation, origin, answer };
        self.updates.send(update).await.map_err(|_| Gone)?;
        rejected.extend(answered.await.map_err(|_| Gone)?);
        self.rejected.extend(rejected.iter().map(|r| (r.kind, r.key.clone())));
        let confirmed = match origin {
            Origin::ControlPlane => SystemTime::now(),
            Origin::Kept(written) => written,
        };
        self.status.applied(confirmed, self.rejected.len());
        if origin == Origin::ControlPlane {
            self.keep.send_replace(Some(self.held.clone()));
        }
        Ok(rejected)
    }
}

/// Writes each snapshot that is in use. When they come faster than they can be written, the newest counts.
async fn write_kept(mut snapshots: watch::Receiver<Option<Snapshot>>, path: PathBuf, gateway: String, release: String) {
    /// Share of the time that writing may take.
    const PAUSE_FACTOR: u32 = 10;
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);
    while snapshots.changed().await.is_ok() {
        let Some(snapshot) = snapshots.borrow_and_update().clone() else { continue };
        let began = tokio::time::Instant::now();
        let (path, gateway, release) = (path.clone(), gateway.clone(), release.clone());
        let written = tokio::task::spawn_blocking(move || {
            kept::store(&path, &gateway, &release, &snapshot)
                .map_err(|reason| tracing::error!(path = %path.display(), %reason, "the snapshot cannot be kept"))
        });
        // An error is logged where the path is known; the proxy goes on without.
        let _ = written.await;
        tokio::time::sleep((began.elapsed() * PAUSE_FACTOR).min(LONGEST_PAUSE)).await;
    }
}
