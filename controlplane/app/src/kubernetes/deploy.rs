//! Deploys proxies: brings the cluster's objects to what the translator says, as the leader.
//!
//! Each object carries the hash of the manifest that it was applied from; only what is missing or differs is applied. What
//! others change in our objects (a scaled Deployment, an added annotation) stays theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentgateway_controlplane_translate::{Name, Workload};
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use tokio::sync::{Notify, watch};

use super::manifests::{self, MANAGED_BY, MANAGED_BY_LABEL, Manifest, ProxySettings};
use super::owned::{Inventory, Owned, OwnedKey};
use super::status::FIELD_MANAGER;

const RETRY: Duration = Duration::from_secs(3);

/// What is to be deployed.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    workloads: Mutex<BTreeMap<Name, Workload>>,
    changed: Notify,
}

impl Desired {
    /// Takes changes in.
    pub(crate) fn set(&self, changes: BTreeMap<Name, Option<Workload>>) {
        let mut workloads = self.workloads.lock().unwrap_or_else(PoisonError::into_inner);
        for (gateway, workload) in changes {
            match workload {
                Some(workload) => workloads.insert(gateway, workload),
                None => workloads.remove(&gateway),
            };
        }
        drop(workloads);
        self.changed.notify_one();
    }

    /// The Gateway ("namespace/name") whose proxies run as this ServiceAccount ("namespace/name").
    pub(crate) fn gateway_of(&self, account: &str) -> Option<String> {
        let (namespace, name) = account.split_once('/')?;
        let workloads = self.workloads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_namespace = workloads.values().filter(|w| w.gateway.namespace == namespace);
        of_namespace.find(|w| w.name == name).map(|w| w.gateway.to_string())
    }

    fn all(&self) -> Vec<Workload> {
        self.workloads.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Why an object could not be brought to what it should be.
#[derive(Debug, thiserror::Error)]
enum DeployError {
    #[error("{kind} {namespace}/{name} exists and is not ours; rename it or the Gateway")]
    Foreign { kind: String, namespace: String, name: String },
    #[error("{0}")]
    Api(#[from] kube::Error),
}

/// Brings objects to what they should be.
pub(crate) struct Deployer {
    /// Client.
    pub(crate) client: Client,
    /// What is wanted.
    pub(crate) desired: Arc<Desired>,
    /// What there is.
    pub(crate) inventory: Arc<Inventory>,
    /// CA certificates for the proxies.
    pub(crate) bundle: watch::Receiver<String>,
    /// What is the same for all proxies.
    pub(crate) settings: ProxySettings,
}

impl Deployer {
    /// Works while this replica leads, from the moment that `ready` (the translator) and `listed` (the inventory) are true.
    pub(crate) async fn run(
        mut self,
        mut leading: watch::Receiver<bool>,
        mut ready: watch::Receiver<bool>,
        listed: Vec<watch::Receiver<bool>>,
    ) {
        // Before this nothing is known of what is wanted, and everything would be deleted.
        if ready.wait_for(|ready| *ready).await.is_err() {
            return;
        }
        for mut listed in listed {
            if listed.wait_for(|listed| *listed).await.is_err() {
                return;
            }
        }
        loop {
            let leads = *leading.borrow_and_update();
            let complete = !leads || self.reconcile().await;
            tokio::select! {
                () = self.desired.changed.notified() => {}
                () = self.inventory.changed.notified() => {}
                changed = self.bundle.changed() => if changed.is_err() {
                    return;
                },
                changed = leading.changed() => if changed.is_err() {
                    return;
                },
                () = tokio::time::sleep(RETRY), if !complete => {}
            }
        }
    }

    /// Applies what is missing or differs, deletes what is not wanted. Whether all of it went well.
    async fn reconcile(&mut self) -> bool {
        let workloads = self.desired.all();
        let bundle = self.bundle.borrow_and_update().clone();
        let namespaces: BTreeSet<&str> = workloads.iter().map(|w| w.gateway.namespace.as_str()).collect();
        let mut wanted: Vec<Manifest> = Vec::new();
        for namespace in &namespaces {
            let of_namespace = workloads.iter().filter(|w| w.gateway.namespace == *namespace);
            wanted.push(manifests::ca_config_map(namespace, of_namespace, &bundle));
        }
        for workload in &workloads {
            wanted.extend(manifests::of_workload(workload, &self.settings));
        }
        let mut complete = true;
        let mut keys = BTreeSet::new();
        // A Gateway that has no good listener for a while keeps its Service, and with it its address.
        for idle in workloads.iter().filter(|w| w.ports.is_empty()) {
            keys.insert(("Service".to_owned(), idle.gateway.namespace.clone(), idle.name.clone()));
        }
        for manifest in &wanted {
            let key = key_of(manifest);
            if self.inventory.get(&key).is_none_or(|owned| owned.applied != manifest.hash)
                && let Err(error) = self.apply(manifest, &key).await
            {
                tracing::warn!(kind = key.0, namespace = key.1, name = key.2, %error, "cannot deploy; trying again");
                complete = false;
            }
            keys.insert(key);
        }
        for (key, owned) in self.inventory.all() {
            if !keys.contains(&key)
                && (owned.of_gateway || key.2 == manifests::CA_CONFIG_MAP)
                && let Err(error) = self.delete(&key, &owned).await
            {
                tracing::warn!(kind = key.0, namespace = key.1, name = key.2, %error, "cannot delete; trying again");
                complete = false;
            }
        }
        complete
    }

    async fn apply(&self, manifest: &Manifest, key: &OwnedKey) -> Result<(), DeployError> {
        let api = self.api(&key.0, &key.1);
        if self.inventory.get(key).is_none() {
            // Not known to be ours: it may be another's of the same name, which server-side apply would take over.
            let existing: Option<PartialObjectMeta<DynamicObject>> = api.get_metadata_opt(&key.2).await?;
            if existing.is_some_and(|o| o.labels().get(MANAGED_BY_LABEL).is_none_or(|by| by != MANAGED_BY)) {
                let (kind, namespace, name) = key.clone();
                return Err(DeployError::Foreign { kind, namespace, name });
            }
        }
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let applied = api.patch(&key.2, &parameters, &Patch::Apply(&manifest.object)).await?;
        tracing::info!(kind = key.0, namespace = key.1, name = key.2, "deployed");
        let of_gateway = applied.labels().contains_key(manifests::GATEWAY_LABEL);
        let owned = Owned { applied: manifest.hash.clone(), uid: applied.uid().unwrap_or_default(), of_gateway };
        self.inventory.note(key.clone(), owned);
        Ok(())
    }

    async fn delete(&self, key: &OwnedKey, owned: &Owned) -> Result<(), kube::Error> {
        let parameters = DeleteParams {
            // Only the object that was seen, not one that took its name since.
            preconditions: Some(Preconditions { uid: Some(owned.uid.clone()), resource_version: None }),
            ..DeleteParams::background()
        };
        match self.api(&key.0, &key.1).delete(&key.2, &parameters).await {
            Ok(_) => {
                tracing::info!(kind = key.0, namespace = key.1, name = key.2, "deleted: no Gateway wants it");
                Ok(())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version, plural) = match kind {
            "Deployment" => ("apps", "v1", "deployments"),
            "DaemonSet" => ("apps", "v1", "daemonsets"),
            "Service" => ("", "v1", "services"),
            "ServiceAccount" => ("", "v1", "serviceaccounts"),
            "HorizontalPodAutoscaler" => ("autoscaling", "v2", "horizontalpodautoscalers"),
            "PodDisruptionBudget" => ("policy", "v1", "poddisruptionbudgets"),
            _ => ("", "v1", "configmaps"),
        };
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }
}

fn key_of(manifest: &Manifest) -> OwnedKey {
    (manifest.kind().to_owned(), manifest.namespace().to_owned(), manifest.name().to_owned())
}
