//! Reads the Secrets and ConfigMaps that objects refer to, and no others.
//!
//! In each namespace with such an object, and for each of the two kinds, one watch on metadata tells names and versions;
//! what is referred to is then read by its name. A watch for each object would cost a connection for each certificate, and
//! a watch with content would bring every Secret of the namespace into this process.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentgateway_controlplane_translate::{Change, Name, ObjectKey, ObjectKind, References};
use futures::{StreamExt, stream};
use kube::api::{DynamicObject, TypeMeta};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, ResourceExt};
use tokio::sync::{Notify, mpsc, watch as signal};

use super::resume::Resume;
use super::watch::{self, api_resource};
use crate::world::Input;

/// Objects of one namespace that are read at the same time.
const CONCURRENT: usize = 8;
/// Pause before what could not be read is read again: the first one, doubled up to the longest.
const RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Kind and namespace: what one watch covers.
type Place = (ObjectKind, String);
/// Names that are referred to in one place.
type Names = BTreeSet<String>;

/// What is referred to at present.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    names: Mutex<BTreeMap<Place, Names>>,
    changed: Notify,
}

impl Wanted {
    /// Takes changes in.
    pub(crate) fn change(&self, references: References) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for key in references.removed {
            let place = (key.kind, key.name.namespace);
            if let Some(of_place) = names.get_mut(&place) {
                of_place.remove(&key.name.name);
                if of_place.is_empty() {
                    names.remove(&place);
                }
            }
        }
        for key in references.added {
            names.entry((key.kind, key.name.namespace)).or_default().insert(key.name.name);
        }
        drop(names);
        self.changed.notify_one();
    }

    fn all(&self) -> BTreeMap<Place, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Follows what is wanted until the world ends.
pub(crate) async fn run(client: Client, wanted: Arc<Wanted>, inputs: mpsc::Sender<Input>) {
    let mut followed: BTreeMap<Place, signal::Sender<Names>> = BTreeMap::new();
    loop {
        let all = wanted.all();
        // A task ends when its sender does.
        followed.retain(|place, _| all.contains_key(place));
        for (place, names) in all {
            if let Some(sender) = followed.get(&place) {
                sender.send_if_modified(|old| {
                    let differs = *old != names;
                    *old = names;
                    differs
                });
            } else {
                let (sender, receiver) = signal::channel(names);
                tokio::spawn(follow(client.clone(), place.clone(), receiver, inputs.clone()));
                followed.insert(place, sender);
            }
        }
        tokio::select! {
            () = wanted.changed.notified() => {}
            () = inputs.closed() => return,
        }
    }
}

async fn follow(client: Client, place: Place, mut wanted: signal::Receiver<Names>, inputs: mpsc::Sender<Input>) {
    let resource = api_resource(place.0);
    let metadata: Api<PartialObjectMeta<DynamicObject>> = Api::namespaced_with(client.clone(), &place.1, &resource);
    let objects: Api<DynamicObject> = Api::namespaced_with(client, &place.1, &resource);
    let mut events = pin!(watch_objects(metadata, Config::default()).backoff(Resume::default()));
    let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
    let mut present = Present::default();
    let mut retry = RETRY;
    loop {
        let names = wanted.borrow_and_update().clone();
        let (due, gone) = present.due(&names);
        let mut changes: Vec<Change> = gone.into_iter().map(|name| absent(&place, &name)).collect();
        let read: Vec<_> = stream::iter(due)
            .map(|name| read(&objects, &types, &place, name))
            .buffer_unordered(CONCURRENT)
            .collect()
            .await;
        let mut failed = false;
        for (name, outcome) in read {
            match outcome {
                Ok((version, change)) => {
                    present.told.insert(name, version);
                    changes.push(change);
                }
                Err(error) => {
                    failed = true;
                    tracing::warn!(kind = place.0.kind(), namespace = place.1, name, %error, "cannot be read; trying again");
                }
            }
        }
        if !changes.is_empty() && inputs.send(Input::Changes(changes)).await.is_err() {
            return;
        }
        retry = if failed { retry } else { RETRY };
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => present.take(event),
                Some(Err(error)) => {
                    tracing::warn!(kind = place.0.kind(), namespace = place.1, %error, "a watch was interrupted; it is resumed");
                    if forbidden(&error) {
                        present.take::<DynamicObject>(Event::Init);
                        present.take::<DynamicObject>(Event::InitDone);
                    }
                }
                None => return,
            },
            changed = wanted.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(retry), if failed => retry = (retry * 2).min(LONGEST_RETRY),
        }
    }
}

/// The object as a change with its version, or that there is none.
async fn read(
    objects: &Api<DynamicObject>,
    types: &TypeMeta,
    place: &Place,
    name: String,
) -> (String, Result<(Option<String>, Change), kube::Error>) {
    let outcome = match objects.get_opt(&name).await {
        Ok(Some(object)) => {
            let version = object.resource_version();
            Ok((version, Change::set(watch::read(place.0, types, object))))
        }
        Ok(None) => Ok((None, absent(place, &name))),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            tracing::error!(
                kind = place.0.kind(),
                namespace = place.1,
                name,
                reason = status.message,
                "may not be read"
            );
            Ok((None, absent(place, &name)))
        }
        Err(error) => Err(error),
    };
    (name, outcome)
}

fn absent(place: &Place, name: &str) -> Change {
    Change::gone(ObjectKey { kind: place.0, name: Name::new(place.1.clone(), name) })
}

fn forbidden(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// Which objects one place has, and which of them the world was told.
#[derive(Debug, Default)]
struct Present {
    /// Version of each object by its name; `None` until they were listed.
    versions: Option<BTreeMap<String, String>>,
    listing: BTreeMap<String, String>,
    /// Version that was told, by name; `None` where it was told that there is none.
    told: BTreeMap<String, Option<String>>,
}

impl Present {
    fn take<K: ResourceExt>(&mut self, event: Event<K>) {
        let version = |object: &K| (object.name_any(), object.resource_version().unwrap_or_default());
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => self.listing.extend([version(&object)]),
            Event::InitDone => self.versions = Some(std::mem::take(&mut self.listing)),
            Event::Apply(object) => self.versions.get_or_insert_default().extend([version(&object)]),
            Event::Delete(object) => drop(self.versions.get_or_insert_default().remove(&object.name_any())),
        }
    }

    /// Of the wanted names those that are to be read, and those that it is to be told of that there is none.
    fn due(&mut self, wanted: &Names) -> (Vec<String>, Vec<String>) {
        self.told.retain(|name, _| wanted.contains(name));
        let Some(versions) = &self.versions else { return (Vec::new(), Vec::new()) };
        let (mut due, mut gone) = (Vec::new(), Vec::new());
        for name in wanted {
            let told = self.told.get(name);
            match versions.get(name) {
                Some(version) if told.is_some_and(|told| told.as_ref() == Some(version)) => {}
                Some(_) => due.push(name.clone()),
                None if told == Some(&None) => {}
                None => gone.push(name.clone()),
            }
        }
        self.told.extend(gone.iter().map(|name| (name.clone(), None)));
        (due, gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Secret;

    fn secret(name: &str, version: &str) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.to_owned());
        secret.metadata.resource_version = Some(version.to_owned());
        secret
    }

    fn names(of: &[&str]) -> Names {
        of.iter().map(|name| (*name).to_owned()).collect()
    }

    fn told(present: &mut Present, name: &str, version: &str) {
        present.told.insert(name.to_owned(), Some(version.to_owned()));
    }

    #[test]
    fn nothing_is_said_before_the_listing() {
        let mut present = Present::default();
        assert_eq!(present.due(&names(&["a"])), (vec![], vec![]));
        present.take(Event::<Secret>::Init);
        present.take(Event::InitApply(secret("a", "1")));
        assert_eq!(present.due(&names(&["a", "b"])), (vec![], vec![]));
        present.take(Event::<Secret>::InitDone);
        assert_eq!(present.due(&names(&["a", "b"])), (vec!["a".to_owned()], vec!["b".to_owned()]));
    }

    #[test]
    fn each_version_is_read_once_and_each_absence_told_once() {
        let mut present = Present::default();
        present.take(Event::<Secret>::InitDone);
        present.take(Event::Apply(secret("a", "1")));
        let wanted = names(&["a"]);
        assert_eq!(present.due(&wanted), (vec!["a".to_owned()], vec![]));
        told(&mut present, "a", "1");
        assert_eq!(present.due(&wanted), (vec![], vec![]));
        present.take(Event::Apply(secret("other", "2")));
        assert_eq!(present.due(&wanted), (vec![], vec![]));
        present.take(Event::Apply(secret("a", "3")));
        assert_eq!(present.due(&wanted), (vec!["a".to_owned()], vec![]));
        present.take(Event::Delete(secret("a", "4")));
        assert_eq!(present.due(&wanted), (vec![], vec!["a".to_owned()]));
        assert_eq!(present.due(&wanted), (vec![], vec![]));
    }

    #[test]
    fn what_is_wanted_again_is_read_again() {
        let mut present = Present::default();
        present.take(Event::<Secret>::InitDone);
        present.take(Event::Apply(secret("a", "1")));
        told(&mut present, "a", "1");
        assert_eq!(present.due(&names(&[])), (vec![], vec![]));
        assert_eq!(present.due(&names(&["a"])), (vec!["a".to_owned()], vec![]));
    }

    #[test]
    fn what_a_new_listing_lacks_is_gone() {
        let mut present = Present::default();
        present.take(Event::<Secret>::InitDone);
        present.take(Event::Apply(secret("a", "1")));
        told(&mut present, "a", "1");
        present.take(Event::<Secret>::Init);
        assert_eq!(present.due(&names(&["a"])), (vec![], vec![]), "not before the listing is complete");
        present.take(Event::<Secret>::InitDone);
        assert_eq!(present.due(&names(&["a"])), (vec![], vec!["a".to_owned()]));
    }

    #[test]
    fn references_are_kept_by_place() {
        let key = |kind, name: &str| ObjectKey { kind, name: Name::new("n", name) };
        let (a, b) = (key(ObjectKind::Secret, "a"), key(ObjectKind::ConfigMap, "a"));
        let wanted = Wanted::default();
        wanted.change(References { added: BTreeSet::from([a.clone(), b]), removed: BTreeSet::new() });
        assert_eq!(wanted.all().len(), 2);
        wanted.change(References { added: BTreeSet::new(), removed: BTreeSet::from([a]) });
        assert_eq!(wanted.all().into_keys().collect::<Vec<_>>(), [(ObjectKind::ConfigMap, "n".to_owned())]);
    }
}
