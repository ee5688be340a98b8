//! Writes statuses by server-side apply, as the leader, and only those that the translator says differ.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentgateway_controlplane_translate::{ObjectKey, StatusUpdate};
use futures::StreamExt;
use futures::stream;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{Notify, watch};

use super::watch::api_resource;
use crate::metrics::Metrics;

/// Field manager of all that this program writes.
pub(crate) const FIELD_MANAGER: &str = "agentgateway-controlplane";
/// Writes under way at a time.
const CONCURRENT: usize = 8;
const RETRY: Duration = Duration::from_secs(1);

/// Statuses that wait to be written; of each object the newest.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    statuses: Mutex<BTreeMap<ObjectKey, StatusUpdate>>,
    more: Notify,
}

impl Pending {
    /// Adds statuses, in place of older ones of the same objects.
    pub(crate) fn add(&self, statuses: Vec<StatusUpdate>) {
        let mut pending = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        pending.extend(statuses.into_iter().map(|status| (status.key.clone(), status)));
        drop(pending);
        self.more.notify_one();
    }

    fn take(&self) -> Vec<StatusUpdate> {
        let mut pending = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *pending).into_values().collect()
    }

    /// Puts back what could not be written, unless something newer came meanwhile.
    fn put_back(&self, statuses: Vec<StatusUpdate>) {
        let mut pending = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        for status in statuses {
            pending.entry(status.key.clone()).or_insert(status);
        }
    }
}

/// Writes while this replica leads. What waits while it does not is dropped: the next leader has it from its own translator.
pub(crate) async fn run(client: Client, pending: Arc<Pending>, mut leading: watch::Receiver<bool>, metrics: Metrics) {
    loop {
        let leads = *leading.borrow_and_update();
        if leads {
            let written: Vec<_> = stream::iter(pending.take())
                .map(|update| write(client.clone(), update, metrics.clone()))
                .buffer_unordered(CONCURRENT)
                .filter_map(|failed| async { failed })
                .collect()
                .await;
            if !written.is_empty() {
                pending.put_back(written);
                tokio::time::sleep(RETRY).await;
                continue;
            }
        } else {
            pending.take();
        }
        tokio::select! {
            () = pending.more.notified() => {}
            changed = leading.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Gives the status back when it is worth another try.
async fn write(client: Client, update: StatusUpdate, metrics: Metrics) -> Option<StatusUpdate> {
    let kind = update.key.kind;
    let resource = api_resource(kind);
    let name = &update.key.name;
    let api: Api<DynamicObject> = if kind.cluster_scoped() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, &name.namespace, &resource)
    };
    let status = match update.status.to_value() {
        Ok(status) => status,
        Err(error) => {
            tracing::error!(object = %update.key, %error, "a status cannot be written as JSON");
            return None;
        }
    };
    let patch = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": { "name": name.name, "resourceVersion": update.resource_version },
        "status": status,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let (outcome, again) = match api.patch_status(&name.name, &parameters, &Patch::Apply(&patch)).await {
        Ok(_) => ("written", None),
        // The object changed meanwhile, or is gone: the watch brings what is true now, and with it a new status.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
            tracing::debug!(object = %update.key, "a status was overtaken");
            ("overtaken", None)
        }
        Err(kube::Error::Api(status)) if status.code == 422 || status.code == 403 => {
            tracing::error!(object = %update.key, reason = status.message, "the API server refuses a status");
            ("refused", None)
        }
        Err(error) => {
            tracing::warn!(object = %update.key, %error, "a status could not be written; it is tried again");
            ("failed", Some(update))
        }
    };
    metrics.status_write(kind, outcome);
    again
}
