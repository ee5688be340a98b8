//! The configuration file as a source: read at the start, watched, and read again when it changes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Editors and ConfigMaps change a file in several steps; they are over after this long.
const SETTLE: Duration = Duration::from_millis(100);

/// Tells when the file has changed.
pub(crate) struct FileWatch {
    path: PathBuf,
    /// What was there when the file was read last.
    read: Option<Stamp>,
    changes: mpsc::Receiver<()>,
    hangup: Signal,
    /// Ends the watch when dropped.
    _watcher: RecommendedWatcher,
}

/// What tells one version of a file from another without reading it. Links are followed, so that a ConfigMap's change,
/// which is another link to another folder, is one.
type Stamp = (u64, u64, i64, i64, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let m = std::fs::metadata(path).ok()?;
    Some((m.dev(), m.ino(), m.mtime(), m.mtime_nsec(), m.size()))
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
        let mut watcher = notify::recommended_watcher(move |_event| {
            // One pending notice is as good as many.
            let _pending = sender.try_send(());
        })
        .context("cannot watch files")?;
        watcher
            .watch(&folder, RecursiveMode::NonRecursive)
            .with_context(|| format!("cannot watch folder {}", folder.display()))?;
        let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        Ok(FileWatch { path: path.to_owned(), read: stamp(path), changes, hangup, _watcher: watcher })
    }

    /// Waits for a change to be complete, or for SIGHUP, which reads again what the file names too, such as keys.
    ///
    /// Notices come for whatever happens in the folder, reading the file included: only a file that is another one
    /// than before, and stays so for a moment, has changed.
    pub(crate) async fn changed(&mut self) {
        loop {
            tokio::select! {
                notice = self.changes.recv() => if notice.is_none() {
                    // Without a watcher nothing changes any more; SIGHUP still reloads.
                    self.hangup.recv().await;
                    return;
                },
                _ = self.hangup.recv() => return,
            }
            let mut now = stamp(&self.path);
            if now == self.read {
                continue;
            }
            loop {
                tokio::time::sleep(SETTLE).await;
                let later = stamp(&self.path);
                if later == now {
                    break;
                }
                now = later;
            }
            self.read = now;
            return;
        }
    }
}
