//! What a request of the stateless protocol must say of itself (MCP 2026-07-28 "Per-request protocol fields" and
//! "Transports"), and how it is refused when headers and body disagree.

use std::borrow::Cow;

use agentgateway_upstream::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::jsonrpc::{self, Envelope, members, string};
use crate::protocol::{METHOD, Method, NAME, PROTOCOL_VERSION, SESSION_ID, Version, code, meta};
use crate::reply;

/// A request's own account of its client, each as the client wrote it.
#[derive(Debug)]
pub(crate) struct Meta<'a> {
    /// JSON object.
    pub(crate) capabilities: &'a str,
    /// JSON object.
    pub(crate) client: Option<&'a str>,
    /// JSON string.
    pub(crate) log_level: Option<&'a str>,
}

/// Why a request is refused: the HTTP status follows from the code.
#[derive(Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl Refusal {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(crate) fn into_response(self, id: Option<&str>) -> Response<Body> {
        let error = jsonrpc::error_object(self.code, &self.message, self.data.as_ref());
        reply::json(status(self.code), jsonrpc::raw_error(id, &error))
    }
}

/// The HTTP status of a JSON-RPC error.
pub(crate) fn status(error: i32) -> StatusCode {
    match error {
        code::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        code::PARSE
        | code::INVALID_REQUEST
        | code::INVALID_PARAMS
        | code::HEADER_MISMATCH
        | code::MISSING_CAPABILITY
        | code::UNSUPPORTED_VERSION => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// Whether a request's header names the stateless protocol.
pub(crate) fn says_modern(headers: &HeaderMap) -> bool {
    headers.get(PROTOCOL_VERSION).is_some_and(|v| v.as_bytes() == Version::MODERN.as_str().as_bytes())
}

/// Whether a request is of the stateless protocol: by its header, or, outside of a session, by its body.
pub(crate) fn is_modern(headers: &HeaderMap, envelope: &Envelope<'_>) -> bool {
    if says_modern(headers) {
        return true;
    }
    !headers.contains_key(SESSION_ID)
        && (Method::parse(envelope.method()) == Method::Discover
            || envelope.params.is_some_and(|params| params.contains(meta::VERSION)))
}

/// Checks a request, in the order that the specification's own implementations have.
pub(crate) fn check<'a>(headers: &HeaderMap, envelope: &Envelope<'a>) -> Result<Meta<'a>, Refusal> {
    let params = envelope.params.unwrap_or("{}");
    let invalid = |why: &str| Refusal::new(code::INVALID_PARAMS, format!("Invalid params: {why}"));
    let [own] = members(params, ["_meta"]).map_err(|e| invalid(&e.to_string()))?;
    let Some(own) = own.filter(|own| own.starts_with('{')) else {
        return Err(invalid(&format!(
            "\"_meta\" with \"{}\" and \"{}\" is missing",
            meta::VERSION,
            meta::CAPABILITIES
        )));
    };
    let [version, capabilities, client, log_level] =
        members(own, [meta::VERSION, meta::CAPABILITIES, meta::CLIENT, meta::LOG_LEVEL])
            .map_err(|e| invalid(&e.to_string()))?;
    let version = version.ok_or_else(|| invalid(&format!("\"{}\" is missing", meta::VERSION)))?;
    let version = string(version).map_err(|_| invalid(&format!("\"{}\" must be a string", meta::VERSION)))?;
    let capabilities = capabilities
        .filter(|c| c.starts_with('{'))
        .ok_or_else(|| invalid(&format!("\"{}\" must be an object", meta::CAPABILITIES)))?;
    same(headers, &PROTOCOL_VERSION, &version, false)?;
    let method = envelope.method();
    same(headers, &METHOD, method, false)?;
    if let Some(member) = Method::parse(method).name_param() {
        let [name] = members(params, [member]).map_err(|e| invalid(&e.to_string()))?;
        let name = name.ok_or_else(|| invalid(&format!("\"{member}\" is missing")))?;
        let name = string(name).map_err(|_| invalid(&format!("\"{member}\" must be a string")))?;
        same(headers, &NAME, &name, true)?;
    }
    if version != Version::MODERN.as_str() {
        let mut refusal = Refusal::new(code::UNSUPPORTED_VERSION, "Unsupported protocol version");
        refusal.data = Some(json!({"supported": [Version::MODERN.as_str()], "requested": version}));
        return Err(refusal);
    }
    Ok(Meta { capabilities, client, log_level: log_level.filter(|l| l.starts_with('"')) })
}

/// A header must be there once and say what the body says.
fn same(headers: &HeaderMap, name: &HeaderName, body: &str, is_encoded: bool) -> Result<(), Refusal> {
    let mismatch = |why: &str| Refusal::new(code::HEADER_MISMATCH, format!("Header mismatch: {name} {why}"));
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| mismatch("is missing"))?;
    if values.next().is_some() {
        return Err(mismatch("appears more than once"));
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| mismatch("is not UTF-8"))?.trim_matches([' ', '\t']);
    let said = if is_encoded { decode(text) } else { Some(Cow::Borrowed(text)) };
    match said {
        Some(said) if said == body => Ok(()),
        _ => Err(mismatch("differs from the body")),
    }
}

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// The text that a header's value stands for; nothing when it is encoded badly.
pub(crate) fn decode(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix(PREFIX).and_then(|v| v.strip_suffix(SUFFIX)) else {
        return Some(Cow::Borrowed(value));
    };
    String::from_utf8(STANDARD.decode(inner).ok()?).ok().map(Cow::Owned)
}

/// A header's value for any text: as it is where that survives a header, else in base64.
pub(crate) fn encode(text: &str) -> Option<HeaderValue> {
    let plain = text.bytes().all(|b| (0x20..0x7f).contains(&b))
        && text.trim() == text
        && !(text.starts_with(PREFIX) && text.ends_with(SUFFIX));
    let value =
        if plain { Cow::Borrowed(text) } else { Cow::Owned(format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(text))) };
    HeaderValue::from_str(&value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"é","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{}}}}}"#;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn code_of(all: &[(&'static str, &'static str)], body: &str) -> i32 {
        check(&headers(all), &Envelope::parse(body).unwrap()).map_or_else(|r| r.code, |_| 0)
    }

    #[test]
    fn headers_say_what_the_body_says() {
        let good =
            [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "=?base64?w6k=?=")];
        assert_eq!(code_of(&good, BODY), 0);
        for missing in 0..good.len() {
            let mut some = good.to_vec();
            some.remove(missing);
            assert_eq!(code_of(&some, BODY), code::HEADER_MISMATCH, "{missing}");
        }
        for (at, wrong) in ["2025-11-25", "Tools/call", "=?base64?w6k?="].into_iter().enumerate() {
            let mut some = good;
            some[at].1 = wrong;
            assert_eq!(code_of(&some, BODY), code::HEADER_MISMATCH, "{wrong}");
        }
        let later = BODY.replace("2026-07-28", "2027-01-01");
        let mut some = good;
        some[0].1 = "2027-01-01";
        assert_eq!(code_of(&some, &later), code::UNSUPPORTED_VERSION);
    }

    #[test]
    fn what_must_be_there() {
        for body in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":7}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/clientCapabilities":{}}}}"#,
        ] {
            assert_eq!(code_of(&[("mcp-protocol-version", "2026-07-28")], body), code::INVALID_PARAMS, "{body}");
        }
    }

    #[test]
    fn names_in_headers() {
        for text in ["plain", "", " edge", "é", "=?base64?x?=", "a\nb"] {
            let value = encode(text).unwrap();
            assert_eq!(decode(value.to_str().unwrap()).unwrap(), text);
        }
        assert_eq!(encode("plain").unwrap(), "plain");
        assert!(decode("=?base64?!?=").is_none());
    }
}
