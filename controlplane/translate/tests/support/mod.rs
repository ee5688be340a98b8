//! Reading cases, and printing what the translator made of them.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::expect_used, clippy::panic, reason = "test support")]

use std::collections::BTreeMap;
use std::path::Path;

use agentgateway_controlplane_translate::{
    Change, Name, Object, ObjectKey, Output, Rejection, Settings, Status, StatusUpdate, Translator,
};
use agentgateway_crds::GatewayParametersSpec;
use agentgateway_proto::DESCRIPTORS;
use agentgateway_proto::kind::Kind;
use agentgateway_proto::snapshot::Snapshot;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A folder with an input.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) objects: Vec<Object>,
    manifests: BTreeMap<ObjectKey, Value>,
    rejections: Vec<(Name, Vec<Rejection>)>,
}

pub(crate) fn at(second: i64) -> Time {
    Time(Timestamp::from_second(1_800_000_000 + second).expect("in range"))
}

/// All cases, in the order of their names.
pub(crate) fn cases(folder: &Path) -> Vec<Case> {
    let shared = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a shared input");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let read = |name: String| {
        let text = std::fs::read_to_string(folder.join(&name).join("input.yaml")).expect("input.yaml");
        let first = text.lines().next().unwrap_or_default();
        let named = first.strip_prefix("# base").map(|more| ["base"].into_iter().chain(more.split_whitespace()));
        let mut texts: Vec<String> = named.into_iter().flatten().map(|name| shared(&format!("{name}.yaml"))).collect();
        texts.push(text.clone());
        Case::new(name, texts.iter().map(String::as_str).collect())
    };
    names.into_iter().map(read).collect()
}

/// Reads the objects of a text with several YAML documents.
pub(crate) fn objects(text: &str) -> Vec<Object> {
    documents(text).into_iter().map(|manifest| Object::read(manifest).expect("a kind that is translated")).collect()
}

fn documents(text: &str) -> Vec<Value> {
    let each = serde_norway::Deserializer::from_str(text);
    each.map(|document| Value::deserialize(document).expect("YAML")).filter(|document| !document.is_null()).collect()
}

impl Case {
    fn new(name: String, texts: Vec<&str>) -> Case {
        let mut case = Case { name, objects: Vec::new(), manifests: BTreeMap::new(), rejections: Vec::new() };
        for manifest in texts.into_iter().flat_map(documents) {
            if manifest["kind"] == "Rejections" {
                let text = |value: &Value| value.as_str().expect("a string").to_owned();
                let one = |r: &Value| Rejection {
                    kind: Kind::PUSH_ORDER.into_iter().find(|k| k.message() == r["kind"]).expect("a kind"),
                    key: text(&r["key"]),
                    reason: text(&r["reason"]),
                };
                let gateway = Name::new(text(&manifest["namespace"]), text(&manifest["gateway"]));
                case.rejections
                    .push((gateway, manifest["rejections"].as_array().expect("a list").iter().map(one).collect()));
                continue;
            }
            let object = Object::read(manifest.clone()).unwrap_or_else(|| panic!("{}: {manifest}", case.name));
            case.manifests.insert(object.key(), manifest);
            case.objects.push(object);
        }
        case
    }

    pub(crate) fn reject(&self, translator: &mut Translator) -> Vec<Output> {
        self.rejections.iter().map(|(gateway, all)| translator.set_rejections(gateway, all.clone(), &at(0))).collect()
    }

    /// The object of an update, as it comes back from the API server.
    pub(crate) fn with_status(&self, update: &StatusUpdate) -> Change {
        let mut manifest = self.manifests[&update.key].clone();
        manifest["status"] = update.status.to_value().expect("serialises");
        Change::set(Object::read(manifest).expect("an object"))
    }
}

/// Gives changes to a translator, and answers what it asks for out of `known`, as a caller must.
pub(crate) fn apply(
    translator: &mut Translator,
    changes: impl IntoIterator<Item = Change>,
    known: &BTreeMap<ObjectKey, Object>,
    second: i64,
) -> Vec<Output> {
    let mut outputs = vec![translator.apply(changes, &at(second))];
    loop {
        let asked = outputs.last().map(|output| output.references.added.clone()).unwrap_or_default();
        if asked.is_empty() {
            assert_eq!(translator.unread().count(), 0);
            return outputs;
        }
        let answer = |key: ObjectKey| known.get(&key).cloned().map_or_else(|| Change::gone(key), Change::set);
        outputs.push(translator.apply(asked.into_iter().map(answer), &at(second)));
    }
}

pub(crate) fn by_key(objects: &[Object]) -> BTreeMap<ObjectKey, Object> {
    objects.iter().map(|object| (object.key(), object.clone())).collect()
}

/// Translates a case from nothing.
pub(crate) fn run(case: &Case) -> Value {
    let mut translator = Translator::new(Settings::default());
    let changes = case.objects.iter().cloned().map(Change::set);
    let mut outputs = apply(&mut translator, changes, &by_key(&case.objects), 0);
    outputs.extend(case.reject(&mut translator));
    final_state(&translator, &outputs)
}

/// What a caller that follows all outputs has in the end.
pub(crate) fn final_state(translator: &Translator, outputs: &[Output]) -> Value {
    let (mut statuses, mut workloads, mut snapshots) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for output in outputs {
        statuses.extend(output.statuses.iter().map(|update| (update.key.to_string(), print_status(&update.status))));
        for (gateway, workload) in &output.workloads {
            workloads.insert(
                gateway.to_string(),
                workload.as_ref().map(|w| {
                    let mut printed = json!({
                        "name": w.name, "class": w.class, "uid": w.uid, "addresses": w.addresses,
                        "ports": w.ports.iter().map(|(port, transport)| format!("{port}/{}", transport.as_str_name())).collect::<Vec<_>>(),
                        "labels": w.labels, "annotations": w.annotations,
                    });
                    if w.parameters != GatewayParametersSpec::default() {
                        printed["parameters"] = json!(w.parameters);
                    }
                    printed
                }),
            );
        }
        snapshots.extend(output.snapshots.clone());
    }
    // Taken back: as if it had never been there.
    statuses.retain(|_, status| *status != json!({"ancestors": []}) && *status != json!({"parents": []}));
    let snapshots: BTreeMap<_, _> = snapshots.into_iter().filter_map(|(name, s)| s.map(|s| (name, s))).collect();
    for (name, snapshot) in &snapshots {
        let kept = translator.snapshot(name).expect("a snapshot");
        assert_eq!(kept.generation(), snapshot.generation(), "the last snapshot given out is the one kept");
    }
    let resources: BTreeMap<_, _> = snapshots.iter().map(|(name, s)| (name.to_string(), print_snapshot(s))).collect();
    let workloads: BTreeMap<_, _> = workloads.into_iter().filter_map(|(name, w)| w.map(|w| (name, w))).collect();
    json!({ "resources": resources, "statuses": statuses, "workloads": workloads })
}

pub(crate) fn print_snapshot(snapshot: &Snapshot) -> Value {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("descriptors");
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut printed = Map::new();
    for kind in Kind::PUSH_ORDER.iter().rev() {
        let name = format!("agentgateway.resource.v1.{}", kind.message());
        let message = pool.get_message_by_name(&name).expect("a message");
        let resources: Vec<Value> = snapshot
            .kind(*kind)
            .into_iter()
            .flat_map(|keyed| keyed.values())
            .map(|encoded| {
                let decoded = DynamicMessage::decode(message.clone(), encoded.bytes.as_ref()).expect("decodes");
                let mut value =
                    decoded.serialize_with_options(serde_json::value::Serializer, &options).expect("serialises");
                shorten(&mut value);
                value
            })
            .collect();
        if !resources.is_empty() {
            printed.insert(kind.message().to_owned(), Value::Array(resources));
        }
    }
    Value::Object(printed)
}

/// Without times, which no case is about.
fn print_status(status: &Status) -> Value {
    let mut value = status.to_value().expect("serialises");
    strip(&mut value);
    value
}

/// Certificates and keys by their hash: what is in them says nothing to a reader.
fn shorten(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                if matches!(key.as_str(), "chain" | "private_key" | "authorities") {
                    hash(value);
                } else {
                    shorten(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        _ => {}
    }
}

fn hash(value: &mut Value) {
    match value {
        Value::String(text) => *value = json!(format!("hash:{}", &blake3::hash(text.as_bytes()).to_hex()[..8])),
        Value::Array(items) => items.iter_mut().for_each(hash),
        _ => {}
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.remove("lastTransitionTime");
            object.remove("supportedFeatures");
            object.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}
