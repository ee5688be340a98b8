//! All texts of a prompt, with their places: what prompt guards read and mask.
//!
//! Not shown: reasoning of earlier turns (signed by the provider, which wrote it), images and other data, and the
//! definitions of tools.

use std::borrow::Cow;

use crate::json::{Json, string};
use crate::{Dialect, Operation};

/// Where in a prompt a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Instructions: system and developer messages.
    System,
    /// What the person said, documents included.
    User,
    /// What the model said in earlier turns.
    Assistant,
    /// Arguments of a tool call: each string in them.
    ToolInput,
    /// What a tool gave: each string in it.
    ToolOutput,
}

/// A text's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextRef {
    /// What kind of place.
    pub place: Place,
    /// Number of the message, item or content it belongs to, from 0; instructions outside the messages have 0.
    pub message: usize,
}

type Visit<'v> = &'v mut dyn FnMut(TextRef, &str) -> Option<String>;

/// Shows each text and takes what the function gives instead; tells whether anything changed.
pub(crate) fn walk(dialect: Dialect, operation: Operation, body: &mut Json<'_>, visit: Visit<'_>) -> bool {
    let mut walker = Walker { visit, changed: false, message: 0 };
    match (operation, dialect) {
        (Operation::Embeddings, _) => walker.member(body, &["input"], Walker::strings_of(Place::User)),
        (_, Dialect::OpenAiChat) => walker.chat(body),
        (_, Dialect::OpenAiResponses) => walker.responses(body),
        (_, Dialect::AnthropicMessages) => walker.messages(body),
        (_, Dialect::Gemini) => walker.gemini(body),
        (_, Dialect::BedrockConverse) => {}
    }
    walker.changed
}

struct Walker<'v> {
    visit: Visit<'v>,
    changed: bool,
    message: usize,
}

impl Walker<'_> {
    fn text(&mut self, place: Place, text: &mut Cow<'_, str>) {
        if let Some(with) = (self.visit)(TextRef { place, message: self.message }, text) {
            self.changed = true;
            *text = Cow::Owned(with);
        }
    }

    fn member(&mut self, value: &mut Json<'_>, names: &[&str], then: impl Fn(&mut Self, &mut Json<'_>)) {
        let Some(object) = value.as_object_mut() else { return };
        for name in names {
            if let Some(value) = object.get_mut(name) {
                then(self, value);
            }
        }
    }

    fn each(&mut self, value: &mut Json<'_>, numbered: bool, mut then: impl FnMut(&mut Self, &mut Json<'_>)) {
        let Json::Array(items) = value else { return };
        for (at, item) in items.iter_mut().enumerate() {
            if numbered {
                self.message = at;
            }
            then(self, item);
        }
    }

    /// Every string in a value.
    fn strings(&mut self, place: Place, value: &mut Json<'_>) {
        match value {
            Json::String(text) => self.text(place, text),
            Json::Array(items) => items.iter_mut().for_each(|item| self.strings(place, item)),
            Json::Object(object) => object.iter_mut().for_each(|(_, value)| self.strings(place, value)),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    fn strings_of(place: Place) -> impl Fn(&mut Self, &mut Json<'_>) {
        move |walker, value| walker.strings(place, value)
    }

    /// Strings of JSON that is itself in a string; of a text that is no JSON, the text.
    fn encoded(&mut self, place: Place, value: &mut Json<'_>) {
        let Json::String(text) = value else { return };
        let before = self.changed;
        self.changed = false;
        let mut written = None;
        match Json::parse(text.as_bytes()) {
            Ok(mut inner @ (Json::Object(_) | Json::Array(_))) => {
                self.strings(place, &mut inner);
                if self.changed {
                    written = String::from_utf8(string(&inner)).ok();
                }
            }
            _ => {
                self.text(place, text);
            }
        }
        if let Some(written) = written {
            *text = Cow::Owned(written);
        }
        self.changed |= before;
    }

    /// A content that is a string, or an array of parts that hold texts.
    fn content(&mut self, place: Place, value: &mut Json<'_>) {
        match value {
            Json::String(text) => self.text(place, text),
            Json::Array(_) => self.each(value, false, |walker, part| walker.part(place, part)),
            _ => {}
        }
    }

    /// A part of OpenAI's or Anthropic's content.
    fn part(&mut self, place: Place, part: &mut Json<'_>) {
        let Some(kind) = part.get("type").as_str().map(str::to_owned) else { return };
        match kind.as_str() {
            "text" | "input_text" | "output_text" | "summary_text" => {
                self.member(part, &["text"], Self::strings_of(place));
            }
            "refusal" => self.member(part, &["refusal"], Self::strings_of(place)),
            "tool_use" | "server_tool_use" | "mcp_tool_use" => {
                self.member(part, &["input"], Self::strings_of(Place::ToolInput));
            }
            "tool_result" | "mcp_tool_result" => {
                self.member(part, &["content"], |walker, content| walker.content(Place::ToolOutput, content));
            }
            "document" => {
                self.member(part, &["title", "context"], Self::strings_of(place));
                self.member(part, &["source"], |walker, source| match source.get("type").as_str() {
                    Some("text") => walker.member(source, &["data"], Self::strings_of(place)),
                    Some("content") => {
                        walker.member(source, &["content"], |walker, content| walker.content(place, content))
                    }
                    _ => {}
                });
            }
            "search_result" => {
                self.member(part, &["title", "source"], Self::strings_of(place));
                self.member(part, &["content"], |walker, content| walker.content(place, content));
            }
            _ => {}
        }
    }

    fn chat(&mut self, body: &mut Json<'_>) {
        self.member(body, &["messages"], |walker, messages| {
            walker.each(messages, true, |walker, message| {
                let place = match message.get("role").as_str() {
                    Some("system" | "developer") => Place::System,
                    Some("assistant") => Place::Assistant,
                    Some("tool" | "function") => Place::ToolOutput,
                    _ => Place::User,
                };
                walker.member(message, &["content"], |walker, content| walker.content(place, content));
                walker.member(message, &["refusal"], Self::strings_of(place));
                let arguments = |walker: &mut Self, call: &mut Json<'_>| {
                    walker.member(call, &["function", "custom"], |walker, function| {
                        walker.member(function, &["arguments", "input"], |walker, text| {
                            walker.encoded(Place::ToolInput, text)
                        });
                    });
                };
                walker.member(message, &["tool_calls"], |walker, calls| walker.each(calls, false, arguments));
                walker.member(message, &["function_call"], |walker, call| {
                    walker.member(call, &["arguments"], |walker, text| walker.encoded(Place::ToolInput, text));
                });
            });
        });
    }

    fn responses(&mut self, body: &mut Json<'_>) {
        self.member(body, &["instructions"], |walker, text| walker.content(Place::System, text));
        self.member(body, &["prompt"], |walker, prompt| {
            walker.member(prompt, &["variables"], Self::strings_of(Place::User));
        });
        self.member(body, &["input"], |walker, input| {
            if let Json::String(text) = input {
                walker.text(Place::User, text);
            }
            walker.each(input, true, |walker, item| {
                let kind = item.get("type").as_str().unwrap_or("message").to_owned();
                let place = match item.get("role").as_str() {
                    Some("system" | "developer") => Place::System,
                    Some("assistant") => Place::Assistant,
                    _ => Place::User,
                };
                match kind.as_str() {
                    "message" => walker.member(item, &["content"], |walker, content| walker.content(place, content)),
                    kind if kind.ends_with("_output") => {
                        walker.member(item, &["output"], |walker, output| match output {
                            Json::String(_) => walker.encoded(Place::ToolOutput, output),
                            _ => walker.content(Place::ToolOutput, output),
                        })
                    }
                    "reasoning" | "item_reference" | "compaction" => {}
                    _ => {
                        walker.member(item, &["arguments", "input"], |walker, text| {
                            walker.encoded(Place::ToolInput, text)
                        });
                        walker.member(item, &["action"], Self::strings_of(Place::ToolInput));
                        walker.member(item, &["output"], Self::strings_of(Place::ToolOutput));
                    }
                }
            });
        });
    }

    fn messages(&mut self, body: &mut Json<'_>) {
        self.member(body, &["system"], |walker, system| walker.content(Place::System, system));
        self.member(body, &["messages"], |walker, messages| {
            walker.each(messages, true, |walker, message| {
                let place = match message.get("role").as_str() {
                    Some("assistant") => Place::Assistant,
                    Some("system") => Place::System,
                    _ => Place::User,
                };
                walker.member(message, &["content"], |walker, content| walker.content(place, content));
            });
        });
    }

    fn gemini(&mut self, body: &mut Json<'_>) {
        self.member(body, &["systemInstruction", "system_instruction"], |walker, content| {
            walker.gemini_parts(Place::System, content);
        });
        self.member(body, &["contents"], |walker, contents| {
            // One content without its array is taken too.
            if matches!(contents, Json::Object(_)) {
                return walker.gemini_content(contents);
            }
            walker.each(contents, true, Self::gemini_content);
        });
    }

    fn gemini_content(&mut self, content: &mut Json<'_>) {
        let place = if content.get("role").as_str() == Some("model") { Place::Assistant } else { Place::User };
        self.gemini_parts(place, content);
    }

    fn gemini_parts(&mut self, place: Place, content: &mut Json<'_>) {
        self.member(content, &["parts"], |walker, parts| {
            let part = |walker: &mut Self, part: &mut Json<'_>| {
                if part.get("thought").as_bool() == Some(true) {
                    return;
                }
                walker.member(part, &["text"], Self::strings_of(place));
                walker.member(part, &["functionCall", "function_call"], |walker, call| {
                    walker.member(call, &["args"], Self::strings_of(Place::ToolInput));
                });
                walker.member(part, &["functionResponse", "function_response"], |walker, response| {
                    walker.member(response, &["response"], Self::strings_of(Place::ToolOutput));
                });
                walker.member(part, &["executableCode", "executable_code"], |walker, code| {
                    walker.member(code, &["code"], Self::strings_of(Place::ToolInput));
                });
                walker.member(part, &["codeExecutionResult", "code_execution_result"], |walker, result| {
                    walker.member(result, &["output"], Self::strings_of(Place::ToolOutput));
                });
            };
            if matches!(parts, Json::Object(_)) {
                return part(walker, parts);
            }
            walker.each(parts, false, part);
        });
    }
}
