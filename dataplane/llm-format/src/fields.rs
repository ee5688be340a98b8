//! Top-level fields of clients' requests that cannot be translated to another API, as data. Fields that are neither here nor
//! read by the translation are left out and named in [`crate::Upstream::dropped`].

use crate::json::Json;
use crate::{Dialect, Error};

/// A field that is refused where the provider speaks another API, and why.
#[derive(Debug, Clone, Copy)]
pub struct RefusedField {
    /// What the client speaks.
    pub client: Dialect,
    /// The field.
    pub field: &'static str,
    /// Why.
    pub reason: &'static str,
}

const STATE: &str = "refers to state that only OpenAI keeps: send the whole conversation";
const PROTECTS: &str = "asks OpenAI to moderate, which another provider does not do";

const fn refused(client: Dialect, field: &'static str, reason: &'static str) -> RefusedField {
    RefusedField { client, field, reason }
}

/// All of them.
pub const REFUSED: &[RefusedField] = &[
    refused(Dialect::OpenAiChat, "functions", "is the old form of tools: use tools"),
    refused(Dialect::OpenAiChat, "function_call", "is the old form of tool_choice: use tool_choice"),
    refused(Dialect::OpenAiChat, "audio", "asks for spoken answers, which are not translated"),
    refused(Dialect::OpenAiChat, "web_search_options", "asks for a search that OpenAI runs"),
    refused(Dialect::OpenAiChat, "moderation", PROTECTS),
    refused(Dialect::OpenAiResponses, "previous_response_id", STATE),
    refused(Dialect::OpenAiResponses, "conversation", STATE),
    refused(Dialect::OpenAiResponses, "prompt", "refers to a prompt that is stored with OpenAI"),
    refused(Dialect::OpenAiResponses, "moderation", PROTECTS),
    refused(Dialect::OpenAiResponses, "context_management", "asks OpenAI to compact the conversation"),
    refused(Dialect::AnthropicMessages, "mcp_servers", "asks Anthropic to call MCP servers"),
    refused(Dialect::AnthropicMessages, "container", "names a container that Anthropic runs"),
    refused(Dialect::AnthropicMessages, "context_management", "asks Anthropic to edit the conversation"),
    refused(Dialect::AnthropicMessages, "inference_geo", "says where Anthropic may compute the answer"),
    refused(Dialect::Gemini, "cachedContent", "refers to content that is stored with Google"),
    refused(Dialect::Gemini, "cached_content", "refers to content that is stored with Google"),
];

/// Fields that the translation reads.
pub const READ: &[(Dialect, &[&str])] = &[
    (
        Dialect::OpenAiChat,
        &[
            "model",
            "messages",
            "stream",
            "stream_options",
            "max_tokens",
            "max_completion_tokens",
            "temperature",
            "top_p",
            "top_k",
            "seed",
            "frequency_penalty",
            "presence_penalty",
            "stop",
            "n",
            "logprobs",
            "top_logprobs",
            "logit_bias",
            "response_format",
            "reasoning_effort",
            "user",
            "safety_identifier",
            "metadata",
            "service_tier",
            "verbosity",
            "prompt_cache_key",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "modalities",
        ],
    ),
    (
        Dialect::OpenAiResponses,
        &[
            "model",
            "input",
            "instructions",
            "stream",
            "max_output_tokens",
            "temperature",
            "top_p",
            "top_logprobs",
            "text",
            "reasoning",
            "user",
            "safety_identifier",
            "metadata",
            "service_tier",
            "prompt_cache_key",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "background",
            "truncation",
            "include",
        ],
    ),
    (
        Dialect::AnthropicMessages,
        &[
            "model",
            "messages",
            "system",
            "stream",
            "max_tokens",
            "temperature",
            "top_p",
            "top_k",
            "stop_sequences",
            "thinking",
            "output_config",
            "output_format",
            "metadata",
            "tools",
            "tool_choice",
            "cache_control",
        ],
    ),
    (
        Dialect::Gemini,
        &[
            "contents",
            "systemInstruction",
            "system_instruction",
            "generationConfig",
            "generation_config",
            "tools",
            "toolConfig",
            "tool_config",
            "labels",
        ],
    ),
];

/// Most names of fields that are told; a request may have any number.
const MAX_NAMED: usize = 16;

/// Looks at the top level of a request: which fields are left out.
///
/// # Errors
/// One is there that is refused.
pub(crate) fn check(client: Dialect, provider: Dialect, body: &Json<'_>) -> Result<Vec<String>, Error> {
    let mut dropped = Vec::new();
    let read = READ.iter().find(|(dialect, _)| *dialect == client).map(|(_, fields)| *fields).unwrap_or_default();
    let Some(object) = body.as_object() else { return Err(Error::invalid("body", "must be an object")) };
    for (name, value) in object.iter() {
        let idle = match value {
            Json::Null => true,
            Json::Array(items) => items.is_empty(),
            _ => false,
        };
        if idle || read.contains(&name) {
            continue;
        }
        if let Some(refused) = REFUSED.iter().find(|refused| refused.client == client && refused.field == name) {
            return Err(Error::Unsupported { field: refused.field.into(), reason: refused.reason, target: provider });
        }
        if dropped.len() < MAX_NAMED {
            dropped.push(name.chars().take(64).filter(|c| !c.is_control()).collect());
        }
    }
    Ok(dropped)
}
