//! `request.query`: a map from name to value, both decoded; of a repeated name the first counts, as in route matches.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator as CelIterator, Sizer};
use cel::common::types::{CelInt, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};

use super::key;

/// The query of a request.
pub(crate) struct Query<'a> {
    text: &'a str,
    names: OnceLock<Vec<CelString<'a>>>,
}

impl<'a> Query<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Query { text, names: OnceLock::new() }
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.text.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    fn find(&self, name: &str) -> Option<Cow<'a, str>> {
        self.pairs().find(|(n, _)| decode(n) == name).map(|(_, value)| decode(value))
    }

    fn names(&self) -> &[CelString<'a>] {
        self.names.get_or_init(|| {
            let mut names: Vec<Cow<'a, str>> = Vec::new();
            for (name, _) in self.pairs() {
                let name = decode(name);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            names.into_iter().map(from_cow).collect()
        })
    }
}

fn from_cow(text: Cow<'_, str>) -> CelString<'_> {
    match text {
        Cow::Borrowed(text) => CelString::from(text),
        Cow::Owned(text) => CelString::from(text),
    }
}

/// Percent-encoding and '+' undone; what is not UTF-8 afterwards reads as U+FFFD.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (byte, hex(i + 1), hex(i + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                i += 3;
            }
            (b'+', _, _) => {
                decoded.push(b' ');
                i += 1;
            }
            _ => {
                decoded.push(byte);
                i += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

impl fmt::Debug for Query<'_> {
    /// Without values, which may be credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("query")
    }
}

impl Indexer for Query<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = key("request.query", index)?;
        self.find(name)
            .map(|value| CowVal::owned(from_cow(value)))
            .ok_or_else(|| ExecutionError::NoSuchKey(Arc::new(name.to_owned())))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

impl Container for Query<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.find(key("request.query", value)?).is_some())
    }
}

impl Sizer for Query<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.names().len()).unwrap_or(i64::MAX))
    }
}

impl Iterable for Query<'_> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(super::json::Values(self.names().iter()))
    }
}

super::json::map_value!(Query<'a>, |this| Query::new(this.text));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_is_encoded_and_leaves_the_rest() {
        for (text, decoded) in [("a", "a"), ("a+b", "a b"), ("%41%zz%4", "A%zz%4"), ("%ff", "\u{fffd}"), ("", "")] {
            assert_eq!(decode(text), decoded, "{text}");
        }
    }
}
