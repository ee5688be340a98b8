//! Watches one kind of object and tells the world of every change.
//!
//! Objects are watched without their types: one that does not fit is told as unreadable, with its content, and costs the
//! watch nothing.

use std::collections::BTreeSet;
use std::pin::pin;

use agentgateway_controlplane_translate::{Change, Name, Object, ObjectKey, ObjectKind, Unreadable};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;

use crate::world::Input;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Group, version and names of a kind, as the API server has it.
pub(crate) fn api_resource(kind: ObjectKind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), kind.version(), kind.kind());
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

/// Watches all objects of a kind in all namespaces, until the world ends.
pub(crate) async fn run(client: Client, kind: ObjectKind, inputs: mpsc::Sender<Input>) {
    let config = watcher::Config::default();
    if kind == ObjectKind::Namespace {
        // Labels are all that is wanted of a namespace.
        let api = Api::<PartialObjectMeta<Namespace>>::all(client);
        let read = |namespace: PartialObjectMeta<Namespace>| {
            let metadata = namespace.metadata;
            Object::Namespace(std::sync::Arc::new(Namespace { metadata, ..Default::default() }))
        };
        follow(kind, watch_objects(api, config).default_backoff(), read, inputs).await;
    } else {
        let resource = api_resource(kind);
        let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
        let api = Api::<DynamicObject>::all_with(client, &resource);
        let read = move |object| read(kind, &types, object);
        follow(kind, watch_objects(api, config).default_backoff(), read, inputs).await;
    }
}

async fn follow<K: ResourceExt>(
    kind: ObjectKind,
    events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    read: impl Fn(K) -> Object,
    inputs: mpsc::Sender<Input>,
) {
    let mut events = pin!(events);
    let mut listing = Listing::default();
    let mut synced = false;
    while let Some(event) = events.next().await {
        let (changes, complete) = match event {
            Ok(event) => listing.take(kind, event, &read),
            Err(error) => {
                tracing::warn!(kind = kind.kind(), %error, "a watch was interrupted; it is resumed");
                continue;
            }
        };
        if !changes.is_empty() && inputs.send(Input::Changes(changes)).await.is_err() {
            return;
        }
        if complete && !synced {
            synced = true;
            if inputs.send(Input::Synced(kind)).await.is_err() {
                return;
            }
        }
    }
}

/// Which objects there are, so that those which a new listing lacks are known to be gone.
#[derive(Default)]
struct Listing {
    known: BTreeSet<Name>,
    listed: Option<(Vec<Change>, BTreeSet<Name>)>,
}

impl Listing {
    /// The changes that an event means, and whether a listing is complete with it.
    fn take<K: ResourceExt>(
        &mut self,
        kind: ObjectKind,
        event: Event<K>,
        read: impl Fn(K) -> Object,
    ) -> (Vec<Change>, bool) {
        match event {
            Event::Init => {
                self.listed = Some(Default::default());
                (Vec::new(), false)
            }
            Event::InitApply(object) => {
                let (changes, names) = self.listed.get_or_insert_default();
                names.insert(name_of(&object));
                changes.push(Change::set(read(object)));
                (Vec::new(), false)
            }
            Event::InitDone => {
                let (mut changes, names) = self.listed.take().unwrap_or_default();
                let gone = self.known.difference(&names).cloned();
                changes.extend(gone.map(|name| Change::gone(ObjectKey { kind, name })));
                self.known = names;
                (changes, true)
            }
            Event::Apply(object) => {
                self.known.insert(name_of(&object));
                (vec![Change::set(read(object))], false)
            }
            Event::Delete(object) => {
                let name = name_of(&object);
                self.known.remove(&name);
                (vec![Change::gone(ObjectKey { kind, name })], false)
            }
        }
    }
}

fn name_of(object: &impl ResourceExt) -> Name {
    Name::new(object.namespace().unwrap_or_default(), object.name_any())
}

fn read(kind: ObjectKind, types: &TypeMeta, mut object: DynamicObject) -> Object {
    // Objects of a list come without their type, and these two are only weight.
    object.types = Some(types.clone());
    object.metadata.managed_fields = None;
    object.annotations_mut().remove(LAST_APPLIED);
    let meta = object.metadata.clone();
    let unreadable = |reason: String| {
        Object::Unreadable(std::sync::Arc::new(Unreadable { kind, meta, reason, raw: serde_json::Value::Null }))
    };
    match serde_json::to_value(object) {
        Ok(manifest) => Object::read(manifest).unwrap_or_else(|| unreadable("it has no name".to_owned())),
        Err(error) => unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: ObjectKind, name: &str, spec: serde_json::Value) -> DynamicObject {
        let manifest = json!({"metadata": {"name": name, "namespace": "n", "managedFields": [{}]}, "spec": spec});
        assert!(kind != ObjectKind::Namespace);
        serde_json::from_value(manifest).expect("an object")
    }

    fn reader(kind: ObjectKind) -> impl Fn(DynamicObject) -> Object {
        let resource = api_resource(kind);
        let types = TypeMeta { api_version: resource.api_version, kind: resource.kind };
        move |object| read(kind, &types, object)
    }

    fn shape(changes: &[Change]) -> Vec<String> {
        changes.iter().map(|c| format!("{}{}", if c.object.is_some() { '+' } else { '-' }, c.key.name)).collect()
    }

    #[test]
    fn what_a_new_listing_lacks_is_gone() {
        let kind = ObjectKind::Backend;
        let read = reader(kind);
        let mut listing = Listing::default();
        let spec = || json!({"type": "Static", "static": {"hosts": [{"host": "h", "port": 1}]}});
        assert_eq!(listing.take(kind, Event::<DynamicObject>::Init, &read).0.len(), 0);
        listing.take(kind, Event::InitApply(object(kind, "a", spec())), &read);
        listing.take(kind, Event::InitApply(object(kind, "b", spec())), &read);
        let (changes, complete) = listing.take(kind, Event::<DynamicObject>::InitDone, &read);
        assert!(complete);
        assert_eq!(shape(&changes), ["+n/a", "+n/b"]);
        listing.take(kind, Event::Apply(object(kind, "c", spec())), &read);
        listing.take(kind, Event::<DynamicObject>::Init, &read);
        listing.take(kind, Event::InitApply(object(kind, "b", spec())), &read);
        let (changes, _) = listing.take(kind, Event::<DynamicObject>::InitDone, &read);
        assert_eq!(shape(&changes), ["+n/b", "-n/a", "-n/c"]);
    }

    #[test]
    fn an_object_that_does_not_fit_is_told_with_its_content() {
        let read = reader(ObjectKind::TrafficPolicy);
        let Object::Unreadable(unreadable) = read(object(ObjectKind::TrafficPolicy, "p", json!({"rbac": 7}))) else {
            panic!("it fits")
        };
        assert_eq!(unreadable.raw["spec"]["rbac"], 7);
        assert_eq!(unreadable.meta.managed_fields, None);
    }

    #[test]
    fn every_kind_has_its_group_and_reads_what_it_watches() {
        for kind in ObjectKind::ALL.iter().copied() {
            let resource = api_resource(kind);
            assert_eq!(resource.group, kind.group());
            assert_eq!(resource.kind, kind.kind());
        }
    }
}
