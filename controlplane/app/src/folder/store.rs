//! The objects of the folder as an API server would have them: with generations, statuses and addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use agentgateway_controlplane_translate::{
    CONTROLLER_NAME, Change, Name, Object, ObjectKey, ObjectKind, References, StatusUpdate, Workload,
};
use serde_json::{Value, json};

use super::print;
use super::read::{self, File, Problem};
use crate::world::Sink;

const CLASS: &str = "agentgateway";

#[derive(Clone, Debug, PartialEq)]
struct Stored {
    manifest: Value,
    /// Why it does not fit its type, if it does not.
    misfit: Option<String>,
}

impl Stored {
    fn object(&self) -> Option<Object> {
        match &self.misfit {
            None => Object::read(self.manifest.clone()),
            Some(reason) => read::misfit(self.manifest.clone(), reason.clone()),
        }
    }
}

/// All objects.
#[derive(Debug, Default)]
pub(crate) struct Store {
    objects: BTreeMap<ObjectKey, Stored>,
    /// What each file gave last, for a file that cannot be read now.
    files: BTreeMap<PathBuf, Vec<(ObjectKey, Stored)>>,
    problems: Vec<Problem>,
}

impl Store {
    /// Takes in what the folder holds now, and gives what that changes.
    pub(crate) fn replace(&mut self, files: Result<Vec<File>, Problem>) -> Vec<Change> {
        let files = match files {
            Ok(files) => files,
            Err(problem) => {
                tracing::error!("{problem}; the last state stays");
                return Vec::new();
            }
        };
        self.report(files.iter().flat_map(|file| file.problems.clone()).collect());
        let mut new: BTreeMap<ObjectKey, Stored> = BTreeMap::new();
        let mut by_file = BTreeMap::new();
        for file in files {
            let path = file.path.clone();
            let objects = self.of_file(file);
            for (key, stored) in &objects {
                if new.insert(key.clone(), stored.clone()).is_some() {
                    tracing::error!(file = %path.display(), object = %key, "an object is there twice; this one counts");
                }
            }
            by_file.insert(path, objects);
        }
        self.files = by_file;
        add_what_a_cluster_has(&mut new);
        self.take(new)
    }

    /// The objects of a file. One that cannot be read in full keeps what it gave before, as a cluster would keep what was
    /// applied before; a half-edited file closes and opens nothing.
    fn of_file(&self, file: File) -> Vec<(ObjectKey, Stored)> {
        if file.incomplete
            && let Some(before) = self.files.get(&file.path)
        {
            return before.clone();
        }
        let fitting = file.objects.into_iter().map(|manifest| Stored { manifest, misfit: None });
        let misfits = file.misfits.into_iter().map(|(manifest, reason)| Stored { manifest, misfit: Some(reason) });
        fitting.chain(misfits).filter_map(|stored| Some((stored.object()?.key(), stored))).collect()
    }

    /// The object of this key as a change, or that there is none.
    fn known(&self, key: ObjectKey) -> Change {
        let object = self.objects.get(&key).and_then(Stored::object);
        Change { key, object }
    }

    fn take(&mut self, mut new: BTreeMap<ObjectKey, Stored>) -> Vec<Change> {
        let mut changes = Vec::new();
        for (key, stored) in &mut new {
            let old = self.objects.get(key);
            carry_over(old.map(|old| &old.manifest), &mut stored.manifest);
            if old != Some(stored) {
                changes.extend(stored.object().map(Change::set));
            }
        }
        let deployed = |key: &ObjectKey, stored: &Stored| {
            key.kind == ObjectKind::Service && stored.manifest.pointer(DEPLOYED).is_some()
        };
        for (key, stored) in &self.objects {
            if new.contains_key(key) {
                continue;
            }
            if deployed(key, stored) {
                continue;
            }
            changes.push(Change::gone(key.clone()));
        }
        let kept: Vec<_> =
            self.objects.iter().filter(|(k, s)| deployed(k, s)).map(|(k, s)| (k.clone(), s.clone())).collect();
        for (key, stored) in kept {
            new.entry(key).or_insert(stored);
        }
        self.objects = new;
        changes
    }

    fn report(&mut self, problems: Vec<Problem>) {
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::error!("{problem}");
        }
        if problems.is_empty() && !self.problems.is_empty() {
            tracing::info!("all documents are right now");
        }
        self.problems = problems;
    }

    fn set_status(&mut self, update: &StatusUpdate) -> Option<Change> {
        let status = update.status.to_value().ok()?;
        print::status(&update.key, &status);
        let stored = self.objects.get_mut(&update.key)?;
        stored.manifest.as_object_mut()?.insert("status".to_owned(), status);
        stored.object().map(Change::set)
    }

    fn set_workload(&mut self, gateway: &Name, workload: Option<&Workload>) -> Vec<Change> {
        let mut changes = Vec::new();
        let of_gateway = |stored: &Stored| stored.manifest.pointer(DEPLOYED) == Some(&json!(gateway.name));
        let wanted = workload.map(|workload| ObjectKey {
            kind: ObjectKind::Service,
            name: Name::new(gateway.namespace.clone(), workload.name.clone()),
        });
        let stale: Vec<_> = self
            .objects
            .iter()
            .filter(|(key, stored)| {
                key.name.namespace == gateway.namespace && of_gateway(stored) && Some(*key) != wanted.as_ref()
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in stale {
            self.objects.remove(&key);
            changes.push(Change::gone(key));
        }
        if let (Some(workload), Some(key)) = (workload, wanted) {
            let stored = Stored { manifest: address(gateway, workload), misfit: None };
            changes.extend(stored.object().map(Change::set));
            self.objects.insert(key, stored);
        }
        changes
    }
}

/// Where a Service that stands for a deployed one names its Gateway.
const DEPLOYED: &str = "/metadata/labels/gateway.networking.k8s.io~1gateway-name";

/// The Service that a cluster would have: it gives the Gateway its address, this machine's.
fn address(gateway: &Name, workload: &Workload) -> Value {
    let ports: Vec<_> = workload
        .ports
        .iter()
        .map(|(port, transport)| json!({"port": port, "protocol": transport.as_str_name()}))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": workload.name,
            "namespace": gateway.namespace,
            "labels": { "gateway.networking.k8s.io/gateway-name": gateway.name },
        },
        "spec": { "type": "LoadBalancer", "ports": ports },
        "status": { "loadBalancer": { "ingress": [{ "ip": "127.0.0.1" }] } },
    })
}

/// The class, and the namespaces that objects are in: nobody writes those for a first try.
fn add_what_a_cluster_has(objects: &mut BTreeMap<ObjectKey, Stored>) {
    let namespaces: BTreeSet<String> =
        objects.keys().map(|key| key.name.namespace.clone()).filter(|name| !name.is_empty()).collect();
    let namespaces = namespaces.into_iter().map(|name| {
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": name, "labels": { "kubernetes.io/metadata.name": name } },
        })
    });
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": { "name": CLASS },
        "spec": { "controllerName": CONTROLLER_NAME },
    });
    for manifest in namespaces.chain([class]) {
        let stored = Stored { manifest, misfit: None };
        if let Some(object) = stored.object() {
            objects.entry(object.key()).or_insert(stored);
        }
    }
}

/// Status and generation, which are not in the file.
fn carry_over(old: Option<&Value>, new: &mut Value) {
    let generation = old.and_then(|old| old.pointer("/metadata/generation")).and_then(Value::as_i64).unwrap_or(0);
    let same_spec = old.is_some_and(|old| old.get("spec") == new.get("spec"));
    let generation = if same_spec { generation } else { generation + 1 };
    let Some(object) = new.as_object_mut() else { return };
    if let Some(status) = old.and_then(|old| old.get("status")) {
        // A Pod brings its own.
        object.entry("status").or_insert_with(|| status.clone());
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("generation".to_owned(), json!(generation));
    }
}

/// Prints statuses and stores them.
pub(crate) struct FolderSink {
    store: Arc<Mutex<Store>>,
}

impl FolderSink {
    /// Writes into this store.
    pub(crate) fn new(store: Arc<Mutex<Store>>) -> FolderSink {
        FolderSink { store }
    }
}

impl Sink for FolderSink {
    fn statuses(&mut self, statuses: Vec<StatusUpdate>) -> Vec<Change> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        statuses.iter().filter_map(|update| store.set_status(update)).collect()
    }

    fn workloads(&mut self, workloads: BTreeMap<Name, Option<Workload>>) -> Vec<Change> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        workloads.iter().flat_map(|(gateway, workload)| store.set_workload(gateway, workload.as_ref())).collect()
    }

    fn references(&mut self, references: References) -> Vec<Change> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        references.added.into_iter().map(|key| store.known(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, port: u16) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "n"},
            "spec": {"ports": [{"port": port}]},
        })
    }

    fn file(objects: Vec<Value>, incomplete: bool) -> Result<Vec<File>, Problem> {
        Ok(vec![File { path: "a.yaml".into(), objects, misfits: Vec::new(), problems: Vec::new(), incomplete }])
    }

    fn shape(changes: &[Change]) -> Vec<String> {
        changes.iter().map(|c| format!("{}{}", if c.object.is_some() { '+' } else { '-' }, c.key)).collect()
    }

    #[test]
    fn only_changes_are_told_and_generations_count_them() {
        let mut store = Store::default();
        let first = shape(&store.replace(file(vec![service("a", 1), service("b", 1)], false)));
        assert_eq!(first, ["+GatewayClass agentgateway", "+Service n/a", "+Service n/b", "+Namespace n"]);
        assert!(store.replace(file(vec![service("a", 1), service("b", 1)], false)).is_empty());
        let changes = store.replace(file(vec![service("a", 2)], false));
        assert_eq!(shape(&changes), ["+Service n/a", "-Service n/b"]);
        let generation = changes[0].object.as_ref().and_then(|o| o.meta().generation);
        assert_eq!(generation, Some(2));
    }

    #[test]
    fn a_file_that_cannot_be_read_keeps_what_it_gave() {
        let mut store = Store::default();
        store.replace(file(vec![service("a", 1)], false));
        assert!(store.replace(file(vec![], true)).is_empty());
        assert_eq!(shape(&store.replace(file(vec![], false))), ["-Service n/a", "-Namespace n"]);
    }

    #[test]
    fn the_address_of_a_gateway_outlives_a_reload() {
        let mut store = Store::default();
        store.replace(file(vec![service("a", 1)], false));
        let workload = Workload {
            gateway: Name::new("n", "gw"),
            uid: None,
            class: CLASS.to_owned(),
            name: "gw".to_owned(),
            ports: vec![(80, agentgateway_proto::v1::bind::Transport::Tcp)],
            addresses: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            parameters: agentgateway_crds::GatewayParametersSpec::default(),
        };
        let gateway = Name::new("n", "gw");
        assert_eq!(shape(&store.set_workload(&gateway, Some(&workload))), ["+Service n/gw"]);
        assert!(store.replace(file(vec![service("a", 1)], false)).is_empty());
        assert_eq!(shape(&store.set_workload(&gateway, None)), ["-Service n/gw"]);
    }
}
