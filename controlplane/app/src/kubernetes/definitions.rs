//! Which CustomResourceDefinitions the cluster has, from a watch on their metadata alone: a kind may be installed, upgraded
//! or removed while this runs, and what can be used of Gateway API depends on its release.

use std::collections::BTreeMap;
use std::pin::pin;

use agentgateway_controlplane_translate::{Installed, Release};
use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::{mpsc, watch};

use crate::world::Input;

const VERSION: &str = "gateway.networking.k8s.io/bundle-version";
const CHANNEL: &str = "gateway.networking.k8s.io/channel";

/// What is known of the definitions.
#[derive(Clone, Debug, Default)]
pub(crate) enum Known {
    /// Nothing yet.
    #[default]
    Unlisted,
    /// Nothing, as they may not be read.
    Unreadable,
    /// By their names, what those of Gateway API say of their release.
    Listed(BTreeMap<String, Release>),
}

impl Known {
    /// Whether the cluster has this one; `None` when that is not known.
    pub(crate) fn has(&self, definition: &str) -> Option<bool> {
        match self {
            Known::Listed(definitions) => Some(definitions.contains_key(definition)),
            Known::Unlisted | Known::Unreadable => None,
        }
    }
}

/// The definitions as they are at any time.
pub(crate) type Definitions = watch::Receiver<Known>;

/// Tells the world which definitions of Gateway API there are, or that this is not known.
pub(crate) async fn tell(mut definitions: Definitions, inputs: mpsc::Sender<Input>) {
    let mut told = false;
    loop {
        let installed = match &*definitions.borrow_and_update() {
            Known::Unlisted => None,
            Known::Unreadable => (!told).then_some(None),
            Known::Listed(definitions) => Some(Some(of_gateway_api(definitions))),
        };
        if let Some(installed) = installed {
            told = true;
            if inputs.send(Input::Installed(installed)).await.is_err() {
                return;
            }
        }
        if definitions.changed().await.is_err() {
            return;
        }
    }
}

fn of_gateway_api(definitions: &BTreeMap<String, Release>) -> Installed {
    let plural = |name: &str| name.strip_suffix(".gateway.networking.k8s.io").map(str::to_owned);
    Installed(definitions.iter().filter_map(|(name, release)| Some((plural(name)?, release.clone()))).collect())
}

fn release(definition: &PartialObjectMeta<CustomResourceDefinition>) -> Release {
    let annotation = |name: &str| definition.annotations().get(name).cloned();
    Release { version: annotation(VERSION), channel: annotation(CHANNEL) }
}

/// Follows them until nobody asks any more.
pub(crate) fn follow(client: Client) -> Definitions {
    let (known, receiver) = watch::channel(Known::default());
    tokio::spawn(async move {
        let api = Api::<PartialObjectMeta<CustomResourceDefinition>>::all(client);
        let mut events = pin!(watcher(api, Config::default()).default_backoff());
        let mut definitions = BTreeMap::new();
        while let Some(event) = events.next().await {
            if known.is_closed() {
                return;
            }
            match event {
                Ok(Event::Init) => {
                    definitions.clear();
                    continue;
                }
                Ok(Event::InitApply(definition)) => {
                    definitions.insert(definition.name_any(), release(&definition));
                    continue;
                }
                Ok(Event::InitDone) => {}
                Ok(Event::Apply(definition)) => {
                    definitions.insert(definition.name_any(), release(&definition));
                }
                Ok(Event::Delete(definition)) => {
                    definitions.remove(&definition.name_any());
                }
                Err(error) => {
                    tracing::warn!(%error, "the watch on CustomResourceDefinitions was interrupted; it is resumed");
                    known.send_if_modified(|known| {
                        let first = matches!(known, Known::Unlisted);
                        if first {
                            *known = Known::Unreadable;
                        }
                        first
                    });
                    continue;
                }
            }
            known.send_replace(Known::Listed(definitions.clone()));
        }
    });
    receiver
}
