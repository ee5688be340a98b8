//! What each provider's API cannot be told, and what is done about it. The table is data: translation asks it, and
//! docs/llm/translation.md is checked against it.

use std::borrow::Cow;

use crate::neutral::{Content, Format, Prompt, Source, ToolMode, ToolOutput};
use crate::{Dialect, Error};

/// What is done with a part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It is translated.
    Translated,
    /// It is left out, for it changes nothing that the client relies on.
    Dropped(&'static str),
    /// The request is answered with a `400` that gives this reason.
    Refused(&'static str),
}

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// A part of a request that not every API knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "their texts say what they are")]
        pub enum Feature { $($(#[$doc])* $name),* }

        impl Feature {
            /// All of them.
            pub const ALL: &'static [Feature] = &[$(Feature::$name),*];

            /// What it is called in messages and in the documentation.
            pub fn as_str(self) -> &'static str {
                match self { $(Feature::$name => $text),* }
            }
        }
    };
}

features! {
    TopK = "top_k",
    Seed = "seed",
    FrequencyPenalty = "frequency_penalty",
    PresencePenalty = "presence_penalty",
    LogProbabilities = "logprobs",
    LogitBias = "logit_bias",
    Choices = "several choices",
    StopSequences = "stop sequences",
    JsonMode = "JSON without a schema",
    JsonSchema = "JSON by a schema",
    ParallelToolCalls = "parallel_tool_calls: false",
    NoTools = "tool_choice: none",
    StrictTools = "strict tools",
    ImageUrl = "images by URL",
    DocumentData = "documents as base64",
    DocumentUrl = "documents by URL",
    DocumentText = "documents as text",
    Audio = "audio",
    FileId = "ids of uploaded files",
    CacheMarks = "marks of prompt caching",
    CacheKey = "prompt_cache_key",
    Reasoning = "reasoning effort or budget",
    User = "the end user's id",
    Metadata = "metadata",
    ServiceTier = "service tier",
    Verbosity = "verbosity",
    FailedTool = "the mark of a tool's failure",
}

const NOT_THERE: &str = "the API has no such setting; the model's own sampling applies";
const OTHER_TOKENS: &str = "token ids and log probabilities are those of another model's vocabulary";

impl Feature {
    /// What is done with it where client and provider speak different APIs.
    pub fn treatment(self, provider: Dialect) -> Treatment {
        use Dialect::{AnthropicMessages, BedrockConverse, Gemini, OpenAiChat, OpenAiResponses};
        use Treatment::{Dropped, Refused, Translated};
        match (self, provider) {
            (Feature::TopK, OpenAiChat | OpenAiResponses) => Dropped(NOT_THERE),
            (Feature::TopK, BedrockConverse) => Translated,
            (Feature::Seed, OpenAiResponses | AnthropicMessages | BedrockConverse) => Dropped(NOT_THERE),
            (
                Feature::FrequencyPenalty | Feature::PresencePenalty,
                OpenAiResponses | AnthropicMessages | BedrockConverse,
            ) => Dropped(NOT_THERE),
            (Feature::LogProbabilities, _) => Refused("log probabilities are not translated between APIs"),
            (Feature::LogitBias, _) => Refused(OTHER_TOKENS),
            (Feature::Choices, OpenAiResponses | AnthropicMessages | BedrockConverse) => {
                Refused("the API gives one answer for each request")
            }
            (Feature::StopSequences, OpenAiResponses) => Refused("the API has no stop sequences"),
            (Feature::JsonMode, AnthropicMessages | BedrockConverse) => {
                Dropped("the API has no such mode; the prompt asks for JSON already, as OpenAI requires")
            }
            (Feature::ParallelToolCalls, Gemini | BedrockConverse) => {
                Dropped("the API has no such setting; the answer may hold several calls")
            }
            (Feature::NoTools, BedrockConverse) => {
                Refused("the API cannot be told to leave tools alone that the conversation has used")
            }
            (Feature::StrictTools, Gemini) => Dropped("the API has no such mark"),
            (Feature::ImageUrl, BedrockConverse) => {
                Refused("the API takes no images by URL (but s3://): send them as base64")
            }
            (Feature::ImageUrl, _) => Translated,
            (Feature::DocumentUrl, OpenAiChat | BedrockConverse) => {
                Refused("the API takes no documents by URL: send them as base64")
            }
            (Feature::DocumentText, OpenAiChat | OpenAiResponses | Gemini) => Translated,
            (Feature::Audio, OpenAiResponses | AnthropicMessages) => Refused("the API takes no audio"),
            (Feature::FileId, _) => Refused("an uploaded file is known to the provider it was uploaded to alone"),
            (Feature::CacheMarks, OpenAiChat | OpenAiResponses | Gemini) => Dropped("the API caches prompts by itself"),
            (Feature::CacheKey, AnthropicMessages | Gemini | BedrockConverse) => {
                Dropped("a hint about where a prompt may be cached")
            }
            (Feature::User, Gemini | BedrockConverse) => Dropped("the API has no place for it"),
            (Feature::Metadata, OpenAiChat) => Dropped("the API takes it only with answers that it stores"),
            (Feature::Metadata, AnthropicMessages | Gemini) => Dropped("the API has no place for it"),
            (Feature::ServiceTier, AnthropicMessages) => Dropped("its tiers are others"),
            (Feature::Verbosity, AnthropicMessages | Gemini | BedrockConverse) => {
                Dropped("the API has no such setting")
            }
            (Feature::FailedTool, OpenAiChat | OpenAiResponses) => {
                Dropped("the API has no such mark; the tool's text says what failed")
            }
            _ => Translated,
        }
    }
}

/// What a prompt has, and the path of the first part that has it.
fn present(prompt: &Prompt<'_>) -> Vec<(Feature, Cow<'static, str>)> {
    let mut found: Vec<(Feature, Cow<'static, str>)> = Vec::new();
    let mut add = |feature: Feature, there: bool| {
        if there {
            found.push((feature, Cow::Borrowed(feature.as_str())));
        }
    };
    add(Feature::TopK, prompt.top_k.is_some());
    add(Feature::Seed, prompt.seed.is_some());
    add(Feature::FrequencyPenalty, prompt.frequency_penalty.is_some());
    add(Feature::PresencePenalty, prompt.presence_penalty.is_some());
    add(Feature::LogProbabilities, prompt.logprobs);
    add(Feature::LogitBias, prompt.logit_bias);
    add(Feature::Choices, prompt.choices > 1);
    add(Feature::StopSequences, !prompt.stop.is_empty());
    add(Feature::JsonMode, matches!(prompt.format, Format::Json));
    add(Feature::JsonSchema, matches!(prompt.format, Format::Schema { .. }));
    add(Feature::ParallelToolCalls, prompt.parallel_tool_calls == Some(false) && !prompt.tools.is_empty());
    let none = prompt.tool_choice.as_ref().is_some_and(|choice| choice.mode == ToolMode::None);
    add(Feature::NoTools, none && prompt.has_tool_parts());
    add(Feature::StrictTools, prompt.tools.iter().any(|tool| tool.strict == Some(true)));
    add(Feature::CacheKey, prompt.cache_key.is_some());
    add(Feature::Reasoning, prompt.reasoning.is_some());
    add(Feature::User, prompt.user.is_some());
    add(Feature::Metadata, prompt.metadata.is_some());
    add(Feature::ServiceTier, prompt.service_tier.is_some());
    add(Feature::Verbosity, prompt.verbosity.is_some());
    add(Feature::CacheMarks, prompt.tools.iter().any(|tool| tool.cache.is_some()));
    for part in prompt.parts() {
        let mut see = |part: &crate::neutral::Part<'_>| {
            let feature = match &part.content {
                Content::Image { source, .. } | Content::Document { source, .. } => {
                    match (source, matches!(part.content, Content::Image { .. })) {
                        (Source::File(_), _) => Some(Feature::FileId),
                        (Source::Url { .. }, true) => Some(Feature::ImageUrl),
                        (Source::Url { .. }, false) => Some(Feature::DocumentUrl),
                        (Source::Base64 { .. }, false) => Some(Feature::DocumentData),
                        (Source::Text(_), _) => Some(Feature::DocumentText),
                        (Source::Base64 { .. }, true) => None,
                    }
                }
                Content::Audio { .. } => Some(Feature::Audio),
                Content::ToolResult { error: true, .. } => Some(Feature::FailedTool),
                _ => None,
            };
            let marked = part.cache.map(|_| Feature::CacheMarks);
            for feature in feature.into_iter().chain(marked) {
                if !found.iter().any(|(there, _)| *there == feature) {
                    found.push((feature, Cow::Owned(part.at.to_string())));
                }
            }
        };
        see(part);
        if let Content::ToolResult { output: ToolOutput::Parts(parts), .. } = &part.content {
            parts.iter().for_each(see);
        }
    }
    found
}

/// Takes out of a prompt what the provider cannot be told.
///
/// # Errors
/// Something must not be left out.
pub(crate) fn apply(prompt: &mut Prompt<'_>, provider: Dialect) -> Result<Vec<&'static str>, Error> {
    let mut dropped = Vec::new();
    for (feature, field) in present(prompt) {
        match feature.treatment(provider) {
            Treatment::Translated => {}
            Treatment::Refused(reason) => return Err(Error::Unsupported { field, reason, target: provider }),
            Treatment::Dropped(_) => {
                dropped.push(feature.as_str());
                leave_out(prompt, feature);
            }
        }
    }
    Ok(dropped)
}

fn leave_out(prompt: &mut Prompt<'_>, feature: Feature) {
    match feature {
        Feature::TopK => prompt.top_k = None,
        Feature::Seed => prompt.seed = None,
        Feature::FrequencyPenalty => prompt.frequency_penalty = None,
        Feature::PresencePenalty => prompt.presence_penalty = None,
        Feature::JsonMode => prompt.format = Format::Text,
        Feature::ParallelToolCalls => prompt.parallel_tool_calls = None,
        Feature::StrictTools => prompt.tools.iter_mut().for_each(|tool| tool.strict = None),
        Feature::CacheKey => prompt.cache_key = None,
        Feature::User => prompt.user = None,
        Feature::Metadata => prompt.metadata = None,
        Feature::ServiceTier => prompt.service_tier = None,
        Feature::Verbosity => prompt.verbosity = None,
        Feature::Reasoning => prompt.reasoning = None,
        Feature::CacheMarks => {
            prompt.tools.iter_mut().for_each(|tool| tool.cache = None);
            let turns = prompt.turns.iter_mut().flat_map(|turn| &mut turn.parts);
            prompt.system.iter_mut().chain(turns).for_each(|part| part.cache = None);
        }
        // Parts that a writer leaves out by itself, or that are never dropped.
        Feature::FailedTool
        | Feature::LogProbabilities
        | Feature::LogitBias
        | Feature::Choices
        | Feature::StopSequences
        | Feature::JsonSchema
        | Feature::NoTools
        | Feature::ImageUrl
        | Feature::DocumentData
        | Feature::DocumentUrl
        | Feature::DocumentText
        | Feature::Audio
        | Feature::FileId => {}
    }
}
