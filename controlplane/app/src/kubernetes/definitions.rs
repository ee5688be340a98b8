//! Which CustomResourceDefinitions the cluster has, from a watch on their metadata alone: a kind may be installed, upgraded
//! or removed while this runs.

use std::collections::BTreeSet;
use std::pin::pin;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

/// Names of the definitions; `None` while they are not known.
pub(crate) type Definitions = watch::Receiver<Option<BTreeSet<String>>>;

/// Follows them until nobody asks any more.
pub(crate) fn follow(client: Client) -> Definitions {
    let (names, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let api = Api::<PartialObjectMeta<CustomResourceDefinition>>::all(client);
        let mut events = pin!(watcher(api, Config::default()).default_backoff());
        let mut listed = BTreeSet::new();
        while let Some(event) = events.next().await {
            if names.is_closed() {
                return;
            }
            match event {
                Ok(Event::Init) => listed = BTreeSet::new(),
                Ok(Event::InitApply(definition)) => drop(listed.insert(definition.name_any())),
                Ok(Event::InitDone) => drop(names.send_replace(Some(std::mem::take(&mut listed)))),
                // Also when one merely changed: a version may be served now that was not before.
                Ok(Event::Apply(definition)) => names.send_modify(|names| {
                    names.get_or_insert_default().insert(definition.name_any());
                }),
                Ok(Event::Delete(definition)) => names.send_modify(|names| {
                    names.get_or_insert_default().remove(&definition.name_any());
                }),
                Err(error) => {
                    tracing::warn!(%error, "the watch on CustomResourceDefinitions was interrupted; it is resumed")
                }
            }
        }
    });
    receiver
}
