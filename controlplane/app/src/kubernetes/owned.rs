//! Which of our own objects there are in the cluster, from watches on their metadata alone.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};

use super::manifests::{APPLIED, GATEWAY_LABEL, MANAGED_BY, MANAGED_BY_LABEL};
use super::resume::Resume;
use super::scope::{Place, Scope};

/// Kind, namespace and name.
pub(crate) type OwnedKey = (String, String, String);

/// One of our objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owned {
    /// Hash of the manifest that was applied last.
    pub(crate) applied: String,
    /// UID.
    pub(crate) uid: String,
    /// Whether it is one of a Gateway's own, as opposed to one that a namespace's Gateways share.
    pub(crate) of_gateway: bool,
}

/// All our objects, as far as the watches know.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    objects: Mutex<BTreeMap<OwnedKey, Owned>>,
    /// Tells that something changed.
    pub(crate) changed: Notify,
}

impl Inventory {
    /// The object of this key.
    pub(crate) fn get(&self, key: &OwnedKey) -> Option<Owned> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> BTreeMap<OwnedKey, Owned> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what was just applied, before the watch tells it.
    pub(crate) fn note(&self, key: OwnedKey, owned: Owned) {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).insert(key, owned);
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<OwnedKey, Owned>)) {
        change(&mut self.objects.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }
}

/// Watches all kinds that are deployed. The results turn true when all were listed once.
pub(crate) fn watch(client: &Client, scope: &Scope, inventory: &Arc<Inventory>) -> Vec<watch::Receiver<bool>> {
    let each = |place: Place| {
        [
            follow::<Deployment>(client, &place, inventory),
            follow::<DaemonSet>(client, &place, inventory),
            follow::<Service>(client, &place, inventory),
            follow::<ServiceAccount>(client, &place, inventory),
            follow::<ConfigMap>(client, &place, inventory),
            follow::<HorizontalPodAutoscaler>(client, &place, inventory),
            follow::<PodDisruptionBudget>(client, &place, inventory),
        ]
    };
    scope.places().into_iter().flat_map(each).collect()
}

fn follow<K>(client: &Client, place: &Place, inventory: &Arc<Inventory>) -> watch::Receiver<bool>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let (listed, receiver) = watch::channel(false);
    let api: Api<PartialObjectMeta<K>> = place.typed(client.clone());
    let place = place.clone();
    let config = Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
    let inventory = inventory.clone();
    tokio::spawn(async move {
        let kind = K::kind(&()).into_owned();
        let mut events = pin!(watcher(api, config).backoff(Resume::default()));
        let mut listing: Option<BTreeMap<OwnedKey, Owned>> = None;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listing = Some(BTreeMap::new()),
                Ok(Event::InitApply(object)) => {
                    let (key, owned) = entry(&kind, &object);
                    listing.get_or_insert_default().insert(key, owned);
                }
                Ok(Event::InitDone) => {
                    let new = listing.take().unwrap_or_default();
                    inventory.change(|objects| {
                        objects.retain(|key, _| key.0 != kind || !place.covers(&key.1));
                        objects.extend(new);
                    });
                    listed.send_replace(true);
                }
                Ok(Event::Apply(object)) => {
                    let (key, owned) = entry(&kind, &object);
                    if inventory.get(&key).as_ref() != Some(&owned) {
                        inventory.change(|objects| {
                            objects.insert(key, owned);
                        });
                    }
                }
                Ok(Event::Delete(object)) => {
                    let (key, _) = entry(&kind, &object);
                    inventory.change(|objects| {
                        objects.remove(&key);
                    });
                }
                Err(error) => tracing::warn!(kind, %error, "a watch on our own objects was interrupted; it is resumed"),
            }
        }
    });
    receiver
}

fn entry(kind: &str, object: &impl ResourceExt) -> (OwnedKey, Owned) {
    let key = (kind.to_owned(), object.namespace().unwrap_or_default(), object.name_any());
    let owned = Owned {
        applied: object.annotations().get(APPLIED).cloned().unwrap_or_default(),
        uid: object.uid().unwrap_or_default(),
        of_gateway: object.labels().contains_key(GATEWAY_LABEL),
    };
    (key, owned)
}
