//! What one proxy is to have: every resource of one gateway, encoded and hashed once, ended by its Generation.
//!
//! A snapshot is immutable. The next one is an edit of the last and shares with it what did not change; an edit, and the
//! comparison of two of them, cost what differs, however many resources there are.

use std::sync::Arc;

use imbl::ordmap::DiffItem;

use prost::bytes::Bytes;

use crate::kind::Kind;
use crate::resource::{Resource, Version};
use crate::v1;

/// A resource as it travels.
#[derive(Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Hash of `bytes`.
    pub version: Version,
    /// Protobuf encoding of the message.
    pub bytes: Bytes,
}

impl Encoded {
    /// Encodes and hashes.
    pub fn new(resource: &Resource) -> Encoded {
        Encoded::of(resource.encode())
    }

    /// Hashes what is encoded already.
    pub fn of(bytes: Bytes) -> Encoded {
        Encoded { version: Version::of(&bytes), bytes }
    }
}

/// The resources of one kind by key. A clone shares all.
pub type Keyed = imbl::OrdMap<Arc<str>, Arc<Encoded>>;

/// What differs between two states of a kind: the entries that are new or changed, and the keys that are gone.
#[derive(Debug, Default)]
pub struct Difference<'a> {
    /// In order of their keys.
    pub changed: Vec<(&'a Arc<str>, &'a Arc<Encoded>)>,
    /// In order.
    pub removed: Vec<&'a Arc<str>>,
}

/// Compares two states; parts that they share cost nothing.
pub fn difference<'a>(old: &'a Keyed, new: &'a Keyed) -> Difference<'a> {
    let mut found = Difference::default();
    for item in old.diff(new) {
        match item {
            DiffItem::Add(key, encoded) | DiffItem::Update { new: (key, encoded), .. } => {
                found.changed.push((key, encoded));
            }
            DiffItem::Remove(key, _) => found.removed.push(key),
        }
    }
    found
}

/// Everything one gateway's proxies are to have.
#[derive(Clone, Debug)]
pub struct Snapshot {
    kinds: [Keyed; Kind::PUSH_ORDER.len() - 1],
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
    pub fn kind(&self, kind: Kind) -> Option<&Keyed> {
        self.kinds.get(slot(kind)?)
    }

    /// The mark that ends this snapshot.
    pub fn generation(&self) -> &Arc<Encoded> {
        &self.generation
    }

    /// Number of resources, the mark not counted.
    pub fn len(&self) -> usize {
        self.kinds.iter().map(Keyed::len).sum()
    }

    /// Whether there is no resource but the mark.
    pub fn is_empty(&self) -> bool {
        self.kinds.iter().all(Keyed::is_empty)
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
        self.next.sum = self.next.sum.wrapping_add(entry_hash(kind, key, encoded.version));
        if let Some(old) = keyed.insert(key.into(), encoded) {
            self.next.sum = self.next.sum.wrapping_sub(entry_hash(kind, key, old.version));
        }
    }

    /// Removes a resource; one that is not there is no error.
    pub fn remove(&mut self, kind: Kind, key: &str) {
        let Some(keyed) = slot(kind).and_then(|s| self.next.kinds.get_mut(s)) else { return };
        if let Some(old) = keyed.remove(key) {
            self.next.sum = self.next.sum.wrapping_sub(entry_hash(kind, key, old.version));
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

fn entry_hash(kind: Kind, key: &str, version: Version) -> u128 {
    let mut hasher = blake3::Hasher::new();
    for part in [kind.message(), key, &version.to_string()] {
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
        let shared = |k| first.kind(k).expect("kind").ptr_eq(second.kind(k).expect("kind"));
        assert!(shared(Kind::Endpoint));
        assert!(!shared(Kind::Bind));
        assert!(first.kind(Kind::Generation).is_none());
    }

    #[test]
    fn a_difference_is_what_was_edited() {
        let all: Vec<_> = (0..1000).map(|i| endpoint(&format!("{i:04}"), 1)).collect();
        let first = Snapshot::of(&all);
        let mut edit = first.edit();
        edit.insert(&endpoint("0500", 2));
        edit.insert(&endpoint("new", 1));
        edit.remove(Kind::Endpoint, "0007");
        let second = edit.finish();
        let (old, new) = (first.kind(Kind::Endpoint).expect("kind"), second.kind(Kind::Endpoint).expect("kind"));
        let found = difference(old, new);
        assert_eq!(found.changed.iter().map(|(key, _)| &***key).collect::<Vec<_>>(), ["0500", "new"]);
        assert_eq!(found.removed.iter().map(|key| &***key).collect::<Vec<_>>(), ["0007"]);
    }
}
