//! Which API is spoken, on either side.

use std::fmt;

/// The format of a chat API. Clients speak the first four, providers all five.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// OpenAI's Chat Completions, and all that is compatible with it.
    OpenAiChat,
    /// OpenAI's Responses.
    OpenAiResponses,
    /// Anthropic's Messages.
    AnthropicMessages,
    /// Google's `generateContent` and `streamGenerateContent`.
    Gemini,
    /// Amazon's `Converse` and `ConverseStream`.
    BedrockConverse,
}

impl Dialect {
    /// What clients may speak.
    pub const CLIENTS: [Dialect; 4] =
        [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages, Dialect::Gemini];

    /// What providers may speak.
    pub const PROVIDERS: [Dialect; 5] = [
        Dialect::OpenAiChat,
        Dialect::OpenAiResponses,
        Dialect::AnthropicMessages,
        Dialect::Gemini,
        Dialect::BedrockConverse,
    ];

    /// A short name for logs, metrics and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::OpenAiChat => "openai-chat",
            Dialect::OpenAiResponses => "openai-responses",
            Dialect::AnthropicMessages => "anthropic-messages",
            Dialect::Gemini => "gemini",
            Dialect::BedrockConverse => "bedrock-converse",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dialect::OpenAiChat => "OpenAI Chat Completions",
            Dialect::OpenAiResponses => "OpenAI Responses",
            Dialect::AnthropicMessages => "Anthropic Messages",
            Dialect::Gemini => "Gemini",
            Dialect::BedrockConverse => "Bedrock Converse",
        })
    }
}

/// How an answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// One JSON value.
    Whole,
    /// Server-sent events.
    Sse,
    /// A JSON array, sent element by element: Gemini's streams without `alt=sse`.
    JsonArray,
    /// Amazon's binary event stream (`application/vnd.amazon.eventstream`).
    EventStream,
}

impl Framing {
    /// The content type of answers of this framing.
    pub fn content_type(self) -> &'static str {
        match self {
            Framing::Whole | Framing::JsonArray => "application/json",
            Framing::Sse => "text/event-stream",
            Framing::EventStream => "application/vnd.amazon.eventstream",
        }
    }
}

/// Who serves the API: decides paths, where the model is named, and the small differences of the same format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Host {
    /// The API's own maker, or whoever is compatible with it.
    Direct,
    /// Azure OpenAI: `/openai/v1/...`, or `/openai/deployments/{model}/...` for chat and embeddings where `deployments`.
    Azure {
        /// Whether paths name the deployment.
        deployments: bool,
    },
    /// Vertex AI: paths name publisher and model; Anthropic's bodies name their version instead of the model.
    Vertex,
    /// Bedrock: paths name the model; Anthropic's bodies as with Vertex, streams as Amazon's event stream.
    Bedrock,
}

/// Differences among those that are compatible with Chat Completions. They are data of a provider's preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirks {
    /// The limit of the answer is called `max_tokens`, not `max_completion_tokens`.
    pub max_tokens: bool,
    /// `stream_options.include_usage` is understood; without it usage of streams is whatever the provider sends.
    pub stream_options: bool,
    /// The role `developer` is understood; otherwise it is written as `system`.
    pub developer_role: bool,
    /// `reasoning_effort` is understood.
    pub reasoning_effort: bool,
}

impl Quirks {
    /// OpenAI itself.
    pub const OPENAI: Quirks =
        Quirks { max_tokens: false, stream_options: true, developer_role: true, reasoning_effort: true };
    /// What others commonly understand (vLLM, Ollama, Groq, Mistral, DeepSeek, Together).
    pub const COMPATIBLE: Quirks =
        Quirks { max_tokens: true, stream_options: true, developer_role: false, reasoning_effort: true };
}

/// A provider as far as the format is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provider {
    /// What it speaks.
    pub dialect: Dialect,
    /// Who serves it.
    pub host: Host,
    /// For [`Dialect::OpenAiChat`].
    pub quirks: Quirks,
}

impl Provider {
    /// The API as its maker serves it.
    pub const fn direct(dialect: Dialect) -> Provider {
        let host = match dialect {
            Dialect::BedrockConverse => Host::Bedrock,
            _ => Host::Direct,
        };
        Provider { dialect, host, quirks: Quirks::OPENAI }
    }
}
