//! Where each operation of each provider is.

use crate::{Dialect, Error, Framing, Host, Operation, Provider};

/// The version of Anthropic's API that is spoken.
pub(crate) const ANTHROPIC_VERSION: &str = "2023-06-01";

impl Provider {
    /// The path before those of [`crate::Upstream::path`] where a provider is as its maker serves it. Vertex has project and
    /// location there (`/v1/projects/p/locations/l`), which only the configuration knows.
    pub fn base_path(&self) -> &'static str {
        match (self.host, self.dialect) {
            (Host::Azure { deployments: true }, _) => "/openai",
            (Host::Azure { deployments: false }, _) => "/openai/v1",
            (Host::Vertex | Host::Bedrock, _) | (_, Dialect::BedrockConverse) => "",
            (Host::Direct, Dialect::Gemini) => "/v1beta",
            (Host::Direct, _) => "/v1",
        }
    }
}

/// How the provider sends what the client wants in a framing.
pub(crate) fn framing(provider: &Provider, client: Framing) -> Framing {
    match (client, provider.host, provider.dialect) {
        (Framing::Whole, ..) => Framing::Whole,
        (_, Host::Bedrock, _) | (_, _, Dialect::BedrockConverse) => Framing::EventStream,
        _ => Framing::Sse,
    }
}

pub(crate) fn of(operation: Operation, provider: &Provider, model: &str, framing: Framing) -> Result<String, Error> {
    let model = escape(model);
    let stream = framing != Framing::Whole;
    let no = |reason| Err(Error::NoOperation { operation: super::word(operation), reason });
    Ok(match (operation, provider.dialect, provider.host) {
        (Operation::Generate, Dialect::OpenAiChat, Host::Azure { deployments: true }) => {
            format!("/deployments/{model}/chat/completions")
        }
        (Operation::Generate, Dialect::OpenAiChat, _) => "/chat/completions".to_owned(),
        (Operation::Generate, Dialect::OpenAiResponses, _) => "/responses".to_owned(),
        (Operation::Generate, Dialect::AnthropicMessages, Host::Vertex) => {
            let verb = if stream { "streamRawPredict" } else { "rawPredict" };
            format!("/publishers/anthropic/models/{model}:{verb}")
        }
        (Operation::Generate, Dialect::AnthropicMessages, Host::Bedrock) => {
            let verb = if stream { "invoke-with-response-stream" } else { "invoke" };
            format!("/model/{model}/{verb}")
        }
        (Operation::Generate, Dialect::AnthropicMessages, _) => "/messages".to_owned(),
        (Operation::Generate, Dialect::Gemini, host) => {
            let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            format!("{}/models/{model}:{verb}", publisher(host))
        }
        (Operation::Generate, Dialect::BedrockConverse, _) => {
            let verb = if stream { "converse-stream" } else { "converse" };
            format!("/model/{model}/{verb}")
        }
        (Operation::CountTokens, Dialect::OpenAiResponses, _) => "/responses/input_tokens".to_owned(),
        (Operation::CountTokens, Dialect::AnthropicMessages, Host::Direct) => "/messages/count_tokens".to_owned(),
        (Operation::CountTokens, Dialect::AnthropicMessages, Host::Vertex) => {
            "/publishers/anthropic/models/count-tokens:rawPredict".to_owned()
        }
        (Operation::CountTokens, Dialect::Gemini, host) => format!("{}/models/{model}:countTokens", publisher(host)),
        (Operation::CountTokens, Dialect::BedrockConverse, _)
        | (Operation::CountTokens, Dialect::AnthropicMessages, Host::Bedrock) => format!("/model/{model}/count-tokens"),
        (Operation::CountTokens, ..) => return no("its API has no such operation"),
        (Operation::Embeddings, Dialect::OpenAiChat | Dialect::OpenAiResponses, Host::Azure { deployments: true }) => {
            format!("/deployments/{model}/embeddings")
        }
        (Operation::Embeddings, Dialect::OpenAiChat | Dialect::OpenAiResponses, _) => "/embeddings".to_owned(),
        (Operation::Embeddings, Dialect::Gemini, Host::Vertex) => format!("/publishers/google/models/{model}:predict"),
        (Operation::Embeddings, Dialect::Gemini, _) => format!("/models/{model}:batchEmbedContents"),
        (Operation::Embeddings, Dialect::BedrockConverse, _) => format!("/model/{model}/invoke"),
        (Operation::Embeddings, Dialect::AnthropicMessages, _) => return no("Anthropic has no embeddings"),
        (Operation::Models, ..) => return no("lists of models are not sent to a provider"),
    })
}

fn publisher(host: Host) -> &'static str {
    if host == Host::Vertex { "/publishers/google" } else { "" }
}

/// One segment of a path: all but RFC 3986's unreserved characters is percent-encoded, so that a name can neither leave its
/// segment nor begin a query.
fn escape(model: &str) -> String {
    let mut out = String::with_capacity(model.len());
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte as char);
        } else {
            let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase();
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    // A segment of dots alone would mean another folder.
    if out == "." || out == ".." { out.replace('.', "%2E") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_stays_in_its_segment() {
        let provider = Provider::direct(Dialect::BedrockConverse);
        let path = of(Operation::Generate, &provider, "arn:aws:x/../y?z", Framing::EventStream).unwrap();
        assert_eq!(path, "/model/arn%3Aaws%3Ax%2F..%2Fy%3Fz/converse-stream");
        assert_eq!(escape(".."), "%2E%2E");
    }
}
