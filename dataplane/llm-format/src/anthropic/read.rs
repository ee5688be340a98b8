//! A client's request.

use std::borrow::Cow;

use crate::Error;
use crate::chat::cache;
use crate::json::Json;
use crate::neutral::{
    Arguments, At, Cache, Content, Effort, Format, Maker, Part, Prompt, Reasoning, Side, Signature, Source, Tool,
    ToolChoice, ToolMode, ToolOutput, integer, needed, number, texts,
};

pub(crate) fn read<'t>(body: &'t Json<'t>) -> Result<Prompt<'t>, Error> {
    let mut prompt = Prompt {
        max_tokens: integer(body, "max_tokens")?,
        temperature: number(body, "temperature")?,
        top_p: number(body, "top_p")?,
        top_k: number(body, "top_k")?,
        stop: texts(body, "stop_sequences")?,
        user: body.get("metadata").get("user_id").as_str(),
        reasoning: read_thinking(body)?,
        ..Prompt::default()
    };
    let config = body.get("output_config").get("format");
    let format = if config.is_null() { body.get("output_format") } else { config };
    if format.get("type").as_str() == Some("json_schema") {
        let schema = Cow::Borrowed(format.get("schema"));
        prompt.format = Format::Schema { name: "answer", description: None, schema, strict: Some(true) };
    }
    for (at, tool) in body.get("tools").items().iter().enumerate() {
        prompt.tools.push(read_tool(tool, At::new("tools", at, ""))?);
    }
    let choice = body.get("tool_choice");
    let of = |mode, only| Some(ToolChoice { mode, only });
    prompt.tool_choice = match choice.get("type").as_str() {
        None => None,
        Some("auto") => of(ToolMode::Auto, Vec::new()),
        Some("any") => of(ToolMode::Required, Vec::new()),
        Some("none") => of(ToolMode::None, Vec::new()),
        Some("tool") => match choice.get("name").as_str() {
            Some(name) => of(ToolMode::Required, vec![name]),
            None => return Err(Error::invalid("tool_choice.name", "must be a string")),
        },
        Some(_) => return Err(Error::invalid("tool_choice.type", "must be auto, any, tool or none")),
    };
    prompt.parallel_tool_calls = choice.get("disable_parallel_tool_use").as_bool().map(|disabled| !disabled);
    prompt.system = texts_only(read_content(body.get("system"), At::new("system", 0, ""))?)?;
    let Json::Array(messages) = body.get("messages") else {
        return Err(Error::invalid("messages", "must be an array"));
    };
    for (at, message) in messages.iter().enumerate() {
        let at = At::new("messages", at, "content");
        let parts = read_content(message.get("content"), at)?;
        match message.get("role").as_str() {
            Some("user") => prompt.say(Side::User, parts),
            Some("assistant") => prompt.say(Side::Assistant, parts),
            Some("system") => prompt.system.extend(texts_only(parts)?),
            _ => return Err(At { inner: "role", ..at }.invalid("must be user, assistant or system")),
        }
    }
    // A mark of the whole request stands for one on its last part.
    let last = prompt.turns.last_mut().and_then(|turn| turn.parts.last_mut());
    if let (Some(mark), Some(part)) = (cache(body), last) {
        part.cache = part.cache.or(Some(mark));
    }
    Ok(prompt)
}

fn texts_only(parts: Vec<Part<'_>>) -> Result<Vec<Part<'_>>, Error> {
    match parts.iter().find(|part| !matches!(part.content, Content::Text(_))) {
        Some(part) => Err(part.at.invalid("instructions may hold text only")),
        None => Ok(parts),
    }
}

fn read_thinking(body: &Json<'_>) -> Result<Option<Reasoning>, Error> {
    let thinking = body.get("thinking");
    let effort = match body.get("output_config").get("effort").as_str() {
        Some(word) => Some(Effort::read(word).ok_or_else(|| Error::invalid("output_config.effort", "is no effort"))?),
        None => None,
    };
    let show = thinking.get("display").as_str().map(|display| display != "omitted");
    Ok(match thinking.get("type").as_str() {
        Some("enabled") => {
            let budget = thinking.get("budget_tokens").as_u64();
            let budget = budget.ok_or_else(|| Error::invalid("thinking.budget_tokens", "must be a whole number"))?;
            Some(Reasoning { effort, budget: Some(budget), show: show.or(Some(true)) })
        }
        Some("disabled") => Some(Reasoning { effort: Some(Effort::None), budget: Some(0), show: Some(false) }),
        Some(_) => Some(Reasoning { effort: effort.or(Some(Effort::High)), budget: None, show: show.or(Some(true)) }),
        None => effort.map(|effort| Reasoning { effort: Some(effort), ..Reasoning::default() }),
    })
}

fn read_tool<'t>(tool: &'t Json<'t>, at: At) -> Result<Tool<'t>, Error> {
    match tool.get("type").as_str() {
        None | Some("custom") => Ok(Tool {
            name: needed(tool, "name", at)?,
            description: tool.get("description").as_str(),
            schema: Some(tool.get("input_schema")).filter(|schema| schema.as_object().is_some()).map(Cow::Borrowed),
            strict: tool.get("strict").as_bool(),
            cache: cache(tool),
        }),
        Some(kind) => Err(at.invalid(format!(
            "{kind:?} is a tool that Anthropic runs or defines: it cannot be translated to another API"
        ))),
    }
}

fn read_content<'t>(content: &'t Json<'t>, at: At) -> Result<Vec<Part<'t>>, Error> {
    match content {
        Json::Null => Ok(Vec::new()),
        Json::String(text) => {
            let content = Content::Text(Cow::Borrowed(&**text));
            Ok(vec![Part { at, cache: None, content }])
        }
        Json::Array(blocks) => {
            let mut parts = Vec::with_capacity(blocks.len());
            for (number, block) in blocks.iter().enumerate() {
                read_block(block, at.part(number), &mut parts)?;
            }
            Ok(parts)
        }
        _ => Err(at.invalid("must be a string or an array of blocks")),
    }
}

fn read_block<'t>(block: &'t Json<'t>, at: At, parts: &mut Vec<Part<'t>>) -> Result<(), Error> {
    let content = match block.get("type").as_str() {
        Some("text") => Content::Text(Cow::Borrowed(needed(block, "text", at)?)),
        Some("image") => Content::Image { source: read_source(block.get("source"), "image/png", at)?, detail: None },
        Some("document") => {
            let (source, title) = (block.get("source"), block.get("title").as_str());
            if source.get("type").as_str() == Some("content") {
                // A document that is a list of blocks: they stand for it.
                parts.extend(read_content(source.get("content"), at)?);
                return Ok(());
            }
            Content::Document { source: read_source(source, "application/pdf", at)?, title }
        }
        Some("search_result") => {
            // What was found, as its text, under its title and source.
            let title = [needed(block, "title", at)?, needed(block, "source", at)?].join("\n");
            let content = Content::Text(Cow::Owned(title));
            parts.push(Part { at, cache: None, content });
            parts.extend(read_content(block.get("content"), at)?);
            return Ok(());
        }
        Some("tool_use") => Content::ToolCall {
            id: Cow::Borrowed(needed(block, "id", at)?),
            name: needed(block, "name", at)?,
            arguments: match block.get("input") {
                Json::Null => Arguments::Empty,
                input => Arguments::Tree(input),
            },
            signature: None,
        },
        Some("tool_result") => Content::ToolResult {
            id: Cow::Borrowed(needed(block, "tool_use_id", at)?),
            name: None,
            output: ToolOutput::Parts(read_content(block.get("content"), at)?),
            error: block.get("is_error").as_bool() == Some(true),
        },
        Some("thinking") => Content::Reasoning {
            text: Cow::Borrowed(block.get("thinking").as_str().unwrap_or_default()),
            signature: block
                .get("signature")
                .as_str()
                .filter(|text| !text.is_empty())
                .map(|text| Signature::read(text, Maker::Anthropic)),
        },
        Some("redacted_thinking") => Content::Redacted(Signature::read(needed(block, "data", at)?, Maker::Anthropic)),
        Some(kind) => return Err(at.invalid(format!("blocks of type {kind:?} cannot be translated to another API"))),
        None => return Err(at.invalid("must be a block with a type")),
    };
    let cache: Option<Cache> = cache(block);
    parts.push(Part { at, cache, content });
    Ok(())
}

fn read_source<'t>(source: &'t Json<'t>, media_type: &'static str, at: At) -> Result<Source<'t>, Error> {
    Ok(match source.get("type").as_str() {
        Some("base64") => Source::Base64 {
            media_type: Cow::Borrowed(source.get("media_type").as_str().unwrap_or(media_type)),
            data: needed(source, "data", at)?,
        },
        Some("url") => Source::Url {
            url: needed(source, "url", at)?,
            media_type: Some(media_type).filter(|media_type| media_type.starts_with("application")),
        },
        Some("text") => Source::Text(needed(source, "data", at)?),
        Some("file") => Source::File(needed(source, "file_id", at)?),
        _ => return Err(at.invalid("source must be of type base64, url, text or file")),
    })
}
