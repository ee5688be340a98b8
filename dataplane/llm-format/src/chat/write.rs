//! A request for a provider.

use crate::Error;
use crate::json::Writer;
use crate::neutral::{
    Arguments, At, Content, Effort, Format, Part, Prompt, Side, Source, Tier, Tool, ToolMode, ToolOutput, Turn, tool_id,
};
use crate::upstream::Target;

pub(crate) fn write(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let mut result = Ok(());
    w.object(|w| {
        w.key("model").string(target.model);
        if target.stream {
            w.key("stream").bool(true);
            if target.quirks.stream_options {
                w.key("stream_options").object(|w| w.key("include_usage").bool(true));
            }
        }
        w.key("messages").array(|w| result = write_messages(prompt, target, w));
        write_settings(prompt, target, w);
    });
    result
}

fn write_settings(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>) {
    if let Some(limit) = prompt.max_tokens {
        w.key(if target.quirks.max_tokens { "max_tokens" } else { "max_completion_tokens" }).u64(limit);
    }
    let numbers = [
        ("temperature", &prompt.temperature),
        ("top_p", &prompt.top_p),
        ("seed", &prompt.seed),
        ("frequency_penalty", &prompt.frequency_penalty),
        ("presence_penalty", &prompt.presence_penalty),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            w.key(name).number(number);
        }
    }
    if !prompt.stop.is_empty() {
        w.key("stop").array(|w| prompt.stop.iter().for_each(|text| w.string(text)));
    }
    if prompt.choices > 1 {
        w.key("n").u64(prompt.choices);
    }
    match &prompt.format {
        Format::Text => {}
        Format::Json => w.key("response_format").object(|w| w.key("type").string("json_object")),
        Format::Schema { name, description, schema, strict } => w.key("response_format").object(|w| {
            w.key("type").string("json_schema");
            w.key("json_schema").object(|w| {
                w.key("name").string(name);
                if let Some(description) = description {
                    w.key("description").string(description);
                }
                w.key("schema").json(schema);
                if let Some(strict) = strict {
                    w.key("strict").bool(*strict);
                }
            });
        }),
    }
    if let Some(effort) =
        prompt.reasoning.and_then(|reasoning| reasoning.effort()).filter(|_| target.quirks.reasoning_effort)
    {
        w.key("reasoning_effort").string(effort_word(effort));
    }
    if let Some(user) = prompt.user {
        w.key("user").string(user);
    }
    if let Some(metadata) = prompt.metadata {
        w.key("metadata").json(metadata);
    }
    if let Some(tier) = prompt.service_tier {
        w.key("service_tier").string(tier_word(tier));
    }
    if let Some(verbosity) = prompt.verbosity {
        w.key("verbosity").string(verbosity);
    }
    if let Some(key) = prompt.cache_key {
        w.key("prompt_cache_key").string(key);
    }
    if prompt.tools.is_empty() {
        return;
    }
    w.key("tools").array(|w| prompt.tools.iter().for_each(|tool| write_tool(tool, w)));
    if let Some(choice) = &prompt.tool_choice {
        let w = w.key("tool_choice");
        let name = |w: &mut Writer<'_>, name: &str| {
            w.object(|w| {
                w.key("type").string("function");
                w.key("function").object(|w| w.key("name").string(name));
            });
        };
        match (choice.mode, choice.only.as_slice()) {
            (ToolMode::None, _) => w.string("none"),
            (ToolMode::Auto, []) => w.string("auto"),
            (ToolMode::Required, []) => w.string("required"),
            (ToolMode::Required, [only]) => name(w, only),
            (mode, only) => w.object(|w| {
                w.key("type").string("allowed_tools");
                w.key("allowed_tools").object(|w| {
                    w.key("mode").string(if mode == ToolMode::Required { "required" } else { "auto" });
                    w.key("tools").array(|w| only.iter().for_each(|only| name(w, only)));
                });
            }),
        }
    }
    if let Some(parallel) = prompt.parallel_tool_calls {
        w.key("parallel_tool_calls").bool(parallel);
    }
}

pub(crate) fn effort_word(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::ExtraHigh | Effort::Max => "xhigh",
    }
}

pub(crate) fn tier_word(tier: Tier) -> &'static str {
    match tier {
        Tier::Default => "default",
        Tier::Flex => "flex",
        Tier::Priority => "priority",
    }
}

fn write_tool(tool: &Tool<'_>, w: &mut Writer<'_>) {
    w.object(|w| {
        w.key("type").string("function");
        w.key("function").object(|w| {
            w.key("name").string(tool.name);
            if let Some(description) = tool.description {
                w.key("description").string(description);
            }
            if let Some(schema) = &tool.schema {
                w.key("parameters").json(schema);
            }
            if let Some(strict) = tool.strict {
                w.key("strict").bool(strict);
            }
        });
    });
}

fn write_messages(prompt: &Prompt<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    if !prompt.system.is_empty() {
        w.object(|w| {
            w.key("role").string("system");
            write_texts(&prompt.system, w.key("content"));
        });
    }
    for turn in &prompt.turns {
        match turn.side {
            Side::User => write_user(turn, target, w)?,
            Side::Assistant => write_assistant(turn, w)?,
        }
    }
    Ok(())
}

/// One text as a string, several as parts.
fn write_texts(parts: &[Part<'_>], w: &mut Writer<'_>) {
    match parts {
        [Part { content: Content::Text(text), .. }] => w.string(text),
        _ => w.array(|w| {
            for part in parts {
                if let Content::Text(text) = &part.content {
                    write_text(text, w);
                }
            }
        }),
    }
}

fn write_text(text: &str, w: &mut Writer<'_>) {
    w.object(|w| {
        w.key("type").string("text");
        w.key("text").string(text);
    });
}

/// Results of tools are messages of their own, and before what the person says: each call must be answered next. Images and
/// documents of results go with what the person says, for results are text here.
fn write_user(turn: &Turn<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let mut rest: Vec<&Part<'_>> = Vec::new();
    for part in &turn.parts {
        let Content::ToolResult { id, output, .. } = &part.content else {
            rest.push(part);
            continue;
        };
        w.object(|w| {
            w.key("role").string("tool");
            w.key("tool_call_id").string(&tool_id(id));
            let w = w.key("content");
            match output {
                ToolOutput::Tree(tree) => w.string(&String::from_utf8_lossy(&crate::json::string(tree))),
                ToolOutput::Parts(parts) => {
                    let texts: Vec<&Part<'_>> =
                        parts.iter().filter(|part| matches!(part.content, Content::Text(_))).collect();
                    rest.extend(parts.iter().filter(|part| !matches!(part.content, Content::Text(_))));
                    match texts.as_slice() {
                        [] => w.string(""),
                        [Part { content: Content::Text(text), .. }] => w.string(text),
                        texts => w.array(|w| {
                            for part in texts {
                                if let Content::Text(text) = &part.content {
                                    write_text(text, w);
                                }
                            }
                        }),
                    }
                }
            }
        });
    }
    if rest.is_empty() {
        return Ok(());
    }
    let mut result = Ok(());
    w.object(|w| {
        w.key("role").string("user");
        let w = w.key("content");
        match rest.as_slice() {
            [Part { content: Content::Text(text), .. }] => w.string(text),
            parts => w.array(|w| {
                for part in parts {
                    if let Err(error) = write_part(part, target, w) {
                        result = Err(error);
                    }
                }
            }),
        }
    });
    result
}

fn write_part(part: &Part<'_>, target: &Target<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    match &part.content {
        Content::Text(text) => write_text(text, w),
        Content::Refusal(text) => write_text(text, w),
        Content::Image { source, detail } => {
            let url = source_url(source, part.at)?;
            w.object(|w| {
                w.key("type").string("image_url");
                w.key("image_url").object(|w| {
                    w.key("url").string(&url);
                    if let Some(detail) = detail {
                        w.key("detail").string(detail);
                    }
                });
            });
        }
        Content::Document { source: Source::Text(text), title } => match title {
            Some(title) => write_text(&format!("{title}\n\n{text}"), w),
            None => write_text(text, w),
        },
        Content::Document { source, title } => {
            let url = source_url(source, part.at)?;
            w.object(|w| {
                w.key("type").string("file");
                w.key("file").object(|w| {
                    w.key("filename").string(title.unwrap_or("document.pdf"));
                    w.key("file_data").string(&url);
                });
            });
        }
        Content::Audio { format, data } => w.object(|w| {
            w.key("type").string("input_audio");
            w.key("input_audio").object(|w| {
                w.key("data").string(data);
                w.key("format").string(format);
            });
        }),
        _ => return Err(target.misplaced(part.at)),
    }
    Ok(())
}

/// The URL of a source; a `data:` URL where the data is here.
pub(crate) fn source_url<'s>(source: &'s Source<'_>, at: At) -> Result<std::borrow::Cow<'s, str>, Error> {
    match source {
        Source::Url { url, .. } => Ok((*url).into()),
        Source::Base64 { media_type, data } => Ok(format!("data:{media_type};base64,{data}").into()),
        Source::File(_) | Source::Text(_) => Err(at.invalid("cannot be given by URL")),
    }
}

fn write_assistant(turn: &Turn<'_>, w: &mut Writer<'_>) -> Result<(), Error> {
    let texts: Vec<&str> = turn
        .parts
        .iter()
        .filter_map(|part| match &part.content {
            Content::Text(text) => Some(&**text),
            _ => None,
        })
        .collect();
    let refusal = turn.parts.iter().find_map(|part| match part.content {
        Content::Refusal(text) => Some(text),
        _ => None,
    });
    let calls = || turn.parts.iter().filter(|part| matches!(part.content, Content::ToolCall { .. }));
    if texts.is_empty() && refusal.is_none() && calls().next().is_none() {
        // Reasoning alone: nothing that this API takes back.
        return Ok(());
    }
    let mut result = Ok(());
    w.object(|w| {
        w.key("role").string("assistant");
        let content = w.key("content");
        match texts.as_slice() {
            [] => content.null(),
            [text] => content.string(text),
            texts => content.array(|w| texts.iter().for_each(|text| write_text(text, w))),
        }
        if let Some(refusal) = refusal {
            w.key("refusal").string(refusal);
        }
        if calls().next().is_none() {
            return;
        }
        w.key("tool_calls").array(|w| {
            for part in calls() {
                let Content::ToolCall { id, name, arguments, .. } = &part.content else { continue };
                w.object(|w| {
                    w.key("id").string(&tool_id(id));
                    w.key("type").string("function");
                    w.key("function").object(|w| {
                        w.key("name").string(name);
                        match arguments.text(part.at) {
                            Ok(text) => w.key("arguments").string(&text),
                            Err(error) => result = Err(error),
                        }
                    });
                });
            }
        });
    });
    result
}

impl Arguments<'_> {
    /// The object as text.
    pub(crate) fn text(&self, at: At) -> Result<std::borrow::Cow<'_, str>, Error> {
        match self {
            Arguments::Empty => Ok("{}".into()),
            Arguments::Text(text) => Ok((*text).into()),
            Arguments::Tree(tree) => match String::from_utf8(crate::json::string(tree)) {
                Ok(text) => Ok(text.into()),
                Err(_) => Err(at.invalid("must be UTF-8")),
            },
        }
    }

    /// Writes the object as JSON.
    pub(crate) fn write(&self, at: At, w: &mut Writer<'_>) -> Result<(), Error> {
        match self {
            Arguments::Empty => w.object(|_| ()),
            Arguments::Tree(tree) if tree.as_object().is_some() => w.json(tree),
            Arguments::Tree(tree) => {
                return Err(at.invalid(format!("arguments must be an object, not {}", tree.kind())));
            }
            Arguments::Text(text) => match crate::json::Json::parse(text.as_bytes()) {
                Ok(tree @ crate::json::Json::Object(_)) => w.json(&tree),
                _ => return Err(at.invalid("arguments must be the text of a JSON object")),
            },
        }
        Ok(())
    }
}
