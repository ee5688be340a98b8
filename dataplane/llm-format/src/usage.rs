//! What an answer cost and why it ended, in one form for all APIs.

use crate::Dialect;
use crate::json::Json;

/// Tokens of one answer, as the provider counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt, with those that were read from or written to a cache.
    pub input: u64,
    /// Tokens of the answer, with those of reasoning.
    pub output: u64,
    /// Part of `input` that was read from a cache.
    pub cache_read: u64,
    /// Part of `input` that was written to a cache.
    pub cache_write: u64,
    /// Part of `output` that was reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// Prompt and answer.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Reads the usage object of an API; `None` where it is none.
    pub(crate) fn read(dialect: Dialect, usage: &Json<'_>) -> Option<Usage> {
        usage.as_object()?;
        let of = |name: &str| usage.get(name).as_u64().unwrap_or(0);
        let detail = |group: &str, name: &str| usage.get(group).get(name).as_u64().unwrap_or(0);
        Some(match dialect {
            Dialect::OpenAiChat => Usage {
                input: of("prompt_tokens"),
                output: of("completion_tokens"),
                // DeepSeek has a name of its own for what its cache served.
                cache_read: detail("prompt_tokens_details", "cached_tokens").max(of("prompt_cache_hit_tokens")),
                cache_write: detail("prompt_tokens_details", "cache_write_tokens"),
                reasoning: detail("completion_tokens_details", "reasoning_tokens"),
            },
            Dialect::OpenAiResponses => Usage {
                input: of("input_tokens"),
                output: of("output_tokens"),
                cache_read: detail("input_tokens_details", "cached_tokens"),
                cache_write: detail("input_tokens_details", "cache_write_tokens"),
                reasoning: detail("output_tokens_details", "reasoning_tokens"),
            },
            Dialect::AnthropicMessages => {
                let (read, write) = (of("cache_read_input_tokens"), of("cache_creation_input_tokens"));
                Usage {
                    input: of("input_tokens").saturating_add(read).saturating_add(write),
                    output: of("output_tokens"),
                    cache_read: read,
                    cache_write: write,
                    reasoning: detail("output_tokens_details", "thinking_tokens"),
                }
            }
            Dialect::Gemini => Usage {
                input: of("promptTokenCount").saturating_add(of("toolUsePromptTokenCount")),
                output: of("candidatesTokenCount").saturating_add(of("thoughtsTokenCount")),
                cache_read: of("cachedContentTokenCount"),
                cache_write: 0,
                reasoning: of("thoughtsTokenCount"),
            },
            Dialect::BedrockConverse => {
                let (read, write) = (of("cacheReadInputTokens"), of("cacheWriteInputTokens"));
                Usage {
                    input: of("inputTokens").saturating_add(read).saturating_add(write),
                    output: of("outputTokens"),
                    cache_read: read,
                    cache_write: write,
                    reasoning: 0,
                }
            }
        })
    }

    /// Takes over what a later report of the same stream says: each number only grows (Anthropic's `message_delta` leaves
    /// out what `message_start` said).
    pub(crate) fn raise(&mut self, later: Usage) {
        self.input = self.input.max(later.input);
        self.output = self.output.max(later.output);
        self.cache_read = self.cache_read.max(later.cache_read);
        self.cache_write = self.cache_write.max(later.cache_write);
        self.reasoning = self.reasoning.max(later.reasoning);
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finish {
    /// The model was done.
    Stop,
    /// One of the request's stop sequences came.
    StopSequence,
    /// The limit of tokens was reached.
    Length,
    /// The model calls tools.
    ToolCalls,
    /// A filter of the provider ended it.
    ContentFilter,
    /// The model declined to answer.
    Refusal,
    /// The provider paused a long turn; it goes on when the answer is sent back.
    Pause,
    /// The provider failed.
    Error,
}

impl Finish {
    /// A short name for logs and metrics: OpenAI's, where it has one.
    pub fn as_str(self) -> &'static str {
        match self {
            Finish::Stop | Finish::StopSequence => "stop",
            Finish::Length => "length",
            Finish::ToolCalls => "tool_calls",
            Finish::ContentFilter => "content_filter",
            Finish::Refusal => "refusal",
            Finish::Pause => "pause",
            Finish::Error => "error",
        }
    }

    /// Reads the word that an API has for it.
    pub(crate) fn read(dialect: Dialect, word: &str) -> Finish {
        match dialect {
            Dialect::OpenAiChat => match word {
                "length" => Finish::Length,
                "tool_calls" | "function_call" => Finish::ToolCalls,
                "content_filter" => Finish::ContentFilter,
                _ => Finish::Stop,
            },
            // The reason of `incomplete_details`.
            Dialect::OpenAiResponses => match word {
                "content_filter" => Finish::ContentFilter,
                _ => Finish::Length,
            },
            Dialect::AnthropicMessages => match word {
                "stop_sequence" => Finish::StopSequence,
                "max_tokens" | "model_context_window_exceeded" => Finish::Length,
                "tool_use" => Finish::ToolCalls,
                "refusal" => Finish::Refusal,
                "pause_turn" => Finish::Pause,
                _ => Finish::Stop,
            },
            Dialect::Gemini => match word {
                "MAX_TOKENS" => Finish::Length,
                "SAFETY"
                | "RECITATION"
                | "BLOCKLIST"
                | "PROHIBITED_CONTENT"
                | "SPII"
                | "LANGUAGE"
                | "IMAGE_SAFETY"
                | "IMAGE_PROHIBITED_CONTENT"
                | "IMAGE_RECITATION"
                | "MODEL_ARMOR" => Finish::ContentFilter,
                "MALFORMED_FUNCTION_CALL"
                | "UNEXPECTED_TOOL_CALL"
                | "TOO_MANY_TOOL_CALLS"
                | "NO_IMAGE"
                | "IMAGE_OTHER"
                | "MALFORMED_RESPONSE"
                | "MISSING_THOUGHT_SIGNATURE" => Finish::Error,
                _ => Finish::Stop,
            },
            Dialect::BedrockConverse => match word {
                "stop_sequence" => Finish::StopSequence,
                "max_tokens" | "model_context_window_exceeded" => Finish::Length,
                "tool_use" => Finish::ToolCalls,
                "guardrail_intervened" | "content_filtered" => Finish::ContentFilter,
                "malformed_model_output" | "malformed_tool_use" => Finish::Error,
                _ => Finish::Stop,
            },
        }
    }
}
