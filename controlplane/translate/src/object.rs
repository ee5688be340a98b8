//! What goes into the translator: objects, as they are read, and what proxies refused.

use std::fmt;
use std::sync::Arc;

use agentgateway_crds::{Backend, TrafficPolicy};
use agentgateway_proto::kind::Kind;
use gateway_api::apis::experimental::gatewayclasses::GatewayClass;
use gateway_api::apis::experimental::gateways::Gateway;
use gateway_api::apis::experimental::httproutes::HttpRoute;
use gateway_api::apis::experimental::referencegrants::ReferenceGrant;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::core::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Name;

/// The kinds of object that are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "named as in Kubernetes")]
pub enum ObjectKind {
    GatewayClass,
    Gateway,
    HttpRoute,
    ReferenceGrant,
    Service,
    EndpointSlice,
    Namespace,
    Backend,
    TrafficPolicy,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [ObjectKind; 9] = [
        ObjectKind::GatewayClass,
        ObjectKind::Gateway,
        ObjectKind::HttpRoute,
        ObjectKind::ReferenceGrant,
        ObjectKind::Service,
        ObjectKind::EndpointSlice,
        ObjectKind::Namespace,
        ObjectKind::Backend,
        ObjectKind::TrafficPolicy,
    ];

    /// The `kind` of its manifests.
    pub const fn kind(self) -> &'static str {
        match self {
            ObjectKind::GatewayClass => "GatewayClass",
            ObjectKind::Gateway => "Gateway",
            ObjectKind::HttpRoute => "HTTPRoute",
            ObjectKind::ReferenceGrant => "ReferenceGrant",
            ObjectKind::Service => "Service",
            ObjectKind::EndpointSlice => "EndpointSlice",
            ObjectKind::Namespace => "Namespace",
            ObjectKind::Backend => "Backend",
            ObjectKind::TrafficPolicy => "TrafficPolicy",
        }
    }

    /// The API group of its manifests.
    pub const fn group(self) -> &'static str {
        match self {
            ObjectKind::GatewayClass | ObjectKind::Gateway | ObjectKind::HttpRoute | ObjectKind::ReferenceGrant => {
                agentgateway_crds::GATEWAY_GROUP
            }
            ObjectKind::Service | ObjectKind::Namespace => "",
            ObjectKind::EndpointSlice => "discovery.k8s.io",
            ObjectKind::Backend | ObjectKind::TrafficPolicy => agentgateway_crds::GROUP,
        }
    }

    /// Whether its objects have no namespace.
    pub const fn cluster_scoped(self) -> bool {
        matches!(self, ObjectKind::GatewayClass | ObjectKind::Namespace)
    }
}

/// Kind, namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Kind.
    pub kind: ObjectKind,
    /// Namespace and name.
    pub name: Name,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.kind(), self.name)
    }
}

/// An object of one of the kinds that are translated.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "one variant per kind")]
pub enum Object {
    GatewayClass(Arc<GatewayClass>),
    Gateway(Arc<Gateway>),
    HttpRoute(Arc<HttpRoute>),
    ReferenceGrant(Arc<ReferenceGrant>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Namespace(Arc<Namespace>),
    Backend(Arc<Backend>),
    TrafficPolicy(Arc<TrafficPolicy>),
    /// An object that does not fit our types.
    Unreadable(Arc<Unreadable>),
}

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
        let kind = ObjectKind::ALL.into_iter().find(|k| k.kind() == text("kind") && k.group() == group)?;
        let name = manifest.pointer("/metadata/name").and_then(Value::as_str)?;
        if name.is_empty() {
            return None;
        }
        Some(match kind {
            ObjectKind::GatewayClass => read_as(manifest, kind, Object::GatewayClass),
            ObjectKind::Gateway => read_as(manifest, kind, Object::Gateway),
            ObjectKind::HttpRoute => read_as(manifest, kind, Object::HttpRoute),
            ObjectKind::ReferenceGrant => read_as(manifest, kind, Object::ReferenceGrant),
            ObjectKind::Service => read_as(manifest, kind, Object::Service),
            ObjectKind::EndpointSlice => read_as(manifest, kind, Object::EndpointSlice),
            ObjectKind::Namespace => read_as(manifest, kind, Object::Namespace),
            ObjectKind::Backend => read_as(manifest, kind, Object::Backend),
            ObjectKind::TrafficPolicy => read_as(manifest, kind, Object::TrafficPolicy),
        })
    }

    /// Kind, namespace and name.
    pub fn key(&self) -> ObjectKey {
        let meta = self.meta();
        let namespace = meta.namespace.clone().unwrap_or_default();
        ObjectKey { kind: self.kind(), name: Name::new(namespace, meta.name.clone().unwrap_or_default()) }
    }

    /// Kind.
    pub fn kind(&self) -> ObjectKind {
        match self {
            Object::GatewayClass(_) => ObjectKind::GatewayClass,
            Object::Gateway(_) => ObjectKind::Gateway,
            Object::HttpRoute(_) => ObjectKind::HttpRoute,
            Object::ReferenceGrant(_) => ObjectKind::ReferenceGrant,
            Object::Service(_) => ObjectKind::Service,
            Object::EndpointSlice(_) => ObjectKind::EndpointSlice,
            Object::Namespace(_) => ObjectKind::Namespace,
            Object::Backend(_) => ObjectKind::Backend,
            Object::TrafficPolicy(_) => ObjectKind::TrafficPolicy,
            Object::Unreadable(o) => o.kind,
        }
    }

    /// Metadata.
    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Object::GatewayClass(o) => o.meta(),
            Object::Gateway(o) => o.meta(),
            Object::HttpRoute(o) => o.meta(),
            Object::ReferenceGrant(o) => o.meta(),
            Object::Service(o) => o.meta(),
            Object::EndpointSlice(o) => o.meta(),
            Object::Namespace(o) => o.meta(),
            Object::Backend(o) => o.meta(),
            Object::TrafficPolicy(o) => o.meta(),
            Object::Unreadable(o) => &o.meta,
        }
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
            Object::Unreadable(Arc::new(Unreadable { kind, meta, reason: error.to_string(), raw: manifest }))
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
            [("v1", "Pod"), ("example.com/v1", "Backend"), ("gateway.networking.k8s.io/v1", "Service")]
        {
            let manifest = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}});
            assert!(Object::read(manifest).is_none(), "{kind}");
        }
    }
}
