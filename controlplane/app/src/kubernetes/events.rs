//! Tells as Kubernetes Events what proxies cannot apply.

use std::collections::BTreeSet;
use std::sync::Arc;

use agentgateway_controlplane_xds::Rejections;
use agentgateway_proto::key;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

/// Publishes an Event on the Gateway for each resource that one of its proxies begins to reject. Every replica does so for
/// its own streams.
pub(crate) async fn run(client: Client, pod: String, rejections: Arc<Rejections>) {
    let reporter = Reporter { controller: "agentgateway-controlplane".to_owned(), instance: Some(pod) };
    let recorder = Recorder::new(client, reporter);
    let mut ticks = rejections.subscribe();
    let mut told = BTreeSet::new();
    while ticks.changed().await.is_ok() {
        let mut present = BTreeSet::new();
        for (gateway, proxy, rejection) in rejections.all() {
            let Some((namespace, name)) = gateway.split_once('/') else { continue };
            let note = format!(
                "{proxy} cannot apply {} {}: {}",
                rejection.kind.message(),
                key::print_backend_key(&rejection.key),
                rejection.reason
            );
            let id = (gateway.clone(), note.clone());
            let is_new = !told.contains(&id);
            present.insert(id);
            if !is_new {
                continue;
            }
            let event = Event {
                type_: EventType::Warning,
                reason: "ResourceRejected".to_owned(),
                note: Some(note),
                action: "Programming".to_owned(),
                secondary: None,
            };
            let reference = ObjectReference {
                api_version: Some("gateway.networking.k8s.io/v1".to_owned()),
                kind: Some("Gateway".to_owned()),
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                ..Default::default()
            };
            if let Err(error) = recorder.publish(&event, &reference).await {
                tracing::warn!(%error, "an Event could not be published");
            }
        }
        told = present;
    }
}
