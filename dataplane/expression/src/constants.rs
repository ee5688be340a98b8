//! Parts of an expression that do not depend on the input, made once: patterns, lists of strings, addresses and networks,
//! header names.

use std::any::Any;
use std::collections::HashSet;

use cel::ExecutionError;
use cel::common::traits::Container;
use cel::common::types::{CelString, LIST_TYPE, Type};
use cel::common::value::{StaticVal, Val};
use http::HeaderName;
use regex::Regex;

use crate::addresses::{Address, Network};

/// A precomputed part; the tree refers to it as `@<index>`.
#[derive(Debug)]
pub(crate) enum Constant {
    /// The pattern of `matches`.
    Pattern(Pattern),
    /// The right side of `in`.
    Strings(Strings),
    /// The address of `ip("...")`.
    Address(Address),
    /// The network of `cidr("...")`.
    Network(Network),
    /// The header of `request.headers["..."]`.
    Header(HeaderName),
}

static PATTERN_TYPE: Type = Type::new_unspecified_type("pattern");

/// A compiled regular expression as a value.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(pub(crate) Regex);

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN_TYPE
    }

    fn cel_type() -> &'static Type {
        &PATTERN_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

/// A list of strings that only answers whether it contains one.
#[derive(Clone, Debug)]
pub(crate) struct Strings(pub(crate) HashSet<Box<str>>);

impl Container for Strings {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(value.downcast_ref::<CelString<'_>>().is_some_and(|s| self.0.contains(s.inner())))
    }
}

impl Val for Strings {
    fn get_type(&self) -> &Type {
        &LIST_TYPE
    }

    fn cel_type() -> &'static Type {
        &LIST_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Strings {}
