//! An answer over HTTP as the result of a tool.

use http::StatusCode;
use serde_json::{Value, json};

/// The result of a call. A JSON body is text and, for programs, `structuredContent`, where what is no object is its member
/// `result`. An answer without success is a result that is an error, which the model gets to read.
pub fn result(status: StatusCode, content_type: Option<&str>, body: &[u8]) -> Value {
    let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind == "application/json" || kind.ends_with("+json");
    let text = std::str::from_utf8(body).ok();
    let value = text.filter(|_| is_json).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let shown = match text {
        Some(text) if text.trim().is_empty() => format!("HTTP {}", status.as_u16()),
        Some(text) if status.is_success() => text.to_owned(),
        Some(text) => format!("HTTP {}: {text}", status.as_u16()),
        None => format!("HTTP {}: {} bytes of {kind}, which are no text", status.as_u16(), body.len()),
    };
    let mut result = json!({"content": [{"type": "text", "text": shown}], "isError": !status.is_success()});
    if status.is_success()
        && let Some(value) = value
    {
        result["structuredContent"] = if value.is_object() { value } else { json!({"result": value}) };
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let json = |status, body: &str| result(status, Some("application/json; charset=utf-8"), body.as_bytes());
        let object = json(StatusCode::OK, r#"{"a":1}"#);
        assert_eq!((&object["structuredContent"]["a"], &object["isError"]), (&1.into(), &false.into()));
        assert_eq!(object["content"][0]["text"], r#"{"a":1}"#);
        assert_eq!(json(StatusCode::OK, "[1]")["structuredContent"]["result"][0], 1);
        let failed = json(StatusCode::NOT_FOUND, r#"{"detail":"no pet"}"#);
        assert_eq!(failed["content"][0]["text"], r#"HTTP 404: {"detail":"no pet"}"#);
        assert!(failed["isError"] == true && failed.get("structuredContent").is_none());
        assert_eq!(result(StatusCode::NO_CONTENT, None, b"")["content"][0]["text"], "HTTP 204");
        let bytes = result(StatusCode::OK, Some("image/png"), b"\xff\xfe");
        assert_eq!(bytes["content"][0]["text"], "HTTP 200: 2 bytes of image/png, which are no text");
    }
}
