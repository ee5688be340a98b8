//! A request for a provider.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Error;
use crate::anthropic::thinking::{self, Thinking};
use crate::chat::effort_word;
use crate::json::{Writer, string};
use crate::neutral::{
    Cache, Content, Format, Maker, Part, Prompt, Side, Source, Tier, ToolMode, ToolOutput, Turn, tool_id,
};
use crate::upstream::Target;

pub(crate) fn write(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let mut result = Ok(());
    w.object(|w| {
        result = write_conversation(prompt, target, w);
        write_config(prompt, target, w);
    });
    result
}

/// Messages, instructions and tools: what has tokens.
pub(crate) fn write_conversation(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let mut result = Ok(());
    if !prompt.system.is_empty() {
        w.key("system").array(|w| {
            for part in &prompt.system {
                if let Content::Text(text) = &part.content {
                    w.object(|w| w.key("text").string(text));
                    write_cache(part.cache, w);
                }
            }
        });
    }
    let mut documents = 0;
    w.key("messages").array(|w| {
        for turn in &prompt.turns {
            if let Err(error) = write_turn(turn, target, &mut documents, w) {
                result = Err(error);
            }
        }
    });
    write_tools(prompt, w);
    result
}

fn write_cache(cache: Option<Cache>, w: &mut Writer<'_>) {
    if let Some(cache) = cache {
        w.object(|w| {
            w.key("cachePoint").object(|w| {
                w.key("type").string("default");
                if cache.hour {
                    w.key("ttl").string("1h");
                }
            });
        });
    }
}

fn write_turn(turn: &Turn<'_>, target: &Target<'_>, documents: &mut usize, w: &mut Writer<'_>) -> Result<(), Error> {
    let sent = |part: &&Part<'_>| match &part.content {
        Content::Reasoning { signature, .. } => {
            signature.as_ref().is_some_and(|signature| signature.maker == Maker::Anthropic)
        }
        Content::Redacted(data) => data.maker == Maker::Anthropic,
        Content::Text(text) => !text.trim().is_empty(),
        _ => true,
    };
    if !turn.parts.iter().any(|part| sent(&part)) {
        return Ok(());
    }
    let mut result = Ok(());
    w.object(|w| {
        w.key("role").string(if turn.side == Side::User { "user" } else { "assistant" });
        w.key("content").array(|w| {
            // A document needs a text beside it.
            let lonely = turn.parts.iter().any(|part| matches!(part.content, Content::Document { .. }))
                && !turn.parts.iter().any(|part| matches!(part.content, Content::Text(_)));
            if lonely {
                w.object(|w| w.key("text").string("The document:"));
            }
            for part in turn.parts.iter().filter(sent) {
                if let Err(error) = write_block(part, target, documents, w) {
                    result = Err(error);
                }
                write_cache(part.cache, w);
            }
        });
    });
    result
}

fn write_block(part: &Part<'_>, target: &Target<'_>, documents: &mut usize, w: &mut Writer<'_>) -> Result<(), Error> {
    let mut result = Ok(());
    w.object(|w| match &part.content {
        Content::Text(text) => w.key("text").string(text),
        Content::Refusal(text) => w.key("text").string(text),
        Content::Image { source, .. } => w.key("image").object(|w| {
            if let Err(error) = write_image(source, part, target, w) {
                result = Err(error);
            }
        }),
        Content::Document { source, title } => w.key("document").object(|w| {
            *documents = documents.saturating_add(1);
            if let Err(error) = write_document(source, *title, *documents, part, target, w) {
                result = Err(error);
            }
        }),
        Content::Audio { format, data } => w.key("audio").object(|w| {
            w.key("format").string(format);
            w.key("source").object(|w| w.key("bytes").string(data));
        }),
        Content::ToolCall { id, name, arguments, .. } => w.key("toolUse").object(|w| {
            w.key("toolUseId").string(&tool_id(id));
            w.key("name").string(name);
            if let Err(error) = arguments.write(part.at, w.key("input")) {
                result = Err(error);
            }
        }),
        Content::ToolResult { id, output, error, .. } => w.key("toolResult").object(|w| {
            w.key("toolUseId").string(&tool_id(id));
            w.key("content").array(|w| match output {
                ToolOutput::Tree(tree) if tree.as_object().is_some() => w.object(|w| w.key("json").json(tree)),
                ToolOutput::Tree(tree) => {
                    w.object(|w| w.key("text").string(&String::from_utf8_lossy(&string(tree))));
                }
                ToolOutput::Parts(parts) => {
                    for part in parts {
                        if let Err(error) = write_block(part, target, documents, w) {
                            result = Err(error);
                        }
                    }
                }
            });
            if *error {
                w.key("status").string("error");
            }
        }),
        Content::Reasoning { text, signature } => w.key("reasoningContent").object(|w| {
            w.key("reasoningText").object(|w| {
                w.key("text").string(text);
                if let Some(signature) = signature {
                    w.key("signature").string(&signature.value);
                }
            });
        }),
        // Anthropic's data is text in base64; Bedrock wants a blob, which is base64 on the wire.
        Content::Redacted(data) => {
            w.key("reasoningContent").object(|w| w.key("redactedContent").string(&data.value));
        }
    });
    result
}

fn write_image(source: &Source<'_>, part: &Part<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let Source::Base64 { media_type, data } = source else { return Err(target.misplaced(part.at)) };
    let format = match &**media_type {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpeg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        _ => return Err(part.at.invalid("the image must be PNG, JPEG, GIF or WebP")),
    };
    w.key("format").string(format);
    w.key("source").object(|w| w.key("bytes").string(data));
    Ok(())
}

fn write_document(
    source: &Source<'_>,
    title: Option<&str>,
    number: usize,
    part: &Part<'_>,
    target: &Target<'_>,
    w: &mut Writer<'_>,
) -> Result<(), Error> {
    let (format, data) = match source {
        Source::Text(text) => ("txt", std::borrow::Cow::Owned(STANDARD.encode(text))),
        Source::Base64 { media_type, data } => {
            let format = match &**media_type {
                "application/pdf" => "pdf",
                "text/csv" => "csv",
                "text/html" => "html",
                "text/markdown" => "md",
                "text/plain" => "txt",
                "application/msword" => "doc",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
                "application/vnd.ms-excel" => "xls",
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
                _ => return Err(part.at.invalid("the document is of a type that this API does not take")),
            };
            (format, std::borrow::Cow::Borrowed(*data))
        }
        Source::Url { .. } | Source::File(_) => return Err(target.misplaced(part.at)),
    };
    w.key("format").string(format);
    w.key("name").string(&document_name(title, number));
    w.key("source").object(|w| w.key("bytes").string(&data));
    Ok(())
}

/// Names may have letters, digits, single spaces, hyphens, parentheses and brackets, and must differ.
fn document_name(title: Option<&str>, number: usize) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '(' | ')' | '[' | ']') { c } else { ' ' };
    let name: String = title.unwrap_or("document").chars().map(allowed).take(150).collect();
    let words: Vec<&str> = name.split_whitespace().collect();
    format!("{} {number}", words.join(" ")).trim().to_owned()
}

fn write_tools(prompt: &Prompt<'_>, w: &mut Writer<'_>) {
    let mode = prompt.tool_choice.as_ref().map(|choice| choice.mode);
    // The API has no "none": without calls in the conversation the tools can be left out.
    if prompt.tools.is_empty() || mode == Some(ToolMode::None) {
        return;
    }
    w.key("toolConfig").object(|w| {
        w.key("tools").array(|w| {
            for tool in prompt.callable() {
                w.object(|w| {
                    w.key("toolSpec").object(|w| {
                        w.key("name").string(tool.name);
                        if let Some(description) = tool.description.filter(|text| !text.is_empty()) {
                            w.key("description").string(description);
                        }
                        w.key("inputSchema").object(|w| match &tool.schema {
                            Some(schema) => w.key("json").json(schema),
                            None => w.key("json").raw(r#"{"type":"object","properties":{}}"#),
                        });
                        if tool.strict == Some(true) {
                            w.key("strict").bool(true);
                        }
                    });
                });
                write_cache(tool.cache, w);
            }
        });
        let Some(choice) = &prompt.tool_choice else { return };
        w.key("toolChoice").object(|w| match (choice.mode, choice.only.as_slice()) {
            (ToolMode::Required, [only]) => w.key("tool").object(|w| w.key("name").string(only)),
            (ToolMode::Required, _) => w.key("any").object(|_| ()),
            (ToolMode::Auto | ToolMode::None, _) => w.key("auto").object(|_| ()),
        });
    });
}

fn write_config(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>) {
    let claude = target.model.contains("claude");
    let (thinking, limit) = if claude { thinking::choose(prompt, target.model) } else { (Thinking::Unsaid, 0) };
    let budget = matches!(thinking, Thinking::Budget(_));
    w.key("inferenceConfig").object(|w| {
        match prompt.max_tokens {
            Some(asked) => w.key("maxTokens").u64(if claude { limit } else { asked }),
            None if budget => w.key("maxTokens").u64(limit),
            None => {}
        }
        if let Some(temperature) = &prompt.temperature {
            w.key("temperature").number(temperature);
        }
        if let Some(top_p) = &prompt.top_p {
            w.key("topP").number(top_p);
        }
        if !prompt.stop.is_empty() {
            w.key("stopSequences").array(|w| prompt.stop.iter().for_each(|text| w.string(text)));
        }
    });
    write_model_fields(prompt, target.model, thinking, w);
    let effort = prompt.reasoning.and_then(|reasoning| reasoning.effort()).and_then(thinking::effort_word);
    let effort = effort.filter(|_| claude && thinking::takes_effort(target.model));
    let schema = match &prompt.format {
        Format::Schema { name, description, schema, .. } => Some((name, description, schema)),
        Format::Text | Format::Json => None,
    };
    if effort.is_some() || schema.is_some() {
        w.key("outputConfig").object(|w| {
            if let Some((name, description, schema)) = schema {
                w.key("textFormat").object(|w| {
                    w.key("type").string("json_schema");
                    w.key("structure").object(|w| {
                        w.key("jsonSchema").object(|w| {
                            w.key("schema").string(&String::from_utf8_lossy(&string(schema)));
                            w.key("name").string(name);
                            if let Some(description) = description {
                                w.key("description").string(description);
                            }
                        });
                    });
                });
            }
            if let Some(effort) = effort {
                w.key("effort").string(effort);
            }
        });
    }
    if let Some(metadata) = prompt.metadata.and_then(|metadata| metadata.as_object()) {
        w.key("requestMetadata").object(|w| {
            for (name, value) in metadata.iter() {
                if let Some(text) = value.as_str() {
                    w.key(name).string(text);
                }
            }
        });
    }
    if let Some(tier) = prompt.service_tier {
        w.key("serviceTier").object(|w| {
            w.key("type").string(match tier {
                Tier::Default => "default",
                Tier::Flex => "flex",
                Tier::Priority => "priority",
            });
        });
    }
}

/// What only some models take goes to them as it is: thinking of Claude, effort of OpenAI's models, `top_k`.
fn write_model_fields(prompt: &Prompt<'_>, model: &str, thinking: Thinking, w: &mut Writer<'_>) {
    let claude = model.contains("claude");
    let top_k = prompt.top_k.as_ref();
    let effort = prompt.reasoning.and_then(|reasoning| reasoning.effort()).filter(|_| model.contains("openai."));
    let nova = model.contains("amazon.nova");
    if thinking == Thinking::Unsaid && effort.is_none() && (top_k.is_none() || !(claude || nova)) {
        return;
    }
    w.key("additionalModelRequestFields").object(|w| {
        thinking::write(thinking, prompt.reasoning.and_then(|reasoning| reasoning.show), w);
        if let Some(effort) = effort {
            w.key("reasoning_effort").string(effort_word(effort));
        }
        match top_k {
            Some(top_k) if claude => w.key("top_k").number(top_k),
            Some(top_k) if nova => w.key("inferenceConfig").object(|w| w.key("topK").number(top_k)),
            _ => {}
        }
    });
}
