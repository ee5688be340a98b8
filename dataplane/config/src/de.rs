//! Deserialising a tree: plain scalars follow the core schema of YAML 1.2, and are text where text is expected.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use crate::tree::{Entry, Node, Value};

/// Reads from a node.
#[derive(Clone, Copy)]
pub(crate) struct Deserializer<'t> {
    node: &'t Node,
}

impl<'t> Deserializer<'t> {
    pub(crate) fn new(node: &'t Node) -> Self {
        Deserializer { node }
    }

    fn is_null(&self) -> bool {
        matches!(&self.node.value, Value::Scalar { text, plain: true } if is_null(text))
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// What deserialising finds wrong; the place is known from the path.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Error(String);

impl de::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Error(message.to_string())
    }
}

/// A scalar of the core schema (YAML 1.2 §10.3).
enum Plain<'t> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'t str),
}

fn plain(text: &str) -> Plain<'_> {
    match text {
        _ if is_null(text) => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let radix = |prefix: &str, radix: u32| text.strip_prefix(prefix).and_then(|t| u64::from_str_radix(t, radix).ok());
    if unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        if let Ok(number) = unsigned.parse::<u64>() {
            return Plain::Unsigned(number);
        }
        if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
            return Plain::Unsigned(number);
        }
    }
    let number = unsigned.strip_prefix('-').unwrap_or(unsigned);
    if number.starts_with(|c: char| c.is_ascii_digit() || c == '.') && number.contains(|c: char| c.is_ascii_digit()) {
        if let Ok(number) = text.parse::<i64>() {
            return Plain::Signed(number);
        }
        let float = number.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        if let (true, Ok(number)) = (float, unsigned.parse::<f64>()) {
            return Plain::Float(number);
        }
    }
    Plain::Text(text)
}

impl<'de> de::Deserializer<'de> for Deserializer<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Scalar { text, plain: false } => visitor.visit_str(text),
            Value::Scalar { text, plain: true } => match plain(text) {
                Plain::Null => visitor.visit_unit(),
                Plain::Bool(b) => visitor.visit_bool(b),
                Plain::Unsigned(n) => visitor.visit_u64(n),
                Plain::Signed(n) => visitor.visit_i64(n),
                Plain::Float(n) => visitor.visit_f64(n),
                Plain::Text(t) => visitor.visit_str(t),
            },
            Value::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Deserializer::new))),
            Value::Map(entries) => {
                let pairs = entries.iter().map(|Entry { key, value, .. }| (key.as_str(), Deserializer::new(value)));
                visitor.visit_map(MapDeserializer::new(pairs))
            }
        }
    }

    /// `env: {PORT: 3000}` is as good as `"3000"`, and keeps the text as it is written.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Scalar { text, .. } if !self.is_null() => visitor.visit_str(text),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// Only names: the types have no variants with content.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Scalar { text, .. } if !self.is_null() => {
                visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(text.as_str()))
            }
            _ => Err(Error(format!("must be one of {} ({name})", variants.join(", ")))),
        }
    }

    /// A struct's fields have names; serde would take them from a list too.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if matches!(self.node.value, Value::List(_)) {
            return Err(de::Error::invalid_type(Unexpected::Seq, &visitor));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for Deserializer<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A message of serde in the words of whoever writes YAML.
pub(crate) fn explain(message: &str) -> String {
    if let Some(field) = message.strip_prefix("missing field `").and_then(|m| m.strip_suffix('`')) {
        return format!("{field} must be set");
    }
    if let Some((variant, known)) = message.strip_prefix("unknown variant `").and_then(|m| m.split_once("`, expected "))
    {
        let known = known.trim_start_matches("one of ").replace('`', "");
        return format!("{variant:?} is not one of {}", known.replace(" or ", ", "));
    }
    let Some((found, expected)) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|m| m.rsplit_once(", expected "))
    else {
        return message.to_owned();
    };
    let expected = match expected {
        "u16" => "a number from 0 to 65535".to_owned(),
        "u32" => "a number from 0 to 4294967295".to_owned(),
        "u64" => "a whole number from 0".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "fields and their values".to_owned(),
        other if other.starts_with("struct ") => "fields and their values".to_owned(),
        other => other.to_owned(),
    };
    let found = found.replace('`', "");
    let found = match found.as_str() {
        "unit value" => "nothing",
        "sequence" => "a list",
        "map" => "fields and their values",
        other => other.strip_prefix("string ").unwrap_or(other),
    };
    format!("must be {expected}, not {found}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::tree::parse;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Sample {
        number: Option<u16>,
        flag: Option<bool>,
        text: Option<String>,
        list: Vec<String>,
        map: BTreeMap<String, String>,
    }

    fn read(text: &str) -> Result<Sample, String> {
        Sample::deserialize(Deserializer::new(&parse(text).expect("is YAML"))).map_err(|e| explain(&e.to_string()))
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let read = |text: &str| read(text).expect(text);
        assert_eq!(read("number: 0x10").number, Some(16));
        assert_eq!(read("number: 0o17").number, Some(15));
        assert_eq!(read("number: 010").number, Some(10));
        assert_eq!((read("flag: True").flag, read("flag: ~").flag, read("flag:").flag), (Some(true), None, None));
        assert_eq!(read("text: '~'").text.as_deref(), Some("~"));
        assert_eq!(read("text: yes").text.as_deref(), Some("yes"));
        assert_eq!(read("text: 1.10").text.as_deref(), Some("1.10"), "text stays as written");
        assert_eq!(read("text: !!str 5").text.as_deref(), Some("5"));
        assert_eq!(read("{list: [a, 2], map: {k: 3}}").map["k"], "3");
    }

    #[test]
    fn says_what_was_expected() {
        for (text, message) in [
            ("number: many", "must be a number from 0 to 65535, not \"many\""),
            ("number: 70000", "must be a number from 0 to 65535, not integer 70000"),
            ("number: -1", "must be a number from 0 to 65535, not integer -1"),
            ("number: '5'", "must be a number from 0 to 65535, not \"5\""),
            ("number: 1.5", "must be a number from 0 to 65535, not floating point 1.5"),
            ("flag: yes", "must be true or false, not \"yes\""),
            ("text: [a]", "must be text, not a list"),
            ("list: a", "must be a list, not \"a\""),
            ("list: {a: b}", "must be a list, not fields and their values"),
            ("map: [a]", "must be fields and their values, not a list"),
            ("- a", "must be fields and their values, not a list"),
            ("list:", "must be a list, not nothing"),
        ] {
            assert_eq!(read(text).map(|_| ()), Err(message.to_owned()), "{text}");
        }
    }
}
