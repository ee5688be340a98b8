//! Tells as Kubernetes Events what proxies cannot apply.

use std::collections::BTreeSet;
use std::sync::Arc;

use agentgateway_controlplane_xds::Rejections;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

/// Publishes an Event on the object that it was made from, for each resource that one of its proxies begins to reject. Every replica does so for
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
            let gateway_reference = reference("Gateway", namespace, name);
            let note =
                format!("{proxy} cannot apply {} {}: {}", rejection.kind.message(), rejection.key, rejection.reason);
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
                secondary: Some(gateway_reference.clone()),
            };
            let regarding = origin(&rejection.key).unwrap_or_else(|| gateway_reference.clone());
            if let Err(error) = recorder.publish(&event, &regarding).await {
                tracing::warn!(%error, "an Event could not be published");
            }
        }
        told = present;
    }
}

/// The user's object that a resource of this key was made from; `None` when that is the Gateway.
fn origin(key: &str) -> Option<ObjectReference> {
    let mut parts = key.split('/');
    let kind = parts.next().filter(|kind| api_version(kind).is_some())?;
    Some(reference(kind, parts.next()?, parts.next()?))
}

fn reference(kind: &str, namespace: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: api_version(kind).map(str::to_owned),
        kind: Some(kind.to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..Default::default()
    }
}

fn api_version(kind: &str) -> Option<&'static str> {
    match kind {
        "Gateway" | "HTTPRoute" => Some("gateway.networking.k8s.io/v1"),
        "Backend" | "TrafficPolicy" | "GatewayExtension" => Some("gateway.kgateway.dev/v1alpha1"),
        "Service" => Some("v1"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_a_key() {
        let route = origin("HTTPRoute/app/r/0/0/Gateway/infra/gw/http").expect("a route");
        assert_eq!((route.kind.as_deref(), route.name.as_deref()), (Some("HTTPRoute"), Some("r")));
        assert_eq!(origin("tcp/0.0.0.0/80/infra/gw"), None);
        assert_eq!(origin(""), None);
    }
}
