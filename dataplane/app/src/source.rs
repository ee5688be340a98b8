//! Where the configuration comes from: a file, or a control plane.

use std::path::PathBuf;

use agentgateway_pipeline::store::Rejected;
use agentgateway_proto::kind::Kind;
use agentgateway_proto::resource::Resource;
use agentgateway_xds_client::{ConfigUpdate, Started};

use crate::file::FileWatch;

/// Where the configuration comes from.
pub(crate) enum Source {
    /// A file that is read as a whole.
    File {
        /// Its path.
        path: PathBuf,
        /// Tells when to read it again.
        watch: FileWatch,
        /// How it is read.
        environment: agentgateway_config::Environment,
    },
    /// A control plane that sends what changed.
    ControlPlane(Started),
}

/// A change of the configuration.
pub(crate) enum Change {
    /// All resources there are.
    Whole(Vec<Resource>),
    /// What is different, to be answered.
    Difference(ConfigUpdate),
}

impl Source {
    /// Waits for the next change. A file that cannot be used is reported and leaves everything as it is.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Change> {
        match self {
            Source::File { path, watch, environment } => loop {
                watch.changed().await;
                match agentgateway_config::load(path, environment) {
                    Ok(loaded) => {
                        for warning in &loaded.warnings {
                            tracing::warn!("{warning}");
                        }
                        watch.follow(&loaded.files);
                        return Ok(Change::Whole(loaded.resources));
                    }
                    Err(error) => {
                        tracing::error!("{error}");
                        tracing::error!("the configuration was not changed: the file has errors");
                    }
                }
            },
            Source::ControlPlane(started) => {
                let update = started.updates.recv().await;
                update.map(Change::Difference).ok_or_else(|| anyhow::anyhow!("the discovery client ended"))
            }
        }
    }
}

/// Parts of an update, so that it can be answered after they are used.
pub(crate) fn take(update: &mut ConfigUpdate) -> (Vec<Resource>, Vec<(Kind, String)>) {
    let mut changed = std::mem::take(&mut update.changed);
    let mark = agentgateway_proto::v1::Generation { hash: update.generation.clone(), resources: 0 };
    changed.push(Resource::Generation(mark));
    (changed, std::mem::take(&mut update.removed))
}

/// In the words of the discovery client.
pub(crate) fn answer(rejected: Vec<Rejected>) -> Vec<agentgateway_xds_client::Rejected> {
    rejected
        .into_iter()
        .map(|r| agentgateway_xds_client::Rejected { kind: r.kind, key: r.key, reason: r.reason })
        .collect()
}
