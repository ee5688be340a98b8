//! The configuration file as a source: read at the start, watched, and read again when it changes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Editors and ConfigMaps change a file in several steps; they are over after this long.
const SETTLE: Duration = Duration::from_millis(100);

/// Which file a path leads to, and its state: device, inode, length, and time of the last change in nanoseconds.
/// `None` while there is none.
type State = Option<(u64, u64, u64, i64, i64)>;

/// Tells when the file has changed.
pub(crate) struct FileWatch {
    path: PathBuf,
    /// The state that was told last.
    told: State,
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
        Ok(FileWatch { path: path.to_owned(), told: state(path), changes, _watcher: watcher })
    }

    /// Waits for a change of the file to be complete. Others in its folder (a log, another configuration) do not count.
    pub(crate) async fn changed(&mut self) {
        loop {
            // Looked at first: whoever waits here may give up while a change settles, and come again.
            let mut now = state(&self.path);
            while now != self.told {
                tokio::time::sleep(SETTLE).await;
                let later = state(&self.path);
                if later == now {
                    self.told = now;
                    return;
                }
                now = later;
            }
            if self.changes.recv().await.is_none() {
                // Without a watcher nothing is noticed any more.
                std::future::pending::<()>().await;
            }
        }
    }
}

fn state(path: &Path) -> State {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
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
