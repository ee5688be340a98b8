//! What goes into the translator: objects, as they are read, and what proxies refused.

mod kind;
mod secret;

use std::sync::Arc;

use agentgateway_proto::kind::Kind;
use kube::core::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Name;

pub(crate) use kind::FromObject;
pub use kind::{Object, ObjectKey, ObjectKind};
pub use secret::Secret;

/// An object that does not fit our types, such as one with a value of a newer release. It costs itself a condition and
/// nothing else; a policy among them refuses all requests of its targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    /// Kind.
    pub kind: ObjectKind,
    /// Metadata.
    pub meta: ObjectMeta,
    /// Why it does not fit.
    pub reason: String,
    /// The object as it was read, `Null` where the reader does not keep it. What it refers to is looked for here, so that a
    /// condition reaches the right place, and a deny the policy's targets.
    pub raw: Value,
}

/// A new state of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which object.
    pub key: ObjectKey,
    /// The object, or `None` when it is gone.
    pub object: Option<Object>,
}

impl Change {
    /// An object that is new or changed.
    pub fn set(object: Object) -> Change {
        Change { key: object.key(), object: Some(object) }
    }

    /// An object that is gone.
    pub fn gone(key: ObjectKey) -> Change {
        Change { key, object: None }
    }
}

/// A resource that proxies of a gateway refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejection {
    /// Kind of the resource.
    pub kind: Kind,
    /// Its key.
    pub key: String,
    /// What the proxy says.
    pub reason: String,
}

impl Object {
    /// Reads a manifest: an object that does not fit its type is [`Object::Unreadable`]; `None` for kinds that are not
    /// translated, and for what has no name.
    pub fn read(manifest: Value) -> Option<Object> {
        let text = |field: &str| manifest.get(field).and_then(Value::as_str).unwrap_or_default();
        let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
        let kind = *ObjectKind::ALL.iter().find(|k| k.kind() == text("kind") && k.group() == group)?;
        let name = manifest.pointer("/metadata/name").and_then(Value::as_str)?;
        if name.is_empty() {
            return None;
        }
        Some(Object::read_kind(kind, manifest))
    }

    /// Kind, namespace and name.
    pub fn key(&self) -> ObjectKey {
        let meta = self.meta();
        let namespace = meta.namespace.clone().unwrap_or_default();
        ObjectKey { kind: self.kind(), name: Name::new(namespace, meta.name.clone().unwrap_or_default()) }
    }
}

fn read_as<T: DeserializeOwned>(manifest: Value, kind: ObjectKind, wrap: fn(Arc<T>) -> Object) -> Object {
    match T::deserialize(&manifest) {
        Ok(object) => wrap(Arc::new(object)),
        Err(error) => {
            let meta = manifest.get("metadata").and_then(|m| ObjectMeta::deserialize(m).ok()).unwrap_or_else(|| {
                // Metadata that does not fit costs all of it but the name, which the object needs to be told about.
                let text = |field: &str| manifest.pointer(field).and_then(Value::as_str).map(str::to_owned);
                ObjectMeta {
                    name: text("/metadata/name"),
                    namespace: text("/metadata/namespace"),
                    ..ObjectMeta::default()
                }
            });
            // A Secret is kept by nobody but those who use it.
            let raw = if kind == ObjectKind::Secret { Value::Null } else { manifest };
            Object::Unreadable(Arc::new(Unreadable { kind, meta, reason: error.to_string(), raw }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_that_does_not_fit_keeps_its_name() {
        let manifest = json!({
            "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
            "metadata": {"name": "b", "namespace": "n"}, "spec": {"type": "Quantum"},
        });
        let object = Object::read(manifest).expect("a kind of ours");
        assert!(matches!(object, Object::Unreadable(_)), "{object:?}");
        assert_eq!(object.key().to_string(), "Backend n/b");
    }

    #[test]
    fn kinds_of_others_are_left_alone() {
        for (version, kind) in
            [("v1", "PersistentVolume"), ("example.com/v1", "Backend"), ("gateway.networking.k8s.io/v1", "Service")]
        {
            let manifest = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}});
            assert!(Object::read(manifest).is_none(), "{kind}");
        }
    }
}
