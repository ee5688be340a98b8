//! A request for a provider. Nothing is left with the provider: `store` is off.

use crate::Error;
use crate::chat::{effort_word, source_url, tier_word};
use crate::json::{Writer, string};
use crate::neutral::{Content, Format, Maker, Part, Prompt, Side, Source, ToolMode, ToolOutput, tool_id};
use crate::upstream::Target;

pub(crate) fn write(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let mut result = Ok(());
    w.object(|w| {
        w.key("model").string(target.model);
        write_input(prompt, target, w, &mut result);
        if !target.counts {
            write_limits(prompt, target, w);
        }
        write_settings(prompt, w);
    });
    result
}

fn write_input(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>, result: &mut Result<(), Error>) {
    let system: Vec<&str> = prompt
        .system
        .iter()
        .filter_map(|part| match &part.content {
            Content::Text(text) => Some(&**text),
            _ => None,
        })
        .collect();
    match system.as_slice() {
        [] => {}
        [text] => w.key("instructions").string(text),
        texts => w.key("instructions").string(&texts.join("\n\n")),
    }
    w.key("input").array(|w| {
        for turn in &prompt.turns {
            let mut message: Vec<&Part<'_>> = Vec::new();
            for part in &turn.parts {
                let item = matches!(
                    part.content,
                    Content::ToolCall { .. }
                        | Content::ToolResult { .. }
                        | Content::Reasoning { .. }
                        | Content::Redacted(_)
                );
                if item {
                    flush(turn.side, &mut message, target, w, result);
                    if let Err(error) = write_item(part, target, w) {
                        *result = Err(error);
                    }
                } else {
                    message.push(part);
                }
            }
            flush(turn.side, &mut message, target, w, result);
        }
    });
}

/// Writes a message of the parts so far.
fn flush(
    side: Side,
    parts: &mut Vec<&Part<'_>>,
    target: &Target<'_>,
    w: &mut Writer<'_>,
    result: &mut Result<(), Error>,
) {
    if parts.is_empty() {
        return;
    }
    w.object(|w| {
        w.key("type").string("message");
        w.key("role").string(if side == Side::User { "user" } else { "assistant" });
        let w = w.key("content");
        if let [Part { content: Content::Text(text), .. }] = parts.as_slice() {
            w.string(text);
            parts.clear();
            return;
        }
        w.array(|w| {
            for part in parts.drain(..) {
                if let Err(error) = write_part(side, part, target, w) {
                    *result = Err(error);
                }
            }
        });
    });
}

fn write_part(side: Side, part: &Part<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let text = |w: &mut Writer<'_>, text: &str| {
        w.object(|w| {
            w.key("type").string(if side == Side::User { "input_text" } else { "output_text" });
            w.key("text").string(text);
            if side == Side::Assistant {
                w.key("annotations").array(|_| ());
            }
        });
    };
    match &part.content {
        Content::Text(content) => text(w, content),
        Content::Refusal(content) if side == Side::User => text(w, content),
        Content::Refusal(content) => w.object(|w| {
            w.key("type").string("refusal");
            w.key("refusal").string(content);
        }),
        Content::Image { source, detail } => {
            let url = source_url(source, part.at)?;
            w.object(|w| {
                w.key("type").string("input_image");
                w.key("image_url").string(&url);
                w.key("detail").string(detail.unwrap_or("auto"));
            });
        }
        Content::Document { source: Source::Text(content), title } => match title {
            Some(title) => text(w, &format!("{title}\n\n{content}")),
            None => text(w, content),
        },
        Content::Document { source, title } => {
            let url = source_url(source, part.at)?;
            w.object(|w| {
                w.key("type").string("input_file");
                if matches!(source, Source::Url { .. }) {
                    w.key("file_url").string(&url);
                } else {
                    w.key("filename").string(title.unwrap_or("document.pdf"));
                    w.key("file_data").string(&url);
                }
            });
        }
        _ => return Err(target.misplaced(part.at)),
    }
    Ok(())
}

fn write_item(part: &Part<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    match &part.content {
        Content::ToolCall { id, name, arguments, .. } => {
            let arguments = arguments.text(part.at)?;
            w.object(|w| {
                w.key("type").string("function_call");
                w.key("call_id").string(&tool_id(id));
                w.key("name").string(name);
                w.key("arguments").string(&arguments);
            });
        }
        Content::ToolResult { id, output, .. } => {
            let mut result = Ok(());
            w.object(|w| {
                w.key("type").string("function_call_output");
                w.key("call_id").string(&tool_id(id));
                let w = w.key("output");
                match output {
                    ToolOutput::Tree(tree) => w.string(&String::from_utf8_lossy(&string(tree))),
                    ToolOutput::Parts(parts) => match parts.as_slice() {
                        [] => w.string(""),
                        [Part { content: Content::Text(text), .. }] => w.string(text),
                        parts => w.array(|w| {
                            for part in parts {
                                if let Err(error) = write_part(Side::User, part, target, w) {
                                    result = Err(error);
                                }
                            }
                        }),
                    },
                }
            });
            result?;
        }
        // OpenAI takes back what it encrypted itself; reasoning of others means nothing to it.
        Content::Redacted(data) if data.maker == Maker::OpenAi => w.object(|w| {
            w.key("type").string("reasoning");
            w.key("summary").array(|_| ());
            w.key("encrypted_content").string(&data.value);
        }),
        _ => {}
    }
    Ok(())
}

fn write_limits(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>) {
    if target.stream {
        w.key("stream").bool(true);
    }
    w.key("store").bool(false);
    w.key("include").array(|w| w.string("reasoning.encrypted_content"));
    if let Some(limit) = prompt.max_tokens {
        // The API takes no less.
        w.key("max_output_tokens").u64(limit.max(16));
    }
    if let Some(temperature) = &prompt.temperature {
        w.key("temperature").number(temperature);
    }
    if let Some(top_p) = &prompt.top_p {
        w.key("top_p").number(top_p);
    }
    if let Some(user) = prompt.user {
        w.key("safety_identifier").string(user);
    }
    if let Some(metadata) = prompt.metadata {
        w.key("metadata").json(metadata);
    }
    if let Some(tier) = prompt.service_tier {
        w.key("service_tier").string(tier_word(tier));
    }
    if let Some(key) = prompt.cache_key {
        w.key("prompt_cache_key").string(key);
    }
}

fn write_settings(prompt: &Prompt<'_>, w: &mut Writer<'_>) {
    if !matches!(prompt.format, Format::Text) || prompt.verbosity.is_some() {
        w.key("text").object(|w| {
            match &prompt.format {
                Format::Text => {}
                Format::Json => w.key("format").object(|w| w.key("type").string("json_object")),
                Format::Schema { name, description, schema, strict } => w.key("format").object(|w| {
                    w.key("type").string("json_schema");
                    w.key("name").string(name);
                    if let Some(description) = description {
                        w.key("description").string(description);
                    }
                    w.key("schema").json(schema);
                    if let Some(strict) = strict {
                        w.key("strict").bool(*strict);
                    }
                }),
            }
            if let Some(verbosity) = prompt.verbosity {
                w.key("verbosity").string(verbosity);
            }
        });
    }
    if let Some(reasoning) = prompt.reasoning {
        w.key("reasoning").object(|w| {
            if let Some(effort) = reasoning.effort() {
                w.key("effort").string(effort_word(effort));
            }
            if reasoning.show == Some(true) {
                w.key("summary").string("auto");
            }
        });
    }
    if prompt.tools.is_empty() {
        return;
    }
    w.key("tools").array(|w| {
        for tool in &prompt.tools {
            w.object(|w| {
                w.key("type").string("function");
                w.key("name").string(tool.name);
                if let Some(description) = tool.description {
                    w.key("description").string(description);
                }
                match &tool.schema {
                    Some(schema) => w.key("parameters").json(schema),
                    None => w.key("parameters").raw(r#"{"type":"object","properties":{}}"#),
                }
                // Strict is this API's default, and it refuses many a schema.
                w.key("strict").bool(tool.strict.unwrap_or(false));
            });
        }
    });
    if let Some(choice) = &prompt.tool_choice {
        let w = w.key("tool_choice");
        let name = |w: &mut Writer<'_>, name: &str| {
            w.object(|w| {
                w.key("type").string("function");
                w.key("name").string(name);
            });
        };
        match (choice.mode, choice.only.as_slice()) {
            (ToolMode::None, _) => w.string("none"),
            (ToolMode::Auto, []) => w.string("auto"),
            (ToolMode::Required, []) => w.string("required"),
            (ToolMode::Required, [only]) => name(w, only),
            (mode, only) => w.object(|w| {
                w.key("type").string("allowed_tools");
                w.key("mode").string(if mode == ToolMode::Required { "required" } else { "auto" });
                w.key("tools").array(|w| only.iter().for_each(|only| name(w, only)));
            }),
        }
    }
    if let Some(parallel) = prompt.parallel_tool_calls {
        w.key("parallel_tool_calls").bool(parallel);
    }
}
