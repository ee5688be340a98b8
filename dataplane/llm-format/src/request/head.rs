//! What is known of a request after one look at the top level of its body.

use std::borrow::Cow;
use std::ops::Range;

use crate::json::Members;
use crate::limits::{MAX_CHOICES, MAX_MODEL_NAME};
use crate::{Call, Dialect, Error, Framing, Operation};

#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) model: String,
    /// Where the body says the model: the bytes of its JSON string.
    pub(crate) model_at: Option<Range<usize>>,
    pub(crate) framing: Framing,
    pub(crate) max_output_tokens: Option<u64>,
    pub(crate) choices: u64,
    pub(crate) wants_usage: bool,
    /// Where the body has `stream_options`.
    pub(crate) stream_options_at: Option<Range<usize>>,
}

impl Head {
    pub(crate) fn read(call: &Call, body: &[u8]) -> Result<Head, Error> {
        let members = Members::parse(body)?;
        let at = |name: &str| members.get(name).and_then(|text| place(body, text));
        let model = match &call.model {
            Some(model) => Cow::Borrowed(model.as_str()),
            None => members
                .read::<Text<'_>>("model", "a string")?
                .map(|text| text.0)
                .ok_or_else(|| Error::invalid("model", "is missing"))?,
        };
        if model.is_empty() || model.len() > MAX_MODEL_NAME || model.chars().any(char::is_control) {
            return Err(Error::invalid(
                "model",
                format!("must have 1 to {MAX_MODEL_NAME} characters, none of them control characters"),
            ));
        }
        let integer = |name: &'static str| members.read::<u64>(name, "a whole number that is not negative");
        let mut head = Head {
            model: model.into_owned(),
            model_at: at("model").filter(|_| call.model.is_none()),
            framing: call.framing.unwrap_or(Framing::Whole),
            max_output_tokens: None,
            choices: 1,
            wants_usage: true,
            stream_options_at: None,
        };
        if call.operation != Operation::Generate {
            head.framing = Framing::Whole;
            return Ok(head);
        }
        if call.framing.is_none() && members.read::<bool>("stream", "true or false")? == Some(true) {
            head.framing = Framing::Sse;
        }
        match call.dialect {
            Dialect::OpenAiChat => {
                head.max_output_tokens = match integer("max_completion_tokens")? {
                    Some(limit) => Some(limit),
                    None => integer("max_tokens")?,
                };
                head.choices = integer("n")?.unwrap_or(1);
                let options = members.read::<StreamOptions>("stream_options", "an object")?;
                head.wants_usage = options.is_some_and(|options| options.include_usage == Some(true));
                head.stream_options_at = at("stream_options");
            }
            Dialect::OpenAiResponses => head.max_output_tokens = integer("max_output_tokens")?,
            Dialect::AnthropicMessages => head.max_output_tokens = integer("max_tokens")?,
            Dialect::Gemini => {
                for name in ["generationConfig", "generation_config"] {
                    let Some(text) = members.get(name) else { continue };
                    let config = Members::parse(text.as_bytes())
                        .map_err(|_| Error::invalid("generationConfig", "must be an object"))?;
                    let read = |names: [&'static str; 2]| {
                        let [camel, snake] = names;
                        match config.read::<u64>(camel, "a whole number that is not negative")? {
                            Some(value) => Ok::<_, Error>(Some(value)),
                            None => config.read::<u64>(snake, "a whole number that is not negative"),
                        }
                    };
                    head.max_output_tokens = read(["maxOutputTokens", "max_output_tokens"])?.or(head.max_output_tokens);
                    head.choices = read(["candidateCount", "candidate_count"])?.unwrap_or(head.choices);
                }
            }
            Dialect::BedrockConverse => {}
        }
        if head.choices == 0 || head.choices > MAX_CHOICES {
            return Err(Error::invalid("n", format!("must be 1 to {MAX_CHOICES}")));
        }
        Ok(head)
    }
}

#[derive(serde::Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Where a part of a text is in it.
fn place(text: &[u8], part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= text.len()).then_some(start..end)
}
