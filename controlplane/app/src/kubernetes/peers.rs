//! Tells the other replicas what proxies reject on this one's streams, so that the leader knows all of it.
//!
//! Each replica keeps a ConfigMap, owned by its pod, while there is something to tell; everybody watches those of the others.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use agentgateway_controlplane_translate::{Name, Rejection};
use agentgateway_controlplane_xds::Rejections;
use agentgateway_proto::kind::Kind;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;

use super::resume::Resume;
use super::status::FIELD_MANAGER;
use crate::world::{Input, Rejecting};

const LABEL: &str = "agentgateway.kgateway.dev/rejections";
const KEY: &str = "rejections.json";
/// Rejections that come together are told together.
const PAUSE: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_secs(2);
/// A ConfigMap holds 1 MiB.
const MAX_TOLD: usize = 500;

/// Which replica this is.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    /// Name of its pod.
    pub(crate) pod: String,
    /// UID of its pod: with the pod its ConfigMap goes.
    pub(crate) uid: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    gateway: String,
    kind: String,
    key: String,
    reason: String,
}

/// Keeps this replica's ConfigMap.
pub(crate) async fn tell(client: Client, namespace: String, replica: Replica, rejections: Arc<Rejections>) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let mut ticks = rejections.subscribe();
    // Nothing is known of what this pod told before its container was started again.
    let mut told = None;
    loop {
        let present = encode(&rejections);
        if told.as_ref() != Some(&present) {
            match write(&api, &replica, &present).await {
                Ok(()) => told = Some(present),
                Err(error) => {
                    tracing::warn!(%error, "the other replicas cannot be told what proxies reject; trying again");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
        if ticks.changed().await.is_err() {
            return;
        }
    }
}

fn encode(rejections: &Rejections) -> Vec<Told> {
    let all = rejections.all().into_iter().map(|(gateway, _, rejection)| Told {
        gateway,
        kind: rejection.kind.message().to_owned(),
        key: rejection.key,
        reason: rejection.reason,
    });
    all.take(MAX_TOLD).collect()
}

async fn write(api: &Api<ConfigMap>, replica: &Replica, told: &[Told]) -> Result<(), kube::Error> {
    let name = name_of(&replica.pod);
    if told.is_empty() {
        return match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        };
    }
    let text = serde_json::to_string(told).map_err(kube::Error::SerdeError)?;
    let manifest = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": { LABEL: "true" },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": replica.pod, "uid": replica.uid }],
        },
        "data": { KEY: text },
    });
    api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&manifest)).await?;
    Ok(())
}

fn name_of(pod: &str) -> String {
    format!("{pod}-rejections")
}

/// Follows the ConfigMaps of the other replicas.
pub(crate) async fn listen(client: Client, namespace: String, pod: String, inputs: mpsc::Sender<Input>) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let own = name_of(&pod);
    let mut events = pin!(watcher(api, Config::default().labels(LABEL)).backoff(Resume::default()));
    let mut peers: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    let mut listed = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(map)) => {
                listed.insert(map.name_any(), decode(&map));
                continue;
            }
            Ok(Event::InitDone) => peers = std::mem::take(&mut listed),
            Ok(Event::Apply(map)) => {
                peers.insert(map.name_any(), decode(&map));
            }
            Ok(Event::Delete(map)) => {
                peers.remove(&map.name_any());
            }
            Err(error) => {
                tracing::warn!(%error, "the watch on the other replicas' rejections was interrupted; it is resumed");
                continue;
            }
        }
        let others = peers.iter().filter(|(name, _)| **name != own).flat_map(|(_, told)| told);
        if inputs.send(Input::PeerRejections(rejecting(others))).await.is_err() {
            return;
        }
    }
}

/// What a replica of another release wrote, and cannot be read here, counts as nothing.
fn decode(map: &ConfigMap) -> Vec<Told> {
    let text = map.data.as_ref().and_then(|data| data.get(KEY));
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn rejecting<'a>(told: impl Iterator<Item = &'a Told>) -> Rejecting {
    let mut rejecting = Rejecting::new();
    for told in told {
        let kind = Kind::PUSH_ORDER.into_iter().find(|kind| kind.message() == told.kind);
        if let (Some((namespace, name)), Some(kind)) = (told.gateway.split_once('/'), kind) {
            let rejection = Rejection { kind, key: told.key.clone(), reason: told.reason.clone() };
            rejecting.entry(Name::new(namespace, name)).or_default().insert(rejection);
        }
    }
    rejecting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        let told = vec![Told { gateway: "a/b".into(), kind: "Route".into(), key: "k".into(), reason: "r".into() }];
        let data = BTreeMap::from([(KEY.to_owned(), serde_json::to_string(&told).expect("JSON"))]);
        let map = ConfigMap { data: Some(data), ..Default::default() };
        let decoded = decode(&map);
        assert_eq!(decoded, told);
        let rejecting = rejecting(decoded.iter());
        let of_gateway = &rejecting[&Name::new("a", "b")];
        assert_eq!(of_gateway.first().map(|r| (r.kind, r.key.as_str())), Some((Kind::Route, "k")));
        assert!(decode(&ConfigMap::default()).is_empty());
    }
}
