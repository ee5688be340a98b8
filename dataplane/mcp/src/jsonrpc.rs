//! The JSON-RPC 2.0 envelope: one shallow parse that leaves params and results as the bytes they came in.
//!
//! Members of an envelope, and of params whose content a rule speaks of, are read strictly: a name that appears twice,
//! or that differs from a known one in case alone, is refused. Servers disagree about which of the two counts, and a
//! rule that looked at one while the server obeys the other would protect nothing.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits;
use crate::protocol::code;

/// Why bytes are not a JSON-RPC message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the body is not JSON: {0}")]
    Syntax(String),
    #[error("the message is not a JSON-RPC 2.0 message: {0}")]
    Envelope(String),
}

impl Malformed {
    pub(crate) fn code(&self) -> i32 {
        match self {
            Self::Syntax(_) => code::PARSE,
            Self::Envelope(_) => code::INVALID_REQUEST,
        }
    }
}

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        match error.classify() {
            serde_json::error::Category::Data => Self::Envelope(error.to_string()),
            _ => Self::Syntax(error.to_string()),
        }
    }
}

/// What kind of message an envelope is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Notification,
    Response,
}

/// A message whose parts are slices of the text that it was parsed from.
#[derive(Debug, Clone)]
pub(crate) struct Envelope<'a> {
    pub(crate) text: &'a str,
    /// The id as written: `7` or `"7"`.
    pub(crate) id: Option<&'a str>,
    pub(crate) method: Option<Cow<'a, str>>,
    pub(crate) params: Option<&'a str>,
    pub(crate) result: Option<&'a str>,
    pub(crate) error: Option<&'a str>,
    pub(crate) kind: Kind,
}

impl<'a> Envelope<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let [version, id, method, params, result, error] =
            members(text, ["jsonrpc", "id", "method", "params", "result", "error"])?;
        let invalid = |what: &str| Malformed::Envelope(what.to_owned());
        if version != Some("\"2.0\"") {
            return Err(invalid("member \"jsonrpc\" must be \"2.0\""));
        }
        if let Some(id) = id {
            let kind = id.as_bytes().first().copied().unwrap_or_default();
            let response_without_id = id == "null" && error.is_some();
            if !(kind == b'"' || kind == b'-' || kind.is_ascii_digit() || response_without_id) {
                return Err(invalid("member \"id\" must be a string or a number"));
            }
            if id.len() > limits::ID_BYTES {
                return Err(invalid("member \"id\" is too long"));
            }
        }
        let method: Option<Cow<'a, str>> =
            method.map(string).transpose().map_err(|_| invalid("member \"method\" must be a string"))?;
        let kind = match (&method, id, result, error) {
            (Some(_), Some(_), None, None) => Kind::Request,
            (Some(_), None, None, None) => Kind::Notification,
            (None, Some(_), Some(_), None) | (None, _, None, Some(_)) => Kind::Response,
            _ => return Err(invalid("it is neither a request, nor a notification, nor a response")),
        };
        if params.is_some_and(|p| !p.starts_with(['{', '['])) {
            return Err(invalid("member \"params\" must be an object"));
        }
        Ok(Self { text, id, method, params, result, error, kind })
    }

    pub(crate) fn method(&self) -> &str {
        self.method.as_deref().unwrap_or_default()
    }
}

/// A string whose JSON text is `raw`.
pub(crate) fn string(raw: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    struct Text;
    impl<'de> Visitor<'de> for Text {
        type Value = Cow<'de, str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text))
        }
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.to_owned()))
        }
    }
    serde_json::Deserializer::from_str(raw).deserialize_str(Text)
}

/// The JSON text of the string `text`.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The raw text of the named members of the JSON object `text`; others are skipped unread.
pub(crate) fn members<'a, const N: usize>(
    text: &'a str,
    names: [&'static str; N],
) -> Result<[Option<&'a str>; N], serde_json::Error> {
    struct Members<const N: usize>([&'static str; N]);
    impl<'de, const N: usize> Visitor<'de> for Members<N> {
        type Value = [Option<&'de str>; N];
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = [None; N];
            while let Some(Key(name)) = map.next_key()? {
                match self.0.iter().position(|known| folds_to(&name, known)) {
                    Some(at) if name == self.0[at] => {
                        if found[at].is_some() {
                            return Err(de::Error::custom(format_args!("member \"{name}\" appears twice")));
                        }
                        found[at] = Some(map.next_value::<&'de RawValue>()?.get());
                    }
                    Some(at) => {
                        return Err(de::Error::custom(format_args!(
                            "member \"{name}\" could be taken for \"{}\"",
                            self.0[at]
                        )));
                    }
                    None => {
                        map.next_value::<de::IgnoredAny>()?;
                    }
                }
            }
            Ok(found)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = deserializer.deserialize_map(Members(names))?;
    deserializer.end()?;
    Ok(found)
}

/// A member's name, borrowed where it holds no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> de::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// Equality as the most lenient decoder sees it: Go's encoding/json folds case, and with it U+017F to "s" and U+212A to
/// "k".
fn folds_to(name: &str, known: &str) -> bool {
    if name.is_ascii() {
        return name.eq_ignore_ascii_case(known);
    }
    let mut known = known.chars();
    for c in name.chars() {
        let folded = match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        };
        if known.next().map(|k| k.to_ascii_lowercase()) != Some(folded) {
            return false;
        }
    }
    known.next().is_none()
}

/// The items of the JSON array `text`, each as it is written.
pub(crate) fn items(text: &str) -> Result<Vec<&str>, serde_json::Error> {
    let raw: Vec<&RawValue> = serde_json::from_str(text)?;
    Ok(raw.into_iter().map(RawValue::get).collect())
}

/// A request with the given id (as written), and params when not empty.
pub(crate) fn request(id: &str, method: &str, params: &str) -> Bytes {
    let method = quote(method);
    if params.is_empty() {
        return Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method}}}"#));
    }
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#))
}

/// A notification without params.
pub(crate) fn notification(method: &str) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","method":{}}}"#, quote(method)))
}

/// A successful response.
pub(crate) fn result(id: &str, result: &str) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

/// An error response; `error` is the JSON text of the error object.
pub(crate) fn raw_error(id: Option<&str>, error: &str) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, id.unwrap_or("null")))
}

/// An error response.
pub(crate) fn error(id: Option<&str>, code: i32, message: &str) -> Bytes {
    raw_error(id, &error_object(code, message, None))
}

/// The JSON text of an error object.
pub(crate) fn error_object(code: i32, message: &str, data: Option<&serde_json::Value>) -> String {
    match data {
        Some(data) => format!(r#"{{"code":{code},"message":{},"data":{data}}}"#, quote(message)),
        None => format!(r#"{{"code":{code},"message":{}}}"#, quote(message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_slices_of_the_text() {
        let text = r#"{"jsonrpc":"2.0","id":"a\"b","method":"tools/call","params":{"name":"x", "n":1.50}}"#;
        let envelope = Envelope::parse(text).unwrap();
        assert_eq!(envelope.kind, Kind::Request);
        assert_eq!(envelope.id, Some(r#""a\"b""#));
        assert_eq!(envelope.method(), "tools/call");
        assert_eq!(envelope.params, Some(r#"{"name":"x", "n":1.50}"#));
    }

    #[test]
    fn kinds() {
        let kind = |text: &str| Envelope::parse(text).map(|e| e.kind);
        assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"x"}"#).unwrap(), Kind::Notification);
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).unwrap(), Kind::Response);
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#).unwrap(), Kind::Response);
        for bad in [
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"1.0","method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":[1],"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","result":1}"#,
            r#"[]"#,
        ] {
            assert!(matches!(kind(bad), Err(Malformed::Envelope(_))), "{bad}");
        }
        assert!(matches!(kind("{\"jsonrpc\":"), Err(Malformed::Syntax(_))));
        assert!(matches!(kind(r#"{"jsonrpc":"2.0","method":"x"} {}"#), Err(Malformed::Syntax(_))));
    }

    #[test]
    fn members_that_servers_could_read_differently_are_refused() {
        for bad in [
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"a","Name":"b"}"#,
            r#"{"Name":"b"}"#,
            r#"{"\u006eame":"a","name":"b"}"#,
            r#"{"argument\u017f":{}}"#,
        ] {
            assert!(members(bad, ["name", "arguments"]).is_err(), "{bad}");
        }
        let [name] = members(r#"{"nam":1,"names":2,"\u006eame":"a"}"#, ["name"]).unwrap();
        assert_eq!(name, Some("\"a\""));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(
            text in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u00", "1", "-", "null", "true", " ", "\n", "\u{17f}",
                "\"jsonrpc\"", "\"2.0\"", "\"id\"", "\"method\"", "\"params\"", "\"result\"", "\"error\"",
            ]), 0..40),
        ) {
            let text = text.concat();
            if let Ok(envelope) = Envelope::parse(&text) {
                for part in [envelope.id, envelope.params, envelope.result, envelope.error].into_iter().flatten() {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(part).is_ok());
                    prop_assert!(text.as_bytes().as_ptr_range().contains(&part.as_ptr()));
                }
            }
        }

        #[test]
        fn members_are_those_of_a_full_parse(
            object in prop::collection::btree_map("[a-dA-D]{1,2}", "[a-z\"\\\\\u{e9}]{0,4}", 0..5),
        ) {
            let text = serde_json::to_string(&object).unwrap();
            if let Ok([found]) = members(&text, ["ab"]) {
                let found = found.map(|raw| string(raw).unwrap().into_owned());
                prop_assert_eq!(found.as_ref(), object.get("ab"));
            } else {
                prop_assert!(object.keys().filter(|k| k.eq_ignore_ascii_case("ab")).any(|k| k != "ab"));
            }
        }
    }

    #[test]
    fn deeply_nested_messages_cost_no_stack() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{}1{}}}"#,
            "[".repeat(1_000_000),
            "]".repeat(1_000_000)
        );
        assert!(Envelope::parse(&deep).is_ok());
        assert!(serde_json::from_str::<serde_json::Value>(&deep).is_err(), "and is refused where it would be built");
    }

    #[test]
    fn quoting() {
        assert_eq!(string(&quote("a\"\n\u{1F600}")).unwrap(), "a\"\n\u{1F600}");
        let text = String::from_utf8(error(Some("1"), -1, "say \"no\"").to_vec()).unwrap();
        assert!(Envelope::parse(&text).is_ok());
    }
}
