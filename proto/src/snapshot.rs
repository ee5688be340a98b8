//! What one proxy is to have: every resource of one gateway, encoded and hashed once, ended by its Generation.
//!
//! A snapshot is immutable. The next one is an edit of the last: kinds that did not change are shared, so that whoever
//! compares two of them skips those at the cost of a pointer.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::bytes::Bytes;

use crate::kind::Kind;
use crate::resource::{Resource, version};
use crate::v1;

/// A resource as it travels.
#[derive(Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Hash of `bytes`.
    pub version: String,
    /// Protobuf encoding of the message.
    pub bytes: Bytes,
}

impl Encoded {
    /// Encodes and hashes.
    pub fn new(resource: &Resource) -> Encoded {
        let bytes = resource.encode();
        Encoded { version: version(&bytes), bytes }
    }
}

/// The resources of one kind by key.
pub type Keyed = BTreeMap<Arc<str>, Arc<Encoded>>;

/// Everything one gateway's proxies are to have.
#[derive(Clone, Debug)]
pub struct Snapshot {
    kinds: [Arc<Keyed>; Kind::PUSH_ORDER.len() - 1],
    /// Sum of the hashes of all entries, so that an edit costs what it changes.
    sum: u128,
    generation: Arc<Encoded>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Snapshot { kinds: Default::default(), sum: 0, generation: Arc::new(generation(0, 0)) }
    }
}

impl Snapshot {
    /// A snapshot of these resources. A Generation among them is left out: the snapshot makes its own.
    pub fn of<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Snapshot {
        let mut edit = Snapshot::default().edit();
        for resource in resources {
            edit.insert(resource);
        }
        edit.finish()
    }

    /// All resources of a kind; of Generation none, see [`Snapshot::generation`].
    pub fn kind(&self, kind: Kind) -> Option<&Arc<Keyed>> {
        self.kinds.get(slot(kind)?)
    }

    /// The mark that ends this snapshot.
    pub fn generation(&self) -> &Arc<Encoded> {
        &self.generation
    }

    /// Number of resources, the mark not counted.
    pub fn len(&self) -> usize {
        self.kinds.iter().map(|k| k.len()).sum()
    }

    /// Whether there is no resource but the mark.
    pub fn is_empty(&self) -> bool {
        self.kinds.iter().all(|k| k.is_empty())
    }

    /// Begins the next snapshot from this one.
    pub fn edit(&self) -> Edit {
        Edit { next: self.clone() }
    }
}

/// The next snapshot in the making.
#[derive(Debug)]
pub struct Edit {
    next: Snapshot,
}

impl Edit {
    /// Adds a resource, or replaces the one of the same key. Equal content changes nothing.
    pub fn insert(&mut self, resource: &Resource) {
        self.insert_encoded(resource.kind(), resource.key(), Arc::new(Encoded::new(resource)));
    }

    /// As [`Edit::insert`], for a resource that is already encoded.
    pub fn insert_encoded(&mut self, kind: Kind, key: &str, encoded: Arc<Encoded>) {
        let Some(keyed) = slot(kind).and_then(|s| self.next.kinds.get_mut(s)) else { return };
        if keyed.get(key).is_some_and(|old| **old == *encoded) {
            return;
        }
        self.next.sum = self.next.sum.wrapping_add(entry_hash(kind, key, &encoded.version));
        if let Some(old) = Arc::make_mut(keyed).insert(key.into(), encoded) {
            self.next.sum = self.next.sum.wrapping_sub(entry_hash(kind, key, &old.version));
        }
    }

    /// Removes a resource; one that is not there is no error.
    pub fn remove(&mut self, kind: Kind, key: &str) {
        let Some(keyed) = slot(kind).and_then(|s| self.next.kinds.get_mut(s)) else { return };
        if keyed.contains_key(key)
            && let Some(old) = Arc::make_mut(keyed).remove(key)
        {
            self.next.sum = self.next.sum.wrapping_sub(entry_hash(kind, key, &old.version));
        }
    }

    /// Ends the edit: makes the mark.
    pub fn finish(mut self) -> Snapshot {
        self.next.generation = Arc::new(generation(self.next.sum, self.next.len()));
        self.next
    }
}

fn generation(sum: u128, resources: usize) -> Encoded {
    Encoded::new(&Resource::Generation(v1::Generation {
        hash: format!("{sum:032x}"),
        resources: u64::try_from(resources).unwrap_or(u64::MAX),
    }))
}

fn entry_hash(kind: Kind, key: &str, version: &str) -> u128 {
    let mut hasher = blake3::Hasher::new();
    for part in [kind.message(), key, version] {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    let mut half = [0; 16];
    hasher.finalize_xof().fill(&mut half);
    u128::from_le_bytes(half)
}

fn slot(kind: Kind) -> Option<usize> {
    Kind::PUSH_ORDER.iter().position(|k| *k == kind).filter(|_| kind != Kind::Generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(key: &str, port: u32) -> Resource {
        Resource::Endpoint(v1::Endpoint { key: key.into(), port, ..Default::default() })
    }

    #[test]
    fn an_edit_and_a_fresh_snapshot_of_the_same_content_have_the_same_mark() {
        let first = Snapshot::of(&[endpoint("a", 1), endpoint("b", 2)]);
        let mut edit = first.edit();
        edit.insert(&endpoint("a", 3));
        edit.remove(Kind::Endpoint, "b");
        edit.remove(Kind::Endpoint, "never there");
        let edited = edit.finish();
        assert_ne!(edited.generation(), first.generation());
        assert_eq!(edited.generation(), Snapshot::of(&[endpoint("a", 3)]).generation());
        assert_eq!(edited.len(), 1);
    }

    #[test]
    fn kinds_that_do_not_change_are_shared() {
        let first = Snapshot::of(&[endpoint("a", 1)]);
        let mut edit = first.edit();
        edit.insert(&endpoint("a", 1));
        edit.insert(&Resource::Bind(v1::Bind { key: "b".into(), ..Default::default() }));
        let second = edit.finish();
        let shared = |k| Arc::ptr_eq(first.kind(k).expect("kind"), second.kind(k).expect("kind"));
        assert!(shared(Kind::Endpoint));
        assert!(!shared(Kind::Bind));
        assert!(first.kind(Kind::Generation).is_none());
    }
}
