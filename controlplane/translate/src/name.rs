//! Namespace and name of an object.

use std::fmt;

use agentgateway_proto::v1::ObjectRef;
use kube::Resource;

/// Namespace and name of an object; the namespace is empty for objects of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Name {
    /// The name `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Name {
        Name { namespace: namespace.into(), name: name.into() }
    }

    /// The name of an object.
    pub fn of<R: Resource>(object: &R) -> Name {
        let meta = object.meta();
        Name::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }

    /// With the kind, as messages carry it.
    pub fn to_ref(&self, kind: &str) -> ObjectRef {
        ObjectRef { kind: kind.to_owned(), namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}
