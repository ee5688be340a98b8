//! Messages between the two kinds of protocol: a target's with a handshake, for a client without one.

use serde_json::{Value, json};

use crate::jsonrpc::{Envelope, members, quote};
use crate::protocol::{Method, code, meta};
use crate::splice::Splice;

/// For how long, in milliseconds, and for whom a result may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caching {
    pub(crate) ttl: u64,
    pub(crate) is_public: bool,
}

impl Caching {
    /// What is known of a server that says nothing: that it may change any time, and that it may know its callers.
    pub(crate) const UNKNOWN: Self = Self { ttl: 0, is_public: false };

    /// What a result says.
    pub(crate) fn of(result: &str) -> Self {
        let Ok([ttl, scope]) = members(result, ["ttlMs", "cacheScope"]) else { return Self::UNKNOWN };
        Self { ttl: ttl.and_then(|t| t.parse().ok()).unwrap_or(0), is_public: scope == Some(r#""public""#) }
    }

    /// Of a result that is made of two: the shorter time, and public only when both are.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { ttl: self.ttl.min(other.ttl), is_public: self.is_public && other.is_public }
    }

    /// As members of a result.
    pub(crate) fn members(self) -> String {
        let scope = if self.is_public { "public" } else { "private" };
        format!(r#""ttlMs":{},"cacheScope":"{scope}""#, self.ttl)
    }
}

/// A JSON object with more members, which it must not have yet.
pub(crate) fn with_members(object: &str, more: &str) -> String {
    if more.is_empty() {
        return object.to_owned();
    }
    let rest = object.trim_start().strip_prefix('{').unwrap_or("}").trim_start();
    let comma = if rest.starts_with('}') { "" } else { "," };
    format!("{{{more}{comma}{rest}")
}

/// A response of a target with a handshake, as the client without one expects it, under the client's id.
pub(crate) fn response(text: &str, id: &str, method: Method, server: &str) -> String {
    let Ok(envelope) = Envelope::parse(text) else { return text.to_owned() };
    let mut splice = Splice::new(text);
    if let Some(own) = envelope.id {
        splice.replace(own, id.to_owned());
    }
    if let Some(result) = envelope.result {
        splice.replace(result, complete(result, method, server));
    } else if let Some(error) = envelope.error
        && let Ok([Some(own)]) = members(error, ["code"])
        && own.parse() == Ok(code::RESOURCE_NOT_FOUND)
    {
        splice.replace(own, code::INVALID_PARAMS.to_string());
    }
    splice.finish()
}

/// A result with the members that the stateless protocol asks for. `server` is the JSON text of the server's name.
fn complete(result: &str, method: Method, server: &str) -> String {
    let Ok([kind, own, ttl]) = members(result, ["resultType", "_meta", "ttlMs"]) else { return result.to_owned() };
    let mut more = Vec::new();
    if kind.is_none() {
        more.push(r#""resultType":"complete""#.to_owned());
    }
    if method.is_cacheable() && ttl.is_none() {
        more.push(Caching::UNKNOWN.members());
    }
    let named = format!("{}:{server}", quote(meta::SERVER));
    match own {
        None => more.push(format!(r#""_meta":{{{named}}}"#)),
        Some(own) if !own.contains(meta::SERVER) && own.starts_with('{') => {
            let mut splice = Splice::new(result);
            splice.replace(own, with_members(own, &named));
            return with_members(&splice.finish(), &more.join(","));
        }
        Some(_) => {}
    }
    with_members(result, &more.join(","))
}

/// The error code of a response, when it is an error.
pub(crate) fn error_code(text: &str) -> Option<i32> {
    let envelope = Envelope::parse(text).ok()?;
    let [code] = members(envelope.error?, ["code"]).ok()?;
    code?.parse().ok()
}

/// The capability that a client must have declared for a request of a server.
pub(crate) fn capability(method: Method) -> Option<&'static str> {
    match method {
        Method::SamplingCreateMessage => Some("sampling"),
        Method::ElicitationCreate => Some("elicitation"),
        Method::RootsList => Some("roots"),
        _ => None,
    }
}

/// `{"sampling":{}}`, for an error that says what is missing.
pub(crate) fn required(capability: &str) -> Value {
    json!({"requiredCapabilities": {capability: {}}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_completed() {
        let server = r#"{"name":"s","version":"1"}"#;
        let text = response(r#"{"jsonrpc":"2.0","id":"g-1","result":{"tools":[]}}"#, "7", Method::ToolsList, server);
        let value: Value = serde_json::from_str(&text).unwrap();
        let result = json!({
            "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": [],
            "_meta": {meta::SERVER: {"name": "s", "version": "1"}},
        });
        assert_eq!(value, json!({"jsonrpc": "2.0", "id": 7, "result": result}));
        let text =
            response(r#"{"jsonrpc":"2.0","id":"g-1","result":{"_meta":{"a":1}}}"#, "\"x\"", Method::ToolsCall, server);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["result"]["_meta"], json!({"a": 1, meta::SERVER: {"name": "s", "version": "1"}}));
        assert_eq!(value["result"]["resultType"], "complete");
        assert_eq!(value["result"].get("ttlMs"), None);
        let whole = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","_meta":{}}}"#;
        let value: Value = serde_json::from_str(&response(whole, "1", Method::ToolsCall, server)).unwrap();
        assert_eq!(value["result"]["resultType"], "task");
    }

    #[test]
    fn a_missing_resource_has_another_code() {
        let text = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"x"}}"#;
        assert_eq!(error_code(&response(text, "1", Method::ResourcesRead, "{}")), Some(code::INVALID_PARAMS));
    }

    #[test]
    fn caching_of_a_merged_list() {
        let public = Caching::of(r#"{"ttlMs":500,"cacheScope":"public"}"#);
        let private = Caching::of(r#"{"ttlMs":900,"cacheScope":"private"}"#);
        assert_eq!(public.and(private), Caching { ttl: 500, is_public: false });
        assert_eq!(public.and(public), public);
        assert_eq!(Caching::of("{}"), Caching::UNKNOWN);
    }
}
