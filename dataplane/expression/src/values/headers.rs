//! `request.headers`: a map from name, in any case, to the value; values of a repeated header are joined by ", " (RFC 9110 §5.3).

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator as CelIterator, Sizer};
use cel::common::types::{CelInt, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};
use http::HeaderMap;
use http::header::AsHeaderName;

use super::key;

/// The headers of a request.
pub(crate) struct Headers<'a> {
    map: &'a HeaderMap,
    names: OnceLock<Vec<CelString<'a>>>,
}

impl<'a> Headers<'a> {
    pub(crate) fn new(map: &'a HeaderMap) -> Self {
        Headers { map, names: OnceLock::new() }
    }

    fn names(&self) -> &[CelString<'a>] {
        self.names.get_or_init(|| self.map.keys().map(|name| CelString::from(name.as_str())).collect())
    }
}

/// The value of a header, none when it is absent. Bytes that are not UTF-8 read as U+FFFD.
pub(crate) fn value<'a>(map: &'a HeaderMap, name: impl AsHeaderName) -> Option<CelString<'a>> {
    let mut values = map.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()));
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(match first {
            Cow::Borrowed(text) => CelString::from(text),
            Cow::Owned(text) => CelString::from(text),
        });
    };
    let mut joined = first.into_owned();
    for value in std::iter::once(second).chain(values) {
        joined.push_str(", ");
        joined.push_str(&value);
    }
    Some(CelString::from(joined))
}

impl fmt::Debug for Headers<'_> {
    /// Without values, which may be credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "headers({})", self.map.len())
    }
}

impl Indexer for Headers<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = key("request.headers", index)?;
        value(self.map, name).map(CowVal::owned).ok_or_else(|| ExecutionError::NoSuchKey(Arc::new(name.to_owned())))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

impl Container for Headers<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.map.contains_key(key("request.headers", value)?))
    }
}

impl Sizer for Headers<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.map.keys_len()).unwrap_or(i64::MAX))
    }
}

impl Iterable for Headers<'_> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(super::json::Values(self.names().iter()))
    }
}

super::json::map_value!(Headers<'a>, |this| Headers::new(this.map));
