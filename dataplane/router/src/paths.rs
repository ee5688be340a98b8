//! Values by path: a sorted list while they are few, a persistent map when they are many.
//!
//! Most host names have one or two paths, and a node of the map takes more than a kilobyte.

use std::sync::Arc;

use crate::host::Map;

/// Values that a sorted list holds at most: it is copied at each change.
const MOST_LISTED: usize = 16;

/// Values by path. A clone shares all.
#[derive(Clone, Debug)]
pub(crate) enum Paths<V> {
    Few(Arc<[(Box<str>, V)]>),
    Many(Map<V>),
}

impl<V> Default for Paths<V> {
    fn default() -> Self {
        Paths::Few(Arc::new([]))
    }
}

impl<V: Clone> Paths<V> {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Paths::Few(listed) => listed.is_empty(),
            Paths::Many(map) => map.is_empty(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Option<&V> {
        match self {
            Paths::Few(listed) => {
                let at = listed.binary_search_by(|(known, _)| (**known).cmp(path)).ok()?;
                listed.get(at).map(|(_, value)| value)
            }
            Paths::Many(map) => map.get(path),
        }
    }

    pub(crate) fn insert(&mut self, path: &str, value: V) {
        match self {
            Paths::Few(listed) if listed.len() < MOST_LISTED || holds(listed, path) => {
                let mut next: Vec<_> = listed.iter().filter(|(known, _)| **known != *path).cloned().collect();
                let at = next.partition_point(|(known, _)| **known < *path);
                next.insert(at, (path.into(), value));
                *self = Paths::Few(next.into());
            }
            Paths::Few(listed) => {
                let mut map: Map<V> = listed.iter().cloned().collect();
                map.insert(path.into(), value);
                *self = Paths::Many(map);
            }
            Paths::Many(map) => {
                map.insert(path.into(), value);
            }
        }
    }

    pub(crate) fn remove(&mut self, path: &str) {
        match self {
            Paths::Few(listed) => {
                *self = Paths::Few(listed.iter().filter(|(known, _)| **known != *path).cloned().collect());
            }
            Paths::Many(map) => {
                map.remove(path);
                // Well below the bound, so that a path that comes and goes does not turn one into the other each time.
                if map.len() <= MOST_LISTED / 2 {
                    let mut listed: Vec<_> = map.iter().map(|(path, value)| (path.clone(), value.clone())).collect();
                    listed.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
                    *self = Paths::Few(listed.into());
                }
            }
        }
    }
}

fn holds<V>(listed: &[(Box<str>, V)], path: &str) -> bool {
    listed.binary_search_by(|(known, _)| (**known).cmp(path)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_map_and_back() {
        let mut paths = Paths::default();
        let name = |i: usize| format!("/{}", i * 7 % 40);
        for i in 0..40 {
            paths.insert(&name(i), i);
            paths.insert(&name(i), i + 100);
            assert!((0..=i).all(|k| paths.get(&name(k)) == Some(&(k + 100))), "after {i}");
        }
        assert!(matches!(paths, Paths::Many(_)));
        for i in 0..40 {
            paths.remove(&name(i));
            assert_eq!(paths.get(&name(i)), None);
            assert!((i + 1..40).all(|k| paths.get(&name(k)) == Some(&(k + 100))), "after {i}");
        }
        assert!(matches!(paths, Paths::Few(_)) && paths.is_empty());
    }
}
