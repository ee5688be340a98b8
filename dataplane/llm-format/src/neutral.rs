//! What all APIs say, in one form: requests as [`Prompt`], answers as [`Event`]s. Translation between two APIs goes through
//! it. It borrows from the tree of the request.

mod event;
mod ids;

use std::borrow::Cow;
use std::fmt;

use serde_json::Number;

use crate::Error;
use crate::json::Json;

pub(crate) use event::{Choice, Emit, Event, Output, Whole};
pub(crate) use ids::tool_id;

/// Where in the client's request something is, for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) list: &'static str,
    pub(crate) item: usize,
    pub(crate) inner: &'static str,
    pub(crate) part: Option<usize>,
}

impl At {
    pub(crate) fn new(list: &'static str, item: usize, inner: &'static str) -> At {
        At { list, item, inner, part: None }
    }

    pub(crate) fn part(self, part: usize) -> At {
        At { part: Some(part), ..self }
    }

    pub(crate) fn invalid(self, message: impl Into<String>) -> Error {
        Error::invalid(self.to_string(), message)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.list, self.item)?;
        if !self.inner.is_empty() {
            write!(f, ".{}", self.inner)?;
        }
        if let Some(part) = self.part {
            write!(f, "[{part}]")?;
        }
        Ok(())
    }
}

/// A request for an answer.
#[derive(Debug, Default)]
pub(crate) struct Prompt<'t> {
    /// Instructions: texts only.
    pub(crate) system: Vec<Part<'t>>,
    /// The conversation; two turns in a row are never of one side.
    pub(crate) turns: Vec<Turn<'t>>,
    pub(crate) tools: Vec<Tool<'t>>,
    pub(crate) tool_choice: Option<ToolChoice<'t>>,
    pub(crate) parallel_tool_calls: Option<bool>,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) temperature: Option<Number>,
    pub(crate) top_p: Option<Number>,
    pub(crate) top_k: Option<Number>,
    pub(crate) seed: Option<Number>,
    pub(crate) frequency_penalty: Option<Number>,
    pub(crate) presence_penalty: Option<Number>,
    pub(crate) stop: Vec<&'t str>,
    /// Answers wanted; 0 where the request does not say.
    pub(crate) choices: u64,
    pub(crate) logprobs: bool,
    pub(crate) logit_bias: bool,
    pub(crate) format: Format<'t>,
    pub(crate) reasoning: Option<Reasoning>,
    pub(crate) user: Option<&'t str>,
    pub(crate) metadata: Option<&'t Json<'t>>,
    pub(crate) service_tier: Option<Tier>,
    pub(crate) verbosity: Option<&'t str>,
    pub(crate) cache_key: Option<&'t str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    User,
    Assistant,
}

#[derive(Debug)]
pub(crate) struct Turn<'t> {
    pub(crate) side: Side,
    pub(crate) parts: Vec<Part<'t>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Part<'t> {
    pub(crate) at: At,
    /// The prompt up to and with this part is worth keeping in a cache.
    pub(crate) cache: Option<Cache>,
    pub(crate) content: Content<'t>,
}

/// How long a marked prompt is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cache {
    /// An hour rather than the provider's default of minutes.
    pub(crate) hour: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Content<'t> {
    Text(Cow<'t, str>),
    Refusal(&'t str),
    Image {
        source: Source<'t>,
        detail: Option<&'t str>,
    },
    Document {
        source: Source<'t>,
        title: Option<&'t str>,
    },
    Audio {
        format: &'t str,
        data: &'t str,
    },
    ToolCall {
        id: Cow<'t, str>,
        name: &'t str,
        arguments: Arguments<'t>,
        signature: Option<Signature<'t>>,
    },
    ToolResult {
        id: Cow<'t, str>,
        name: Option<&'t str>,
        output: ToolOutput<'t>,
        error: bool,
    },
    Reasoning {
        text: Cow<'t, str>,
        signature: Option<Signature<'t>>,
    },
    /// Reasoning that only its maker can read.
    Redacted(Signature<'t>),
}

#[derive(Debug, Clone)]
pub(crate) enum Source<'t> {
    Base64 {
        media_type: Cow<'t, str>,
        data: &'t str,
    },
    Url {
        url: &'t str,
        media_type: Option<&'t str>,
    },
    /// A file that was uploaded to a provider.
    File(&'t str),
    /// A document's text.
    Text(&'t str),
}

/// Arguments of a tool call: one object, in the form the client had it.
#[derive(Debug, Clone)]
pub(crate) enum Arguments<'t> {
    Text(&'t str),
    Tree(&'t Json<'t>),
    /// Without any.
    Empty,
}

#[derive(Debug, Clone)]
pub(crate) enum ToolOutput<'t> {
    /// Texts, images, documents.
    Parts(Vec<Part<'t>>),
    /// Any JSON.
    Tree(&'t Json<'t>),
}

/// What proves to its maker that reasoning or a call is the model's own. Nobody else understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature<'t> {
    pub(crate) maker: Maker,
    pub(crate) value: Cow<'t, str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    Anthropic,
    Google,
    OpenAi,
}

impl Maker {
    fn prefix(self) -> &'static str {
        match self {
            Maker::Anthropic => "anthropic:",
            Maker::Google => "google:",
            Maker::OpenAi => "openai:",
        }
    }
}

impl<'t> Signature<'t> {
    /// Reads what a client of `native`'s API sends back: its own signatures are bare, others name their maker.
    pub(crate) fn read(text: &'t str, native: Maker) -> Signature<'t> {
        for maker in [Maker::Anthropic, Maker::Google, Maker::OpenAi] {
            if let Some(value) = text.strip_prefix(maker.prefix()) {
                return Signature { maker, value: Cow::Borrowed(value) };
            }
        }
        Signature { maker: native, value: Cow::Borrowed(text) }
    }

    /// How a client of `native`'s API gets it.
    pub(crate) fn shown(&self, native: Maker) -> Cow<'_, str> {
        if self.maker == native {
            Cow::Borrowed(&self.value)
        } else {
            Cow::Owned(format!("{}{}", self.maker.prefix(), self.value))
        }
    }
}

/// Marks, within a signature that a client keeps, reasoning that only its maker can read.
const REDACTED: &str = "redacted:";

impl<'t> Signature<'t> {
    /// The form in which a client of `native`'s API keeps reasoning that only its maker can read, where that API has one place
    /// for signatures and for such reasoning.
    pub(crate) fn shown_redacted(&self, native: Maker) -> Cow<'_, str> {
        if self.maker == native {
            Cow::Borrowed(&self.value)
        } else {
            Cow::Owned(format!("{}{REDACTED}{}", self.maker.prefix(), self.value))
        }
    }

    /// What came back from such a client: reasoning with its text and signature, or what only its maker can read.
    pub(crate) fn into_content(self, text: Cow<'t, str>) -> Content<'t> {
        match self.value.strip_prefix(REDACTED) {
            Some(value) => Content::Redacted(Signature { maker: self.maker, value: Cow::Owned(value.to_owned()) }),
            None => Content::Reasoning { text, signature: Some(self) },
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Tool<'t> {
    pub(crate) name: &'t str,
    pub(crate) description: Option<&'t str>,
    /// JSON schema of the arguments; none for a tool without any.
    pub(crate) schema: Option<Cow<'t, Json<'t>>>,
    pub(crate) strict: Option<bool>,
    pub(crate) cache: Option<Cache>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolChoice<'t> {
    pub(crate) mode: ToolMode,
    /// Only these may be called; empty means all.
    pub(crate) only: Vec<&'t str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolMode {
    Auto,
    None,
    Required,
}

#[derive(Debug, Clone, Default)]
pub(crate) enum Format<'t> {
    #[default]
    Text,
    /// Some JSON object.
    Json,
    Schema {
        name: &'t str,
        description: Option<&'t str>,
        schema: Cow<'t, Json<'t>>,
        strict: Option<bool>,
    },
}

/// How much the model should think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reasoning {
    pub(crate) effort: Option<Effort>,
    /// Tokens of reasoning; 0 means none.
    pub(crate) budget: Option<u64>,
    /// Whether the client wants to see it.
    pub(crate) show: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    ExtraHigh,
    Max,
}

impl Effort {
    pub(crate) fn read(word: &str) -> Option<Effort> {
        Some(match word {
            "none" => Effort::None,
            "minimal" => Effort::Minimal,
            "low" => Effort::Low,
            "medium" => Effort::Medium,
            "high" => Effort::High,
            "xhigh" => Effort::ExtraHigh,
            "max" => Effort::Max,
            _ => return None,
        })
    }
}

impl Reasoning {
    /// The effort, also where a budget was given: the largest whose budget fits.
    pub(crate) fn effort(&self) -> Option<Effort> {
        self.effort.or_else(|| {
            Some(match self.budget? {
                0 => Effort::None,
                1..=1024 => Effort::Minimal,
                1025..=4096 => Effort::Low,
                4097..=16384 => Effort::Medium,
                _ => Effort::High,
            })
        })
    }

    /// The budget in tokens, also where an effort was given.
    pub(crate) fn budget(&self) -> Option<u64> {
        self.budget.or_else(|| {
            Some(match self.effort? {
                Effort::None => 0,
                Effort::Minimal => 1024,
                Effort::Low => 4096,
                Effort::Medium => 16384,
                Effort::High => 24576,
                Effort::ExtraHigh | Effort::Max => 32768,
            })
        })
    }

    pub(crate) fn is_off(&self) -> bool {
        self.effort == Some(Effort::None) || self.budget == Some(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Default,
    Flex,
    Priority,
}

impl<'t> Prompt<'t> {
    /// Adds to the conversation; what the same side says in a row becomes one turn.
    pub(crate) fn say(&mut self, side: Side, parts: Vec<Part<'t>>) {
        match self.turns.last_mut() {
            Some(turn) if turn.side == side => turn.parts.extend(parts),
            _ => self.turns.push(Turn { side, parts }),
        }
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part<'t>> {
        self.system.iter().chain(self.turns.iter().flat_map(|turn| &turn.parts))
    }

    pub(crate) fn has_tool_parts(&self) -> bool {
        self.parts().any(|part| matches!(part.content, Content::ToolCall { .. } | Content::ToolResult { .. }))
    }

    /// The tools that may be called, where the other API cannot be told a selection of more than one.
    pub(crate) fn callable(&self) -> impl Iterator<Item = &Tool<'t>> {
        let only = match &self.tool_choice {
            Some(ToolChoice { mode: ToolMode::Required, only }) if only.len() == 1 => &[],
            Some(choice) => choice.only.as_slice(),
            None => &[],
        };
        self.tools.iter().filter(move |tool| only.is_empty() || only.contains(&tool.name))
    }
}

/// A number of a request.
pub(crate) fn number(body: &Json<'_>, name: &'static str) -> Result<Option<Number>, Error> {
    match body.get(name) {
        Json::Null => Ok(None),
        Json::Number(number) => Ok(Some(number.clone())),
        other => Err(Error::invalid(name, format!("must be a number, not {}", other.kind()))),
    }
}

/// A whole number that is not negative.
pub(crate) fn integer(body: &Json<'_>, name: &'static str) -> Result<Option<u64>, Error> {
    match body.get(name) {
        Json::Null => Ok(None),
        value => {
            value.as_u64().map(Some).ok_or_else(|| Error::invalid(name, "must be a whole number that is not negative"))
        }
    }
}

/// A text of a request.
pub(crate) fn text<'t>(body: &'t Json<'t>, name: &'static str) -> Result<Option<&'t str>, Error> {
    match body.get(name) {
        Json::Null => Ok(None),
        value => value
            .as_str()
            .map(Some)
            .ok_or_else(|| Error::invalid(name, format!("must be a string, not {}", value.kind()))),
    }
}

/// A list of texts, or one.
pub(crate) fn texts<'t>(body: &'t Json<'t>, name: &'static str) -> Result<Vec<&'t str>, Error> {
    let wrong = || Error::invalid(name, "must be a string or an array of strings");
    match body.get(name) {
        Json::Null => Ok(Vec::new()),
        Json::String(text) => Ok(vec![text]),
        Json::Array(items) => items.iter().map(|item| item.as_str().ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}

/// A member of a part that must be a text.
pub(crate) fn needed<'t>(value: &'t Json<'t>, name: &str, at: At) -> Result<&'t str, Error> {
    value.get(name).as_str().ok_or_else(|| at.invalid(format!("{name:?} must be a string")))
}
