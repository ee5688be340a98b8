//! Heads and values as Envoy's messages write them.

use agentgateway_callout::processor::Value as WireJson;
use agentgateway_callout::processor::{
    HeaderMap as WireHeaders, HeaderValue as WireValue, ListValue, Metadata, Struct, value,
};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header, response};
use serde_json::{Map, Number, Value};

use crate::{RequestContext, context};

/// How deep values may be.
const MAX_DEPTH: usize = 32;

/// The head of a request.
pub(super) fn request_headers(head: &Parts, of: &RequestContext) -> WireHeaders {
    let path = head.uri.path_and_query().map_or("/", |p| p.as_str());
    let pseudo = [
        (":method", head.method.as_str()),
        (":scheme", of.scheme),
        (":authority", context::authority(head)),
        (":path", path),
    ];
    let mut headers: Vec<WireValue> = Vec::with_capacity(head.headers.len() + pseudo.len());
    headers.extend(pseudo.map(|(name, value)| line(name, value.as_bytes())));
    let others = head.headers.iter().filter(|(name, _)| *name != header::HOST);
    headers.extend(others.map(|(name, value)| line(name.as_str(), value.as_bytes())));
    WireHeaders { headers }
}

/// The head of a response.
pub(super) fn response_headers(head: &response::Parts) -> WireHeaders {
    let mut headers = vec![line(":status", head.status.as_str().as_bytes())];
    headers.extend(lines(&head.headers));
    WireHeaders { headers }
}

pub(super) fn trailers(trailers: &HeaderMap) -> WireHeaders {
    WireHeaders { headers: lines(trailers).collect() }
}

fn lines(headers: &HeaderMap) -> impl Iterator<Item = WireValue> {
    headers.iter().map(|(name, value)| line(name.as_str(), value.as_bytes()))
}

fn line(name: &str, value: &[u8]) -> WireValue {
    WireValue { key: name.to_owned(), value: String::new(), raw_value: Bytes::copy_from_slice(value) }
}

/// Those parts of the metadata that are sent.
pub(super) fn metadata(all: Option<&Value>, names: &[String]) -> Option<Metadata> {
    let all = all?.as_object()?;
    let sent = names.iter().filter_map(|name| Some((name.clone(), from_json(all.get(name)?.as_object()?))));
    Some(Metadata { filter_metadata: sent.collect() })
}

pub(super) fn from_json(map: &Map<String, Value>) -> Struct {
    Struct { fields: map.iter().map(|(name, value)| (name.clone(), json_value(value))).collect() }
}

fn json_value(value: &Value) -> WireJson {
    let kind = match value {
        Value::Null => value::Kind::NullValue(0),
        Value::Bool(b) => value::Kind::BoolValue(*b),
        Value::Number(n) => value::Kind::NumberValue(n.as_f64().unwrap_or(f64::NAN)),
        Value::String(s) => value::Kind::StringValue(s.clone()),
        Value::Array(items) => value::Kind::ListValue(ListValue { values: items.iter().map(json_value).collect() }),
        Value::Object(map) => value::Kind::StructValue(from_json(map)),
    };
    WireJson { kind: Some(kind) }
}

/// What a processor leaves; what is deeper than it may be is null.
pub(crate) fn to_json(of: Struct) -> Map<String, Value> {
    object(of, MAX_DEPTH)
}

fn object(of: Struct, depth: usize) -> Map<String, Value> {
    of.fields.into_iter().map(|(name, value)| (name, wire_value(value, depth))).collect()
}

fn wire_value(of: WireJson, depth: usize) -> Value {
    let Some(deeper) = depth.checked_sub(1) else { return Value::Null };
    match of.kind {
        None | Some(value::Kind::NullValue(_)) => Value::Null,
        Some(value::Kind::BoolValue(b)) => Value::Bool(b),
        Some(value::Kind::NumberValue(n)) => number(n),
        Some(value::Kind::StringValue(s)) => Value::String(s),
        Some(value::Kind::ListValue(l)) => Value::Array(l.values.into_iter().map(|v| wire_value(v, deeper)).collect()),
        Some(value::Kind::StructValue(s)) => Value::Object(object(s, deeper)),
    }
}

/// All numbers are doubles there; a whole one is an `int` for expressions, so that `== 7` holds.
#[allow(clippy::cast_possible_truncation, reason = "it is whole, and small enough to be exact")]
fn number(n: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if n.fract() == 0.0 && n.abs() <= EXACT {
        return Value::from(n as i64);
    }
    Number::from_f64(n).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_come_back_as_they_went() {
        let all = json!({"a": {"n": 7, "f": 1.5, "s": "x", "l": [true, null], "o": {"p": -1}}, "b": 1, "c": {}});
        let sent = metadata(Some(&all), &["a".into(), "b".into(), "none".into()]).expect("is sent");
        assert_eq!(sent.filter_metadata.keys().collect::<Vec<_>>(), ["a"], "objects that are named");
        let back = to_json(sent.filter_metadata["a"].clone());
        assert_eq!(Value::Object(back), all["a"]);
    }

    #[test]
    fn what_is_too_deep_is_cut() {
        let mut value = Struct::default();
        for _ in 0..100 {
            let kind = Some(value::Kind::StructValue(value));
            value = Struct { fields: [("x".to_owned(), WireJson { kind })].into() };
        }
        let text = Value::Object(to_json(value)).to_string();
        assert_eq!(text.matches('x').count(), MAX_DEPTH + 1);
    }
}
