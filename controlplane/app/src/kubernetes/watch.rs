//! Watches kinds of object and tells the world of every change.
//!
//! Objects are watched without their types: one that does not fit is told as unreadable, with its content, and costs the
//! watch nothing. A kind that the cluster does not have counts as one without objects, and is watched when it comes.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentgateway_controlplane_translate::{Change, Name, Object, ObjectKey, ObjectKind, Unreadable};
use futures::{Stream, StreamExt, future};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;

use super::definitions::{Definitions, Known};
use super::resume::Resume;
use super::scope::{Place, Scope};
use crate::world::Input;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Group, version and names of a kind, as the API server has it.
pub(crate) fn api_resource(kind: ObjectKind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), kind.version(), kind.kind());
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

/// What watches need.
#[derive(Clone)]
pub(crate) struct Watches {
    /// Client.
    pub(crate) client: Client,
    /// Where to look.
    pub(crate) scope: Scope,
    /// Which kinds the cluster has.
    pub(crate) definitions: Definitions,
    /// Whom to tell.
    pub(crate) inputs: mpsc::Sender<Input>,
}

impl Watches {
    /// Watches all objects of a kind in all places, until the world ends.
    pub(crate) async fn run(self, kind: ObjectKind) {
        let places = if kind.cluster_scoped() { vec![Place::Cluster] } else { self.scope.places() };
        let incomplete = AtomicUsize::new(places.len());
        future::join_all(places.iter().map(|place| self.watch(kind, place, &incomplete))).await;
    }

    async fn watch(&self, kind: ObjectKind, place: &Place, incomplete: &AtomicUsize) {
        let mut told = Told { kind, inputs: &self.inputs, listing: Listing::default(), incomplete: Some(incomplete) };
        // Pods are looked at for pools alone.
        let defined = if kind == ObjectKind::Pod { ObjectKind::InferencePool } else { kind };
        let definition = format!("{}.{}", defined.plural(), defined.group());
        // What Kubernetes itself brings has no definition.
        let custom = !matches!(defined.group(), "" | "discovery.k8s.io");
        let is_absent = |known: &Known| custom && known.has(&definition) == Some(false);
        let (mut definitions, mut goes) = (self.definitions.clone(), self.definitions.clone());
        loop {
            let absent = async {
                if goes.wait_for(is_absent).await.is_err() {
                    future::pending().await
                }
            };
            tokio::select! {
                biased;
                () = absent => {
                    let gone = told.listing.clear(kind);
                    if told.tell(gone, true).await.is_break() {
                        return;
                    }
                }
                () = self.follow(kind, place, &mut told) => return,
            }
            tracing::warn!(
                kind = kind.kind(),
                definition,
                "the cluster does not have this kind; it is used when it comes"
            );
            if definitions.wait_for(|known| !is_absent(known)).await.is_err() {
                return;
            }
            tracing::info!(kind = kind.kind(), "the cluster has this kind now");
        }
    }

    async fn follow(&self, kind: ObjectKind, place: &Place, told: &mut Told<'_>) {
        let config = watcher::Config::default();
        if kind == ObjectKind::Namespace {
            // Labels are all that is wanted of a namespace.
            let api = Api::<PartialObjectMeta<Namespace>>::all(self.client.clone());
            let read = |namespace: PartialObjectMeta<Namespace>| {
                let metadata = namespace.metadata;
                Object::Namespace(std::sync::Arc::new(Namespace { metadata, ..Default::default() }))
            };
            told.follow(watch_objects(api, config).backoff(Resume::default()), read).await;
        } else {
            let resource = api_resource(kind);
            let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
            let api: Api<DynamicObject> = place.api(self.client.clone(), &resource);
            let read = |object| read(kind, &types, object);
            told.follow(watch_objects(api, config).backoff(Resume::default()), read).await;
        }
    }
}

/// What the world was told of a kind in one place.
struct Told<'a> {
    kind: ObjectKind,
    inputs: &'a mpsc::Sender<Input>,
    listing: Listing,
    /// Counts the places that are not complete; `None` when this one is.
    incomplete: Option<&'a AtomicUsize>,
}

impl Told<'_> {
    /// Tells what a watch gives, until the world ends.
    async fn follow<K: ResourceExt>(
        &mut self,
        events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
        read: impl Fn(K) -> Object,
    ) {
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            let (changes, complete) = match event {
                Ok(event) => self.listing.take(self.kind, event, &read),
                // The kind is there in other versions, or its definition is not known: it has no objects for us.
                Err(error) if not_served(&error) && self.listing.known.is_empty() => (Vec::new(), true),
                Err(error) => {
                    tracing::warn!(kind = self.kind.kind(), %error, "a watch was interrupted; it is resumed");
                    continue;
                }
            };
            if self.tell(changes, complete).await.is_break() {
                return;
            }
        }
    }

    async fn tell(&mut self, changes: Vec<Change>, complete: bool) -> ControlFlow<()> {
        if !changes.is_empty() && self.inputs.send(Input::Changes(changes)).await.is_err() {
            return ControlFlow::Break(());
        }
        if complete
            && let Some(incomplete) = self.incomplete.take()
            && incomplete.fetch_sub(1, Ordering::AcqRel) == 1
            && self.inputs.send(Input::Synced(self.kind)).await.is_err()
        {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// Whether the API server says that there is no such resource. While it starts it says 503 instead.
fn not_served(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Which objects there are, so that those which a new listing lacks are known to be gone.
#[derive(Default)]
struct Listing {
    known: BTreeSet<Name>,
    listed: Option<(Vec<Change>, BTreeSet<Name>)>,
}

impl Listing {
    /// That there are none any more.
    fn clear(&mut self, kind: ObjectKind) -> Vec<Change> {
        self.listed = None;
        std::mem::take(&mut self.known).into_iter().map(|name| Change::gone(ObjectKey { kind, name })).collect()
    }

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

/// Reads an object that was got without its type.
pub(super) fn read(kind: ObjectKind, types: &TypeMeta, mut object: DynamicObject) -> Object {
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
