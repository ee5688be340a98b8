//! A request for a provider.

use std::borrow::Cow;

use super::thinking;
use crate::json::Writer;
use crate::neutral::{Cache, Content, Format, Maker, Part, Prompt, Side, Source, ToolMode, ToolOutput, tool_id};
use crate::upstream::Target;
use crate::{Error, Host};

pub(crate) fn write(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let mut result = Ok(());
    w.object(|w| {
        match target.host {
            Host::Vertex if target.counts => w.key("model").string(target.model),
            Host::Vertex => w.key("anthropic_version").string("vertex-2023-10-16"),
            Host::Bedrock => w.key("anthropic_version").string("bedrock-2023-05-31"),
            _ => w.key("model").string(target.model),
        }
        let (thinking, limit) = thinking::choose(prompt, target.model);
        if !target.counts {
            if target.stream && target.host != Host::Bedrock {
                w.key("stream").bool(true);
            }
            w.key("max_tokens").u64(limit);
            write_sampling(prompt, w);
        }
        thinking::write(thinking, prompt.reasoning.and_then(|reasoning| reasoning.show), w);
        write_output_config(prompt, target.model, w);
        if !prompt.system.is_empty() {
            let w = w.key("system");
            match prompt.system.as_slice() {
                [Part { content: Content::Text(text), cache: None, .. }] => w.string(text),
                parts => w.array(|w| {
                    for part in parts {
                        if let Err(error) = write_block(part, target, w) {
                            result = Err(error);
                        }
                    }
                }),
            }
        }
        w.key("messages").array(|w| {
            for turn in &prompt.turns {
                if let Err(error) = write_turn(turn.side, &turn.parts, target, w) {
                    result = Err(error);
                }
            }
        });
        write_tools(prompt, w);
    });
    result
}

fn write_sampling(prompt: &Prompt<'_>, w: &mut Writer<'_>) {
    let numbers = [("temperature", &prompt.temperature), ("top_p", &prompt.top_p), ("top_k", &prompt.top_k)];
    for (name, number) in numbers {
        if let Some(number) = number {
            w.key(name).number(number);
        }
    }
    if !prompt.stop.is_empty() {
        w.key("stop_sequences").array(|w| prompt.stop.iter().for_each(|text| w.string(text)));
    }
    if let Some(user) = prompt.user {
        w.key("metadata").object(|w| w.key("user_id").string(user));
    }
}

fn write_output_config(prompt: &Prompt<'_>, model: &str, w: &mut Writer<'_>) {
    let effort = prompt.reasoning.and_then(|reasoning| reasoning.effort()).and_then(thinking::effort_word);
    let effort = effort.filter(|_| thinking::takes_effort(model));
    let Format::Schema { schema, .. } = &prompt.format else {
        if let Some(effort) = effort {
            w.key("output_config").object(|w| w.key("effort").string(effort));
        }
        return;
    };
    w.key("output_config").object(|w| {
        if let Some(effort) = effort {
            w.key("effort").string(effort);
        }
        w.key("format").object(|w| {
            w.key("type").string("json_schema");
            w.key("schema").json(schema);
        });
    });
}

fn write_turn(side: Side, parts: &[Part<'_>], target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    // Reasoning goes back to whoever signed it, and to nobody else.
    let sent = |part: &&Part<'_>| match &part.content {
        Content::Reasoning { signature, .. } => {
            signature.as_ref().is_some_and(|signature| signature.maker == Maker::Anthropic)
        }
        Content::Redacted(data) => data.maker == Maker::Anthropic,
        // The API refuses blocks of text without any.
        Content::Text(text) => !text.is_empty(),
        _ => true,
    };
    if !parts.iter().any(|part| sent(&part)) {
        return Ok(());
    }
    let mut result = Ok(());
    w.object(|w| {
        w.key("role").string(if side == Side::User { "user" } else { "assistant" });
        let w = w.key("content");
        match parts {
            [Part { content: Content::Text(text), cache: None, .. }] => w.string(text),
            parts => w.array(|w| {
                for part in parts.iter().filter(sent) {
                    if let Err(error) = write_block(part, target, w) {
                        result = Err(error);
                    }
                }
            }),
        }
    });
    result
}

pub(crate) fn write_cache(cache: Option<Cache>, w: &mut Writer<'_>) {
    if let Some(cache) = cache {
        w.key("cache_control").object(|w| {
            w.key("type").string("ephemeral");
            if cache.hour {
                w.key("ttl").string("1h");
            }
        });
    }
}

fn write_block(part: &Part<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let mut result = Ok(());
    w.object(|w| {
        match &part.content {
            Content::Text(text) => {
                w.key("type").string("text");
                w.key("text").string(text);
            }
            Content::Refusal(text) => {
                w.key("type").string("text");
                w.key("text").string(text);
            }
            Content::Image { source, .. } => {
                w.key("type").string("image");
                write_source(source, w.key("source"));
            }
            Content::Document { source, title } => {
                w.key("type").string("document");
                write_source(source, w.key("source"));
                if let Some(title) = title {
                    w.key("title").string(title);
                }
            }
            Content::ToolCall { id, name, arguments, .. } => {
                w.key("type").string("tool_use");
                w.key("id").string(&tool_id(id));
                w.key("name").string(name);
                result = arguments.write(part.at, w.key("input"));
            }
            Content::ToolResult { id, output, error, .. } => {
                w.key("type").string("tool_result");
                w.key("tool_use_id").string(&tool_id(id));
                let content = w.key("content");
                match output {
                    ToolOutput::Tree(tree) => content.string(&String::from_utf8_lossy(&crate::json::string(tree))),
                    ToolOutput::Parts(parts) => match parts.as_slice() {
                        [Part { content: Content::Text(text), .. }] => content.string(text),
                        parts => content.array(|w| {
                            for part in parts {
                                if let Err(error) = write_block(part, target, w) {
                                    result = Err(error);
                                }
                            }
                        }),
                    },
                }
                if *error {
                    w.key("is_error").bool(true);
                }
            }
            Content::Reasoning { text, signature } => {
                w.key("type").string("thinking");
                w.key("thinking").string(text);
                let signature =
                    signature.as_ref().map_or(Cow::Borrowed(""), |signature| signature.shown(Maker::Anthropic));
                w.key("signature").string(&signature);
            }
            Content::Redacted(data) => {
                w.key("type").string("redacted_thinking");
                w.key("data").string(&data.value);
            }
            Content::Audio { .. } => result = Err(target.misplaced(part.at)),
        }
        write_cache(part.cache, w);
    });
    result
}

fn write_source(source: &Source<'_>, w: &mut Writer<'_>) {
    w.object(|w| match source {
        Source::Base64 { media_type, data } => {
            w.key("type").string("base64");
            w.key("media_type").string(media_type);
            w.key("data").string(data);
        }
        Source::Url { url, .. } => {
            w.key("type").string("url");
            w.key("url").string(url);
        }
        Source::Text(text) => {
            w.key("type").string("text");
            w.key("media_type").string("text/plain");
            w.key("data").string(text);
        }
        Source::File(id) => {
            w.key("type").string("file");
            w.key("file_id").string(id);
        }
    });
}

fn write_tools(prompt: &Prompt<'_>, w: &mut Writer<'_>) {
    if prompt.tools.is_empty() {
        return;
    }
    w.key("tools").array(|w| {
        for tool in prompt.callable() {
            w.object(|w| {
                w.key("name").string(tool.name);
                if let Some(description) = tool.description {
                    w.key("description").string(description);
                }
                match &tool.schema {
                    Some(schema) => w.key("input_schema").json(schema),
                    None => w.key("input_schema").raw(r#"{"type":"object","properties":{}}"#),
                }
                if tool.strict == Some(true) {
                    w.key("strict").bool(true);
                }
                write_cache(tool.cache, w);
            });
        }
    });
    let mode = prompt.tool_choice.as_ref().map(|choice| (choice.mode, choice.only.as_slice()));
    let serial = prompt.parallel_tool_calls == Some(false);
    if mode.is_none() && !serial {
        return;
    }
    w.key("tool_choice").object(|w| {
        match mode {
            Some((ToolMode::Required, [only])) => {
                w.key("type").string("tool");
                w.key("name").string(only);
            }
            Some((ToolMode::Required, _)) => w.key("type").string("any"),
            Some((ToolMode::None, _)) => return w.key("type").string("none"),
            Some((ToolMode::Auto, _)) | None => w.key("type").string("auto"),
        }
        if serial {
            w.key("disable_parallel_tool_use").bool(true);
        }
    });
}
