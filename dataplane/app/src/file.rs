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
    /// The configuration file, and those that it names.
    files: Vec<PathBuf>,
    /// What was there when they were read last.
    read: Vec<Option<Stamp>>,
    changes: mpsc::Receiver<()>,
    hangup: Signal,
    watcher: RecommendedWatcher,
}

/// What tells one version of a file from another without reading it. Links are followed, so that a ConfigMap's change,
/// which is another link to another folder, is one.
type Stamp = (u64, u64, i64, i64, u64);

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |m: std::fs::Metadata| (m.dev(), m.ino(), m.mtime(), m.mtime_nsec(), m.size());
    files.iter().map(|file| std::fs::metadata(file).ok().map(stamp)).collect()
}

/// Where changes of a file are seen.
fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl FileWatch {
    /// Watches the file's folder: editors and ConfigMaps replace a file by a rename, which a watch on the file itself
    /// would not survive.
    pub(crate) fn new(path: &Path) -> anyhow::Result<FileWatch> {
        let (sender, changes) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |_event| {
            // One pending notice is as good as many.
            let _pending = sender.try_send(());
        })
        .context("cannot watch files")?;
        let folder = folder(path);
        watcher
            .watch(folder, RecursiveMode::NonRecursive)
            .with_context(|| format!("cannot watch folder {}", folder.display()))?;
        let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let files = vec![path.to_owned()];
        Ok(FileWatch { read: stamps(&files), files, changes, hangup, watcher })
    }

    /// Watches the files that the configuration names, and no others that it named before.
    pub(crate) fn follow(&mut self, named: &[PathBuf]) {
        if self.files.get(1..) == Some(named) {
            return;
        }
        self.files.truncate(1);
        for file in named {
            // Watching a folder again changes nothing. Folders stay watched; what happens there is no change by itself.
            if let Err(error) = self.watcher.watch(folder(file), RecursiveMode::NonRecursive) {
                tracing::warn!(file = %file.display(), %error, "changes of the file will not be seen; SIGHUP reads it again");
            }
            self.files.push(file.clone());
        }
        self.read.truncate(1);
        self.read.extend(stamps(named));
    }

    /// Waits for a change to be complete, or for SIGHUP.
    ///
    /// Notices come for whatever happens in the folder, reading the file included: only a file that is another one
    /// than before, and stays so for a moment, has changed.
    pub(crate) async fn changed(&mut self) {
        loop {
            // Looked at first: whoever waits here may give up while a change settles, and come again.
            let mut now = stamps(&self.files);
            while now != self.read {
                tokio::time::sleep(SETTLE).await;
                let later = stamps(&self.files);
                if later == now {
                    self.read = now;
                    return;
                }
                now = later;
            }
            tokio::select! {
                notice = self.changes.recv() => if notice.is_none() {
                    // Without a watcher nothing changes any more; SIGHUP still reloads.
                    self.hangup.recv().await;
                    return;
                },
                _ = self.hangup.recv() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const QUIET: Duration = Duration::from_millis(500);

    #[tokio::test]
    async fn only_the_file_itself_counts_also_when_it_is_replaced() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, "a").expect("writes");
        let mut watch = FileWatch::new(&path).expect("watches");

        std::fs::write(dir.path().join("proxy.log"), "x").expect("writes");
        assert!(tokio::time::timeout(QUIET, watch.changed()).await.is_err(), "another file of the folder");

        std::fs::write(&path, "longer").expect("writes");
        tokio::time::timeout(PATIENCE, watch.changed()).await.expect("written in place");

        std::fs::write(dir.path().join("new"), "bbbbbb").expect("writes");
        std::fs::rename(dir.path().join("new"), &path).expect("renames");
        tokio::time::timeout(PATIENCE, watch.changed()).await.expect("replaced by a rename");
    }

    #[tokio::test]
    async fn a_config_map_changes_by_its_link() {
        let dir = tempfile::tempdir().expect("dir");
        let at = |name: &str| dir.path().join(name);
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            std::fs::create_dir(at(version)).expect("creates");
            std::fs::write(at(version).join("config.yaml"), text).expect("writes");
        }
        std::os::unix::fs::symlink("..1", at("..data")).expect("links");
        std::os::unix::fs::symlink("..data/config.yaml", at("config.yaml")).expect("links");
        let mut watch = FileWatch::new(&at("config.yaml")).expect("watches");
        std::os::unix::fs::symlink("..2", at("..data_tmp")).expect("links");
        std::fs::rename(at("..data_tmp"), at("..data")).expect("renames");
        tokio::time::timeout(PATIENCE, watch.changed()).await.expect("the link leads elsewhere");
    }
}
