//! A set that holds one element in place, a few in a sorted list, and many in a tree.

use std::borrow::Borrow;
use std::collections::{BTreeSet, btree_set};
use std::fmt;
use std::slice;

/// Elements that the sorted list holds at most: it is moved at each change.
const MOST_LISTED: usize = 32;

/// An ordered set. Iteration is in order, whatever its size.
#[derive(Clone)]
pub struct SmallSet<T>(Form<T>);

/// What the set is made of. One form is chosen by size alone as the set grows; shrinking never goes back to the list.
#[derive(Clone)]
enum Form<T> {
    One(Option<T>),
    Few(Vec<T>),
    Many(BTreeSet<T>),
}

impl<T> Default for SmallSet<T> {
    fn default() -> Self {
        SmallSet(Form::One(None))
    }
}

impl<T> SmallSet<T> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::One(one) => usize::from(one.is_some()),
            Form::Few(few) => few.len(),
            Form::Many(many) => many.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in order.
    pub fn iter(&self) -> Iter<'_, T> {
        match &self.0 {
            Form::One(one) => Iter::Listed(one.as_slice().iter()),
            Form::Few(few) => Iter::Listed(few.iter()),
            Form::Many(many) => Iter::Tree(many.iter()),
        }
    }
}

impl<T: Ord> SmallSet<T> {
    /// Adds an element; whether it was not there before.
    pub fn insert(&mut self, element: T) -> bool {
        match &mut self.0 {
            Form::One(None) => {
                self.0 = Form::One(Some(element));
                true
            }
            Form::One(Some(one)) if *one == element => false,
            Form::One(one) => {
                let mut few: Vec<T> = Vec::with_capacity(2);
                few.extend(one.take());
                let at = usize::from(few.first().is_some_and(|first| *first < element));
                few.insert(at, element);
                self.0 = Form::Few(few);
                true
            }
            Form::Few(few) => match few.binary_search(&element) {
                Ok(_) => false,
                Err(at) if few.len() < MOST_LISTED => {
                    few.insert(at, element);
                    true
                }
                Err(_) => {
                    let mut many: BTreeSet<T> = std::mem::take(few).into_iter().collect();
                    many.insert(element);
                    self.0 = Form::Many(many);
                    true
                }
            },
            Form::Many(many) => many.insert(element),
        }
    }

    /// Takes an element out; whether it was there.
    pub fn remove<Q>(&mut self, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match &mut self.0 {
            Form::One(one) => {
                let found = one.as_ref().is_some_and(|one| one.borrow() == element);
                if found {
                    *one = None;
                }
                found
            }
            Form::Few(few) => {
                let found = few.binary_search_by(|known| known.borrow().cmp(element));
                if let Ok(at) = found {
                    few.remove(at);
                }
                found.is_ok()
            }
            Form::Many(many) => many.remove(element),
        }
    }

    /// Whether the element is there.
    pub fn contains<Q>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match &self.0 {
            Form::One(one) => one.as_ref().is_some_and(|one| one.borrow() == element),
            Form::Few(few) => few.binary_search_by(|known| known.borrow().cmp(element)).is_ok(),
            Form::Many(many) => many.contains(element),
        }
    }

    /// The elements that `other` does not have, in order.
    pub fn difference<'a>(&'a self, other: &'a SmallSet<T>) -> impl Iterator<Item = &'a T> {
        self.iter().filter(|element| !other.contains(*element))
    }
}

impl<T: PartialEq> PartialEq for SmallSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for SmallSet<T> {}

impl<T: fmt::Debug> fmt::Debug for SmallSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

impl<T: Ord> FromIterator<T> for SmallSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut set = SmallSet::default();
        set.extend(elements);
        set
    }
}

impl<T: Ord> Extend<T> for SmallSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        for element in elements {
            self.insert(element);
        }
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for SmallSet<T> {
    fn from(elements: [T; N]) -> Self {
        elements.into_iter().collect()
    }
}

impl<'a, T> IntoIterator for &'a SmallSet<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for SmallSet<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        match self.0 {
            Form::One(one) => IntoIter::One(one.into_iter()),
            Form::Few(few) => IntoIter::Few(few.into_iter()),
            Form::Many(many) => IntoIter::Many(many.into_iter()),
        }
    }
}

/// References to the elements, in order.
#[derive(Clone, Debug)]
pub enum Iter<'a, T> {
    /// Of one element or a list.
    Listed(slice::Iter<'a, T>),
    /// Of a tree.
    Tree(btree_set::Iter<'a, T>),
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        match self {
            Iter::Listed(listed) => listed.next(),
            Iter::Tree(tree) => tree.next(),
        }
    }
}

/// The elements, in order.
#[derive(Debug)]
pub enum IntoIter<T> {
    /// Of one element.
    One(std::option::IntoIter<T>),
    /// Of a list.
    Few(std::vec::IntoIter<T>),
    /// Of a tree.
    Many(btree_set::IntoIter<T>),
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            IntoIter::One(one) => one.next(),
            IntoIter::Few(few) => few.next(),
            IntoIter::Many(many) => many.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_as_a_tree_does(steps in proptest::collection::vec((any::<bool>(), 0_u8..60), 0..300)) {
            let (mut small, mut tree) = (SmallSet::default(), BTreeSet::new());
            for (add, element) in steps {
                if add {
                    prop_assert_eq!(small.insert(element), tree.insert(element));
                } else {
                    prop_assert_eq!(small.remove(&element), tree.remove(&element));
                }
                prop_assert_eq!(small.len(), tree.len());
                prop_assert!(small.iter().eq(tree.iter()));
                prop_assert_eq!(small.contains(&element), tree.contains(&element));
            }
            prop_assert!(small.clone().into_iter().eq(tree.clone()));
            prop_assert_eq!(small, tree.into_iter().collect());
        }
    }

    #[test]
    fn difference_and_equality_do_not_look_at_the_form() {
        let many: SmallSet<usize> = (0..=MOST_LISTED).collect();
        let mut shrunk = many.clone();
        (2..=MOST_LISTED).for_each(|n| {
            shrunk.remove(&n);
        });
        assert_eq!(shrunk, SmallSet::from([0, 1]));
        assert_eq!(many.difference(&shrunk).count(), MOST_LISTED - 1);
        assert_eq!(format!("{shrunk:?}"), "{0, 1}");
    }
}
