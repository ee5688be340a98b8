//! The conditions of a match: path, method, headers and query.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method};
use regex::Regex;

/// Largest compiled size of one regular expression, in bytes.
const REGEX_SIZE_LIMIT: usize = 256 * 1024;

/// Why a match does not compile.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The pattern is no regular expression, or too large when compiled.
    #[error("regular expression {pattern:?}: {source}")]
    Regex {
        /// As the user wrote it.
        pattern: String,
        /// What the compiler found.
        source: Box<regex::Error>,
    },
    /// Not a name that a header can have.
    #[error("{0:?} is not a header name")]
    HeaderName(String),
    /// Not a method.
    #[error("{0:?} is not an HTTP method")]
    Method(String),
    /// Paths begin with '/'.
    #[error("path {0:?} does not begin with '/'")]
    Path(String),
}

/// Compiles a pattern that must match the whole of a value.
pub(crate) fn anchored(pattern: &str) -> Result<Regex, CompileError> {
    let compile = |text: &str| {
        let built = regex::RegexBuilder::new(text).size_limit(REGEX_SIZE_LIMIT).build();
        built.map_err(|e| CompileError::Regex { pattern: pattern.to_owned(), source: Box::new(e) })
    };
    // By itself first: `a)|(b` is no pattern, but would close the group below and escape from the anchors.
    compile(pattern)?;
    compile(&format!("^(?:{pattern})$"))
}

/// How the path must look.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole segments at the beginning; a trailing '/' of the prefix has no meaning.
    Prefix(String),
    /// A regular expression over the whole path.
    Regex(String),
}

impl PathMatch {
    /// Whether a router would take it, without a router.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), CompileError> {
        match self {
            PathMatch::Exact(path) | PathMatch::Prefix(path) if path.starts_with('/') => Ok(()),
            PathMatch::Exact(path) | PathMatch::Prefix(path) => Err(CompileError::Path(path.clone())),
            PathMatch::Regex(pattern) => anchored(pattern).map(drop),
        }
    }
}

/// How one value must look.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// Equal, letter case included.
    Exact(String),
    /// Matches as a whole.
    Regex(Regex),
}

impl ValueMatch {
    /// A pattern over the whole value.
    pub fn regex(pattern: &str) -> Result<Self, CompileError> {
        anchored(pattern).map(ValueMatch::Regex)
    }

    fn holds(&self, value: &str) -> bool {
        match self {
            ValueMatch::Exact(wanted) => wanted == value,
            ValueMatch::Regex(regex) => regex.is_match(value),
        }
    }
}

/// A named value and how it must look.
#[derive(Clone, Debug)]
pub struct Condition<N> {
    /// Header or query parameter.
    pub name: N,
    /// What its value must be.
    pub value: ValueMatch,
}

/// All conditions of one match; all must hold.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    /// The path.
    pub path: PathMatch,
    /// None: any.
    pub method: Option<Method>,
    /// Several lines of one header count as one, joined by ','.
    pub headers: Vec<Condition<HeaderName>>,
    /// Of a repeated parameter the first counts.
    pub query: Vec<Condition<String>>,
}

impl RouteMatch {
    /// Method, headers and query; the path is the table's.
    pub(crate) fn others_hold(&self, method: &Method, headers: &HeaderMap, query: Option<&str>) -> bool {
        self.method.as_ref().is_none_or(|m| m == method)
            && self.headers.iter().all(|c| header_holds(c, headers))
            && (self.query.is_empty() || query_holds(&self.query, query.unwrap_or_default()))
    }
}

fn header_holds(condition: &Condition<HeaderName>, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(&condition.name).iter();
    let Some(first) = values.next() else { return false };
    let Ok(first) = first.to_str() else { return false };
    let Some(second) = values.next() else { return condition.value.holds(first) };
    let mut joined = first.to_owned();
    for value in std::iter::once(second).chain(values) {
        let Ok(value) = value.to_str() else { return false };
        joined.push(',');
        joined.push_str(value);
    }
    condition.value.holds(&joined)
}

fn query_holds(conditions: &[Condition<String>], query: &str) -> bool {
    conditions.iter().all(|condition| {
        query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(name, _)| form_decode(name) == condition.name)
            .is_some_and(|(_, value)| condition.value.holds(&form_decode(value)))
    })
}

/// Decodes `application/x-www-form-urlencoded`: '+' is a space; a '%' without two hex digits stands for itself.
fn form_decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(h), Some(l)) => {
                    out.push(h * 16 + l);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            (byte, _) => out.push(*byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}
