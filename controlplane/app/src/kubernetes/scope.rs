//! Which namespaces this control plane looks at: all, or those that it was told.

use kube::core::{DynamicResourceScope, NamespaceResourceScope};
use kube::{Api, Client, Resource};

/// Which namespaces this control plane looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All that there are and will be.
    All,
    /// These, by rights in each of them.
    Namespaces(Vec<String>),
}

/// Where one watch looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the whole cluster.
    Cluster,
    /// At one namespace.
    Namespace(String),
}

impl Scope {
    /// All namespaces when none is named.
    pub(crate) fn new(namespaces: &[String]) -> Scope {
        let mut namespaces: Vec<String> = namespaces.iter().filter(|name| !name.is_empty()).cloned().collect();
        namespaces.sort();
        namespaces.dedup();
        if namespaces.is_empty() { Scope::All } else { Scope::Namespaces(namespaces) }
    }

    /// One place for each watch on a kind whose objects have namespaces.
    pub(crate) fn places(&self) -> Vec<Place> {
        match self {
            Scope::All => vec![Place::Cluster],
            Scope::Namespaces(namespaces) => namespaces.iter().cloned().map(Place::Namespace).collect(),
        }
    }
}

impl Place {
    /// Whether a namespace is here.
    pub(crate) fn covers(&self, namespace: &str) -> bool {
        matches!(self, Place::Cluster) || matches!(self, Place::Namespace(name) if name == namespace)
    }

    /// The objects of a kind here.
    pub(crate) fn api<K>(&self, client: Client, types: &K::DynamicType) -> Api<K>
    where
        K: Resource<Scope = DynamicResourceScope>,
    {
        match self {
            Place::Cluster => Api::all_with(client, types),
            Place::Namespace(namespace) => Api::namespaced_with(client, namespace, types),
        }
    }

    /// The same for a kind that is known at compile time.
    pub(crate) fn typed<K>(&self, client: Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match self {
            Place::Cluster => Api::all(client),
            Place::Namespace(namespace) => Api::namespaced(client, namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_told_apart_and_none_means_all() {
        assert_eq!(Scope::new(&[]), Scope::All);
        assert_eq!(Scope::new(&[String::new()]), Scope::All);
        let named = Scope::new(&["b".to_owned(), "a".to_owned(), "b".to_owned()]);
        assert_eq!(named.places(), [Place::Namespace("a".to_owned()), Place::Namespace("b".to_owned())]);
    }
}
