//! The control plane without Kubernetes: reads Gateway API YAML from a folder, follows its changes, prints statuses, and
//! serves proxies on loopback that show the token of a file.

mod positions;
mod print;
mod read;
mod store;
mod token;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentgateway_controlplane_translate::{Change, ObjectKind, Settings};
use agentgateway_controlplane_xds::registry::Phase;
use agentgateway_controlplane_xds::{Discovery, Registry, Rejections};
use anyhow::Context;
use notify::{RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};

use crate::args::Args;
use crate::discovery;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::world::{INPUT_QUEUE, Input, World};
use store::{FolderSink, Store};

/// An editor writes a file in several steps; the folder is read when it was quiet for so long.
const QUIET: Duration = Duration::from_millis(100);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs until the process is told to stop.
pub(crate) async fn run(
    args: Args,
    folder: PathBuf,
    metrics: Metrics,
    ready: watch::Sender<bool>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    anyhow::ensure!(folder.is_dir(), "--manifests: {} is not a folder", folder.display());
    let port = discovery::open(args.xds_address()?).await.context("cannot open the discovery port")?;
    let token = token::create(&args.token_file)
        .with_context(|| format!("--token-file: cannot write {}", args.token_file.display()))?;

    let rejections = Arc::new(Rejections::default());
    let registry = Arc::new(Registry::new(rejections.clone()));
    let store = Arc::new(Mutex::new(Store::default()));
    let mut settings = Settings { cluster_domain: args.cluster.cluster_domain.clone(), ..Settings::default() };
    // The proxies are on this machine, and so are a user's first servers.
    settings.allowed.loopback = true;
    let (inputs, receiver) = mpsc::channel(INPUT_QUEUE);
    let sink = FolderSink::new(store.clone());
    let world = World::new(settings, registry.clone(), rejections.clone(), metrics.clone(), sink, ready);
    tokio::spawn(world.run(receiver));

    let (_watcher, mut changed) = follow(&folder)?;
    inputs.send(Input::Changes(load(&folder, &store).await)).await?;
    for kind in ObjectKind::ALL.iter().copied().filter(|kind| kind.watched()) {
        inputs.send(Input::Synced(kind)).await?;
    }
    inputs.send(Input::Installed(None)).await?;

    let discovery = Discovery::new(registry.clone(), Arc::new(token), rejections, metrics.xds);
    tracing::info!(
        address = %port.address()?,
        token_file = %args.token_file.display(),
        folder = %folder.display(),
        "discovery server listens"
    );
    let stopping = shutdown.clone();
    let serving = tokio::spawn(port.serve(discovery, None, async move { stopping.wait().await }));
    let stop = shutdown.wait();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = changed.recv() => {
                while tokio::time::timeout(QUIET, changed.recv()).await.is_ok_and(|tick| tick.is_some()) {}
                inputs.send(Input::Changes(load(&folder, &store).await)).await?;
            }
        }
    }
    registry.set_phase(Phase::Stopping);
    // Whatever does not end in time ends with the process.
    let _ = tokio::time::timeout(STOP_TIMEOUT, serving).await;
    Ok(())
}

/// Reads the folder and gives what changed since the last time.
async fn load(folder: &Path, store: &Arc<Mutex<Store>>) -> Vec<Change> {
    let (folder, store) = (folder.to_owned(), store.clone());
    let read = tokio::task::spawn_blocking(move || {
        let files = read::folder(&folder);
        store.lock().unwrap_or_else(PoisonError::into_inner).replace(files)
    });
    read.await.unwrap_or_default()
}

/// Ticks when something in the folder changes, as long as the watcher is kept.
fn follow(folder: &Path) -> anyhow::Result<(notify::RecommendedWatcher, mpsc::Receiver<()>)> {
    let (tick, changed) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        Ok(event) if event.kind.is_access() => {}
        // One tick that waits is enough.
        Ok(_) => drop(tick.try_send(())),
        Err(error) => tracing::warn!(%error, "the folder cannot be followed"),
    })
    .context("cannot follow the folder")?;
    watcher.watch(folder, RecursiveMode::NonRecursive).context("cannot follow the folder")?;
    Ok((watcher, changed))
}
