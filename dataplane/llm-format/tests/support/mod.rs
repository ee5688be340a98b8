//! What the tests of the translation share: requests of each API, providers, and Amazon's frames.

#![allow(dead_code, reason = "not every test uses all of it")]

use agentgateway_llm_format::{Call, Dialect, Framing, Host, Json, Provider, Quirks, Request};
use bytes::Bytes;

/// A request of a client as it would come.
pub(crate) fn request(client: Dialect, body: &str, framing: Framing) -> Request {
    let (path, query) = match (client, framing) {
        (Dialect::OpenAiResponses, _) => ("/v1/responses", None),
        (Dialect::AnthropicMessages, _) => ("/v1/messages", None),
        (Dialect::Gemini, Framing::Whole) => ("/v1beta/models/m:generateContent", None),
        (Dialect::Gemini, Framing::JsonArray) => ("/v1beta/models/m:streamGenerateContent", None),
        (Dialect::Gemini, _) => ("/v1beta/models/m:streamGenerateContent", Some("alt=sse")),
        _ => ("/v1/chat/completions", None),
    };
    let call = Call::recognise("POST", path, query, false).unwrap();
    Request::parse(call, Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

/// A small request for an answer of this framing.
pub(crate) fn asking(client: Dialect, framing: Framing) -> Request {
    let stream = framing != Framing::Whole;
    let body = match client {
        Dialect::OpenAiChat => format!(
            r#"{{"model":"m","stream":{stream},"stream_options":{{"include_usage":true}},"messages":[{{"role":"user","content":"Hi"}}]}}"#
        ),
        Dialect::OpenAiResponses => format!(r#"{{"model":"m","stream":{stream},"input":"Hi"}}"#),
        Dialect::AnthropicMessages => {
            format!(r#"{{"model":"m","stream":{stream},"max_tokens":9,"messages":[{{"role":"user","content":"Hi"}}]}}"#)
        }
        _ => r#"{"contents":[{"parts":[{"text":"Hi"}]}]}"#.to_owned(),
    };
    request(client, &body, framing)
}

/// Providers with a name for files, and the model as they know it.
pub(crate) fn providers() -> Vec<(&'static str, Provider, &'static str)> {
    let compatible = Provider { quirks: Quirks::COMPATIBLE, ..Provider::direct(Dialect::OpenAiChat) };
    let vertex = Provider { host: Host::Vertex, ..Provider::direct(Dialect::Gemini) };
    let claude_on_vertex = Provider { host: Host::Vertex, ..Provider::direct(Dialect::AnthropicMessages) };
    let claude_on_bedrock = Provider { host: Host::Bedrock, ..Provider::direct(Dialect::AnthropicMessages) };
    vec![
        ("openai-chat", Provider::direct(Dialect::OpenAiChat), "gpt-5"),
        ("openai-compatible", compatible, "llama-3"),
        ("openai-responses", Provider::direct(Dialect::OpenAiResponses), "gpt-5"),
        ("anthropic-messages", Provider::direct(Dialect::AnthropicMessages), "claude-sonnet-4-5"),
        ("anthropic-vertex", claude_on_vertex, "claude-opus-4-6"),
        ("anthropic-bedrock", claude_on_bedrock, "anthropic.claude-opus-4-6-v1"),
        ("gemini", Provider::direct(Dialect::Gemini), "gemini-3-pro-preview"),
        ("gemini-vertex", vertex, "gemini-2.5-pro"),
        (
            "bedrock-converse",
            Provider::direct(Dialect::BedrockConverse),
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("bedrock-nova", Provider::direct(Dialect::BedrockConverse), "amazon.nova-pro-v1:0"),
    ]
}

/// A frame of Amazon's event stream.
pub(crate) fn frame(name: &str, payload: &str) -> Vec<u8> {
    let (kind, header) =
        if name.ends_with("Exception") { ("exception", ":exception-type") } else { ("event", ":event-type") };
    let mut head = Vec::new();
    for (name, value) in [(":message-type", kind), (header, name), (":content-type", "application/json")] {
        head.push(name.len() as u8);
        head.extend_from_slice(name.as_bytes());
        head.push(7);
        head.extend_from_slice(&(value.len() as u16).to_be_bytes());
        head.extend_from_slice(value.as_bytes());
    }
    let mut out = ((16 + head.len() + payload.len()) as u32).to_be_bytes().to_vec();
    out.extend_from_slice(&(head.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload.as_bytes());
    let crc = crc32(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

/// The cases of a file of streams: names and texts.
pub(crate) fn cases(text: &str) -> Vec<(String, String)> {
    let mut cases: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("=== ") {
            Some(name) => cases.push((name.trim().to_owned(), String::new())),
            None => cases.last_mut().unwrap().1.push_str(line),
        }
    }
    cases
}

/// The bytes of a provider's stream, from the form in which it stands in a file.
pub(crate) fn stream_bytes(provider: Dialect, text: &str) -> Vec<u8> {
    if provider != Dialect::BedrockConverse {
        return text.as_bytes().to_vec();
    }
    text.lines().flat_map(|line| line.split_once('\t').map(|(name, payload)| frame(name, payload)).unwrap()).collect()
}

/// JSON with line ends, in the order of its members.
pub(crate) fn pretty(value: &Json<'_>, indent: usize, out: &mut String) {
    let pad = |out: &mut String, indent: usize| out.push_str(&format!("\n{}", "  ".repeat(indent)));
    match value {
        Json::Array(items) if !items.is_empty() => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                pad(out, indent + 1);
                pretty(item, indent + 1, out);
            }
            pad(out, indent);
            out.push(']');
        }
        Json::Object(object) if !object.is_empty() => {
            out.push('{');
            for (number, (name, value)) in object.iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                pad(out, indent + 1);
                out.push_str(&format!("{}: ", serde_json::to_string(name).unwrap()));
                pretty(value, indent + 1, out);
            }
            pad(out, indent);
            out.push('}');
        }
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(&value.to_string()),
        Json::Number(number) => out.push_str(&number.to_string()),
        Json::String(text) => out.push_str(&serde_json::to_string(text).unwrap()),
        Json::Array(_) => out.push_str("[]"),
        Json::Object(_) => out.push_str("{}"),
    }
}
