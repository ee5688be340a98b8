//! A request for a provider. Schemas go as JSON schema (`parametersJsonSchema`, `responseJsonSchema`), which keeps all of
//! them.

use std::borrow::Cow;

use crate::Error;
use crate::json::Writer;
use crate::neutral::{Content, Effort, Format, Maker, Part, Prompt, Side, Source, ToolMode, ToolOutput, Turn};
use crate::upstream::Target;

/// What Google documents for calls whose signature is not known, such as those that another model made.
const UNSIGNED: &str = "skip_thought_signature_validator";

pub(crate) fn write(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let mut result = Ok(());
    w.object(|w| {
        result = write_contents(prompt, target, w);
        if !target.counts {
            write_config(prompt, target, w);
        }
    });
    result
}

/// Contents, instructions and tools: what has tokens.
pub(crate) fn write_contents(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let mut result = Ok(());
    if !prompt.system.is_empty() {
        w.key("systemInstruction").object(|w| {
            w.key("parts").array(|w| {
                for part in &prompt.system {
                    if let Content::Text(text) = &part.content {
                        w.object(|w| w.key("text").string(text));
                    }
                }
            });
        });
    }
    w.key("contents").array(|w| {
        for (number, turn) in prompt.turns.iter().enumerate() {
            let before = prompt.turns.get(..number).unwrap_or_default();
            if let Err(error) = write_turn(turn, before, target, w) {
                result = Err(error);
            }
        }
    });
    if prompt.tools.is_empty() {
        return result;
    }
    w.key("tools").array(|w| {
        w.object(|w| {
            w.key("functionDeclarations").array(|w| {
                for tool in &prompt.tools {
                    w.object(|w| {
                        w.key("name").string(tool.name);
                        if let Some(description) = tool.description {
                            w.key("description").string(description);
                        }
                        if let Some(schema) = &tool.schema {
                            w.key("parametersJsonSchema").json(schema);
                        }
                    });
                }
            });
        });
    });
    if let Some(choice) = &prompt.tool_choice {
        w.key("toolConfig").object(|w| {
            w.key("functionCallingConfig").object(|w| {
                // With names, only ANY and VALIDATED are allowed.
                w.key("mode").string(match (choice.mode, choice.only.is_empty()) {
                    (ToolMode::None, _) => "NONE",
                    (ToolMode::Required, _) => "ANY",
                    (ToolMode::Auto, true) => "AUTO",
                    (ToolMode::Auto, false) => "VALIDATED",
                });
                if !choice.only.is_empty() && choice.mode != ToolMode::None {
                    w.key("allowedFunctionNames").array(|w| choice.only.iter().for_each(|name| w.string(name)));
                }
            });
        });
    }
    result
}

fn write_turn(turn: &Turn<'_>, before: &[Turn<'_>], target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let sent = |part: &&Part<'_>| match &part.content {
        // Thoughts are not taken back; what is needed of them is the signature.
        Content::Reasoning { .. } => false,
        Content::Redacted(data) => data.maker == Maker::Google,
        _ => true,
    };
    if !turn.parts.iter().any(|part| sent(&part)) {
        return Ok(());
    }
    let mut result = Ok(());
    w.object(|w| {
        w.key("role").string(if turn.side == Side::User { "user" } else { "model" });
        w.key("parts").array(|w| {
            // A signature belongs to the call that follows the reasoning; the first call of a turn must have one.
            let mut signature: Option<Cow<'_, str>> = None;
            let mut first = true;
            for part in &turn.parts {
                match &part.content {
                    Content::Reasoning { signature: Some(signed), .. } if signed.maker == Maker::Google => {
                        signature = Some(Cow::Borrowed(&signed.value));
                    }
                    Content::Redacted(signed) if signed.maker == Maker::Google => {
                        signature = Some(Cow::Borrowed(&signed.value));
                    }
                    Content::Reasoning { .. } => {}
                    Content::ToolCall { id, name, arguments, signature: own } => {
                        let own =
                            own.as_ref().filter(|own| own.maker == Maker::Google).map(|own| Cow::Borrowed(&*own.value));
                        let unsigned = || first.then_some(Cow::Borrowed(UNSIGNED));
                        let signed = own.or(signature.take()).or_else(unsigned);
                        first = false;
                        w.object(|w| {
                            w.key("functionCall").object(|w| {
                                write_id(id, target, w);
                                w.key("name").string(name);
                                if let Err(error) = arguments.write(part.at, w.key("args")) {
                                    result = Err(error);
                                }
                            });
                            if let Some(signed) = signed {
                                w.key("thoughtSignature").string(&signed);
                            }
                        });
                    }
                    _ if sent(&part) => {
                        if let Err(error) = write_part(part, before, target, w) {
                            result = Err(error);
                        }
                    }
                    _ => {}
                }
            }
            // Without a call behind it, a signature has a part of its own.
            if let Some(signature) = signature {
                w.object(|w| {
                    w.key("text").string("");
                    w.key("thoughtSignature").string(&signature);
                });
            }
        });
    });
    result
}

/// Vertex AI has no ids of calls.
fn write_id(id: &str, target: &Target<'_>, w: &mut Writer<'_>) {
    if target.host != crate::Host::Vertex {
        w.key("id").string(id);
    }
}

fn write_part(part: &Part<'_>, before: &[Turn<'_>], target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    match &part.content {
        Content::Text(text) => w.object(|w| w.key("text").string(text)),
        Content::Refusal(text) => w.object(|w| w.key("text").string(text)),
        Content::Image { source, .. } => write_source(source, image_type(source), w),
        Content::Document { source: Source::Text(text), title } => w.object(|w| match title {
            Some(title) => w.key("text").string(&format!("{title}\n\n{text}")),
            None => w.key("text").string(text),
        }),
        Content::Document { source, .. } => write_source(source, "application/pdf", w),
        Content::Audio { format, data } => w.object(|w| {
            w.key("inlineData").object(|w| {
                w.key("mimeType").string(&format!("audio/{format}"));
                w.key("data").string(data);
            });
        }),
        Content::ToolResult { id, name, output, error } => {
            return write_result(part, (id, *name), output, *error, before, target, w);
        }
        Content::ToolCall { .. } | Content::Reasoning { .. } | Content::Redacted(_) => {
            return Err(target.misplaced(part.at));
        }
    }
    Ok(())
}

fn write_result(
    part: &Part<'_>,
    (id, name): (&str, Option<&str>),
    output: &ToolOutput<'_>,
    error: bool,
    before: &[Turn<'_>],
    target: &Target<'_>,
    w: &mut Writer<'_>,
) -> Result<(), Error> {
    // Results name the function here; the other APIs name the call only.
    let called = || {
        before.iter().rev().flat_map(|turn| turn.parts.iter().rev()).find_map(|part| match &part.content {
            Content::ToolCall { id: call, name, .. } if call == id => Some(*name),
            _ => None,
        })
    };
    let Some(name) = called().or(name) else {
        return Err(part.at.invalid("is the result of a tool call that is not in the conversation"));
    };
    let mut rest: Vec<&Part<'_>> = Vec::new();
    w.object(|w| {
        w.key("functionResponse").object(|w| {
            write_id(id, target, w);
            w.key("name").string(name);
            let response = w.key("response");
            match output {
                // What is an object already is one here too.
                ToolOutput::Tree(tree) if tree.as_object().is_some() && !error => response.json(tree),
                ToolOutput::Tree(tree) => response.object(|w| w.key(if error { "error" } else { "output" }).json(tree)),
                ToolOutput::Parts(parts) => response.object(|w| {
                    let mut text = String::new();
                    for part in parts {
                        match &part.content {
                            Content::Text(more) if text.is_empty() => text.push_str(more),
                            Content::Text(more) => text.extend(["\n\n", more]),
                            _ => rest.push(part),
                        }
                    }
                    w.key(if error { "error" } else { "output" }).string(&text);
                }),
            }
        });
    });
    // Images and documents of a result stand behind it.
    rest.into_iter().try_for_each(|part| write_part(part, before, target, w))
}

/// Google wants to know the type of what it fetches.
fn image_type(source: &Source<'_>) -> &'static str {
    let Source::Url { url, .. } = source else { return "image/png" };
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    match path.rsplit_once('.') {
        Some((_, "jpg" | "jpeg")) => "image/jpeg",
        Some((_, "webp")) => "image/webp",
        Some((_, "gif")) => "image/gif",
        Some((_, "heic")) => "image/heic",
        _ => "image/png",
    }
}

fn write_source(source: &Source<'_>, media_type: &str, w: &mut Writer<'_>) {
    w.object(|w| match source {
        Source::Base64 { media_type, data } => w.key("inlineData").object(|w| {
            w.key("mimeType").string(media_type);
            w.key("data").string(data);
        }),
        Source::Url { url, media_type: known } => w.key("fileData").object(|w| {
            w.key("mimeType").string(known.filter(|known| !known.is_empty()).unwrap_or(media_type));
            w.key("fileUri").string(url);
        }),
        Source::Text(text) => w.key("text").string(text),
        Source::File(uri) => w.key("fileData").object(|w| w.key("fileUri").string(uri)),
    });
}

fn write_config(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>) {
    w.key("generationConfig").object(|w| {
        if let Some(limit) = prompt.max_tokens {
            w.key("maxOutputTokens").u64(limit);
        }
        let numbers = [
            ("temperature", &prompt.temperature),
            ("topP", &prompt.top_p),
            ("topK", &prompt.top_k),
            ("seed", &prompt.seed),
            ("presencePenalty", &prompt.presence_penalty),
            ("frequencyPenalty", &prompt.frequency_penalty),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                w.key(name).number(number);
            }
        }
        if !prompt.stop.is_empty() {
            w.key("stopSequences").array(|w| prompt.stop.iter().for_each(|text| w.string(text)));
        }
        if prompt.choices > 1 {
            w.key("candidateCount").u64(prompt.choices);
        }
        match &prompt.format {
            Format::Text => {}
            Format::Json => w.key("responseMimeType").string("application/json"),
            Format::Schema { schema, .. } => {
                w.key("responseMimeType").string("application/json");
                w.key("responseJsonSchema").json(schema);
            }
        }
        write_thinking(prompt, target.model, w);
    });
    if let Some(tier) = prompt.service_tier {
        w.key("serviceTier").string(match tier {
            crate::neutral::Tier::Default => "standard",
            crate::neutral::Tier::Flex => "flex",
            crate::neutral::Tier::Priority => "priority",
        });
    }
}

/// Models up to Gemini 2.5 take a budget, later ones a level; neither takes both.
fn write_thinking(prompt: &Prompt<'_>, model: &str, w: &mut Writer<'_>) {
    let Some(reasoning) = prompt.reasoning else { return };
    let by_budget = ["gemini-1", "gemini-2"].iter().any(|older| model.contains(older));
    w.key("thinkingConfig").object(|w| {
        if reasoning.show == Some(true) {
            w.key("includeThoughts").bool(true);
        }
        if by_budget {
            if let Some(budget) = reasoning.budget() {
                w.key("thinkingBudget").u64(budget);
            }
        } else if let Some(effort) = reasoning.effort() {
            w.key("thinkingLevel").string(match effort {
                Effort::None | Effort::Minimal => "MINIMAL",
                Effort::Low => "LOW",
                Effort::Medium => "MEDIUM",
                Effort::High | Effort::ExtraHigh | Effort::Max => "HIGH",
            });
        }
    });
}
