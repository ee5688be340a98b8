//! Which operation of which API a path names.

use crate::{Dialect, Framing};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An answer of a model.
    Generate,
    /// How many tokens a prompt has.
    CountTokens,
    /// Vectors of texts.
    Embeddings,
    /// The list of models, or one of them.
    Models,
}

/// A request's operation, before its body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What the client speaks.
    pub dialect: Dialect,
    /// What it asks for.
    pub operation: Operation,
    /// The model, where the path names it (Gemini, and one model of a list).
    pub model: Option<String>,
    /// How the answer of a path that says so travels (Gemini's streams); otherwise the body says.
    pub framing: Option<Framing>,
}

impl Call {
    fn new(dialect: Dialect, operation: Operation) -> Call {
        Call { dialect, operation, model: None, framing: None }
    }

    /// Finds the operation of a method, path and query; none where the path is no operation that is known here, and would
    /// be passed through as it is.
    ///
    /// Paths may have a prefix (`/openai/v1/chat/completions`): what counts is their end. `GET /v1/models` is OpenAI's and
    /// Anthropic's; `anthropic_version` says whether the request has that header.
    pub fn recognise(method: &str, path: &str, query: Option<&str>, anthropic_version: bool) -> Option<Call> {
        let path = path.trim_end_matches('/');
        match method {
            "POST" => post(path, query),
            "GET" => get(path, anthropic_version),
            _ => None,
        }
    }
}

fn post(path: &str, query: Option<&str>) -> Option<Call> {
    let ends = |with: &str| path.ends_with(with);
    if ends("/chat/completions") {
        return Some(Call::new(Dialect::OpenAiChat, Operation::Generate));
    }
    if ends("/responses") {
        return Some(Call::new(Dialect::OpenAiResponses, Operation::Generate));
    }
    if ends("/responses/input_tokens") {
        return Some(Call::new(Dialect::OpenAiResponses, Operation::CountTokens));
    }
    if ends("/messages") {
        return Some(Call::new(Dialect::AnthropicMessages, Operation::Generate));
    }
    if ends("/messages/count_tokens") {
        return Some(Call::new(Dialect::AnthropicMessages, Operation::CountTokens));
    }
    if ends("/embeddings") {
        return Some(Call::new(Dialect::OpenAiChat, Operation::Embeddings));
    }
    let (_, last) = path.rsplit_once("/models/")?;
    let (model, verb) = last.rsplit_once(':')?;
    let sse = query.is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"));
    let (operation, framing) = match verb {
        "generateContent" => (Operation::Generate, Framing::Whole),
        "streamGenerateContent" if sse => (Operation::Generate, Framing::Sse),
        "streamGenerateContent" => (Operation::Generate, Framing::JsonArray),
        "countTokens" => (Operation::CountTokens, Framing::Whole),
        _ => return None,
    };
    let model = unescape(model)?;
    Some(Call { dialect: Dialect::Gemini, operation, model: Some(model), framing: Some(framing) })
}

fn get(path: &str, anthropic_version: bool) -> Option<Call> {
    let (before, model) = match path.strip_suffix("/models") {
        Some(before) => (before, None),
        None => path.rsplit_once("/models/").map(|(before, model)| (before, Some(model)))?,
    };
    let dialect = if before.ends_with("/v1beta") {
        Dialect::Gemini
    } else if anthropic_version {
        Dialect::AnthropicMessages
    } else {
        Dialect::OpenAiChat
    };
    let model = match model {
        Some(model) => Some(unescape(model)?),
        None => None,
    };
    Some(Call { dialect, operation: Operation::Models, model, framing: None })
}

/// Takes percent-encoding out; none when the bytes are not UTF-8 or hold control characters.
fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| (byte as char).to_digit(16));
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        method: &str,
        path: &str,
        query: Option<&str>,
    ) -> Option<(Dialect, Operation, Option<String>, Option<Framing>)> {
        Call::recognise(method, path, query, false).map(|call| (call.dialect, call.operation, call.model, call.framing))
    }

    #[test]
    fn paths_of_each_api() {
        let generate = |dialect| Some((dialect, Operation::Generate, None, None));
        assert_eq!(of("POST", "/v1/chat/completions", None), generate(Dialect::OpenAiChat));
        assert_eq!(of("POST", "/openai/deployments/x/chat/completions", None), generate(Dialect::OpenAiChat));
        assert_eq!(of("POST", "/v1/responses", None), generate(Dialect::OpenAiResponses));
        assert_eq!(of("POST", "/v1/messages/", None), generate(Dialect::AnthropicMessages));
        assert_eq!(of("GET", "/v1/messages", None), None);
        assert_eq!(of("POST", "/v1/messages/batches", None), None);
        let gemini =
            |model: &str, framing| Some((Dialect::Gemini, Operation::Generate, Some(model.into()), Some(framing)));
        assert_eq!(of("POST", "/v1beta/models/g-2.5:generateContent", None), gemini("g-2.5", Framing::Whole));
        assert_eq!(
            of("POST", "/v1beta/models/a%2Fb:streamGenerateContent", Some("key=k&alt=sse")),
            gemini("a/b", Framing::Sse)
        );
        assert_eq!(of("POST", "/v1beta/models/a:streamGenerateContent", None), gemini("a", Framing::JsonArray));
        assert_eq!(of("POST", "/v1beta/models/%0a:generateContent", None), None);
        assert_eq!(of("GET", "/v1beta/models", None).map(|found| found.0), Some(Dialect::Gemini));
        assert_eq!(of("GET", "/v1/models/gpt-5", None).and_then(|found| found.2), Some("gpt-5".into()));
    }
}
