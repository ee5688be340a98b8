//! The configuration file as a source: read at the start, watched, and read again when it changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Editors and ConfigMaps change a file in several steps; they are over after this long.
const SETTLE: Duration = Duration::from_millis(100);

/// Tells when the file may have changed.
pub(crate) struct FileWatch {
    changes: mpsc::Receiver<()>,
    /// Ends the watch when dropped.
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Watches the file's folder: editors and ConfigMaps replace a file by a rename, which a watch on the file itself
    /// would not survive.
    pub(crate) fn new(path: &Path) -> anyhow::Result<FileWatch> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let (sender, changes) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading the file is an access too, and must not lead to the next reading.
            if !event.is_ok_and(|e| e.kind.is_access()) {
                // One pending notice is as good as many.
                let _pending = sender.try_send(());
            }
        })
        .context("cannot watch files")?;
        watcher
            .watch(&folder, RecursiveMode::NonRecursive)
            .with_context(|| format!("cannot watch folder {}", folder.display()))?;
        Ok(FileWatch { changes, _watcher: watcher })
    }

    /// Waits for a change to be complete.
    pub(crate) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            // Without a watcher nothing changes any more; SIGHUP still reloads.
            std::future::pending::<()>().await;
        }
        while let Ok(Some(())) = tokio::time::timeout(SETTLE, self.changes.recv()).await {}
    }
}
