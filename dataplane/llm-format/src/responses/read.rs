//! A client's request.

use std::borrow::Cow;

use crate::Error;
use crate::chat;
use crate::json::Json;
use crate::neutral::{
    Arguments, At, Content, Effort, Format, Maker, Part, Prompt, Reasoning, Side, Signature, Source, Tool, ToolChoice,
    ToolMode, ToolOutput, integer, needed, number, text,
};

pub(crate) fn read<'t>(body: &'t Json<'t>) -> Result<Prompt<'t>, Error> {
    if body.get("background").as_bool() == Some(true) {
        return Err(Error::invalid(
            "background",
            "answers in the background are kept by OpenAI and are not translated",
        ));
    }
    let mut prompt = Prompt {
        max_tokens: integer(body, "max_output_tokens")?,
        temperature: number(body, "temperature")?,
        top_p: number(body, "top_p")?,
        logprobs: integer(body, "top_logprobs")?.is_some_and(|top| top > 0)
            || body.get("include").items().iter().any(|item| item.as_str() == Some("message.output_text.logprobs")),
        user: text(body, "safety_identifier")?.or(text(body, "user")?),
        metadata: Some(body.get("metadata"))
            .filter(|metadata| metadata.as_object().is_some_and(|data| !data.is_empty())),
        service_tier: chat::tier(text(body, "service_tier")?),
        verbosity: body.get("text").get("verbosity").as_str(),
        cache_key: text(body, "prompt_cache_key")?,
        parallel_tool_calls: body.get("parallel_tool_calls").as_bool(),
        ..Prompt::default()
    };
    let reasoning = body.get("reasoning");
    if reasoning.as_object().is_some() {
        let effort = match reasoning.get("effort").as_str() {
            Some(word) => Some(Effort::read(word).ok_or_else(|| Error::invalid("reasoning.effort", "is no effort"))?),
            None => None,
        };
        let show = reasoning.get("summary").as_str().or(reasoning.get("generate_summary").as_str()).map(|_| true);
        if effort.is_some() || show.is_some() {
            prompt.reasoning = Some(Reasoning { effort, budget: None, show });
        }
    }
    let format = body.get("text").get("format");
    prompt.format = match format.get("type").as_str() {
        None | Some("text") => Format::Text,
        Some("json_object") => Format::Json,
        Some("json_schema") => chat::schema(format, "text.format")?,
        Some(_) => return Err(Error::invalid("text.format.type", "must be text, json_object or json_schema")),
    };
    for (at, tool) in body.get("tools").items().iter().enumerate() {
        prompt.tools.push(read_tool(tool, At::new("tools", at, ""))?);
    }
    prompt.tool_choice = read_tool_choice(body.get("tool_choice"))?;
    if let Some(text) = text(body, "instructions")? {
        let content = Content::Text(Cow::Borrowed(text));
        prompt.system.push(Part { at: At::new("input", 0, "instructions"), cache: None, content });
    }
    match body.get("input") {
        Json::String(text) => {
            let content = Content::Text(Cow::Borrowed(&**text));
            prompt.say(Side::User, vec![Part { at: At::new("input", 0, ""), cache: None, content }]);
        }
        Json::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                read_item(&mut prompt, item, At::new("input", at, ""))?;
            }
        }
        _ => return Err(Error::invalid("input", "must be a string or an array of items")),
    }
    Ok(prompt)
}

fn read_tool<'t>(tool: &'t Json<'t>, at: At) -> Result<Tool<'t>, Error> {
    match tool.get("type").as_str() {
        Some("function") => Ok(Tool {
            name: needed(tool, "name", at)?,
            description: tool.get("description").as_str(),
            schema: Some(tool.get("parameters")).filter(|schema| schema.as_object().is_some()).map(Cow::Borrowed),
            strict: tool.get("strict").as_bool(),
            cache: None,
        }),
        Some("custom") => Err(at.invalid("tools whose input is free text cannot be translated to another API")),
        Some(kind) => Err(at.invalid(format!(
            "{kind:?} is a tool that OpenAI runs or defines: it cannot be translated to another API"
        ))),
        None => Err(at.invalid("must be a tool with a type")),
    }
}

fn read_tool_choice<'t>(choice: &'t Json<'t>) -> Result<Option<ToolChoice<'t>>, Error> {
    let of = |mode, only| Ok(Some(ToolChoice { mode, only }));
    match (choice.as_str(), choice.get("type").as_str()) {
        (Some("auto"), _) => of(ToolMode::Auto, Vec::new()),
        (Some("none"), _) => of(ToolMode::None, Vec::new()),
        (Some("required"), _) => of(ToolMode::Required, Vec::new()),
        (_, Some("function")) => match choice.get("name").as_str() {
            Some(name) => of(ToolMode::Required, vec![name]),
            None => Err(Error::invalid("tool_choice.name", "must be a string")),
        },
        (_, Some("allowed_tools")) => {
            let names = choice.get("tools").items().iter().filter_map(|tool| tool.get("name").as_str());
            let mode =
                if choice.get("mode").as_str() == Some("required") { ToolMode::Required } else { ToolMode::Auto };
            of(mode, names.collect())
        }
        _ if choice.is_null() => Ok(None),
        _ => Err(Error::invalid("tool_choice", "must be auto, none, required, or name a function")),
    }
}

fn read_item<'t>(prompt: &mut Prompt<'t>, item: &'t Json<'t>, at: At) -> Result<(), Error> {
    let one = |content| vec![Part { at, cache: None, content }];
    match item.get("type").as_str().unwrap_or("message") {
        "message" => {
            let at = At { inner: "content", ..at };
            let parts = read_content(item.get("content"), at)?;
            match item.get("role").as_str() {
                Some("system" | "developer") => {
                    if parts.iter().any(|part| !matches!(part.content, Content::Text(_))) {
                        return Err(at.invalid("instructions may hold text only"));
                    }
                    prompt.system.extend(parts);
                }
                Some("user") => prompt.say(Side::User, parts),
                Some("assistant") => prompt.say(Side::Assistant, parts),
                _ => return Err(At { inner: "role", ..at }.invalid("must be system, developer, user or assistant")),
            }
        }
        "function_call" => {
            let arguments = match item.get("arguments").as_str().map(str::trim) {
                None | Some("") => Arguments::Empty,
                Some(text) => Arguments::Text(text),
            };
            let (id, name) = (Cow::Borrowed(needed(item, "call_id", at)?), needed(item, "name", at)?);
            prompt.say(Side::Assistant, one(Content::ToolCall { id, name, arguments, signature: None }));
        }
        "function_call_output" => {
            let output = ToolOutput::Parts(read_content(item.get("output"), At { inner: "output", ..at })?);
            let id = Cow::Borrowed(needed(item, "call_id", at)?);
            prompt.say(Side::User, one(Content::ToolResult { id, name: None, output, error: false }));
        }
        "reasoning" => {
            let pieces = item.get("summary").items().iter().chain(item.get("content").items());
            let text: Vec<&str> = pieces.filter_map(|piece| piece.get("text").as_str()).collect();
            let text = match text.as_slice() {
                [text] => Cow::Borrowed(*text),
                texts => Cow::Owned(texts.join("\n\n")),
            };
            match item.get("encrypted_content").as_str().map(|data| Signature::read(data, Maker::OpenAi)) {
                Some(data) if data.maker == Maker::OpenAi => prompt.say(Side::Assistant, one(Content::Redacted(data))),
                Some(signature) => prompt.say(Side::Assistant, one(signature.into_content(text))),
                None => prompt.say(Side::Assistant, one(Content::Reasoning { text, signature: None })),
            }
        }
        "item_reference" => return Err(at.invalid("refers to an item that only OpenAI keeps: send the item itself")),
        kind => return Err(at.invalid(format!("items of type {kind:?} cannot be translated to another API"))),
    }
    Ok(())
}

fn read_content<'t>(content: &'t Json<'t>, at: At) -> Result<Vec<Part<'t>>, Error> {
    match content {
        Json::String(text) => {
            let content = Content::Text(Cow::Borrowed(&**text));
            Ok(vec![Part { at, cache: None, content }])
        }
        Json::Array(parts) => parts
            .iter()
            .enumerate()
            .map(|(number, part)| {
                let at = at.part(number);
                Ok(Part { at, cache: chat::cache(part), content: read_part(part, at)? })
            })
            .collect(),
        _ => Err(at.invalid("must be a string or an array of parts")),
    }
}

fn read_part<'t>(part: &'t Json<'t>, at: At) -> Result<Content<'t>, Error> {
    Ok(match part.get("type").as_str() {
        Some("input_text" | "output_text") => Content::Text(Cow::Borrowed(needed(part, "text", at)?)),
        Some("refusal") => Content::Refusal(needed(part, "refusal", at)?),
        Some("input_image") => {
            let source = match (part.get("image_url").as_str(), part.get("file_id").as_str()) {
                (Some(url), _) => chat::url(url, at)?,
                (None, Some(id)) => Source::File(id),
                (None, None) => return Err(at.invalid("must have image_url or file_id")),
            };
            Content::Image { source, detail: part.get("detail").as_str() }
        }
        Some("input_file") => {
            let texts = [part.get("file_data").as_str(), part.get("file_url").as_str(), part.get("file_id").as_str()];
            let source = match texts {
                [Some(data), ..] if data.starts_with("data:") => chat::url(data, at)?,
                [Some(data), ..] => Source::Base64 { media_type: Cow::Borrowed("application/pdf"), data },
                [None, Some(url), _] => Source::Url { url, media_type: Some("application/pdf") },
                [None, None, Some(id)] => Source::File(id),
                [None, None, None] => return Err(at.invalid("must have file_data, file_url or file_id")),
            };
            Content::Document { source, title: part.get("filename").as_str() }
        }
        _ => {
            return Err(
                at.invalid("must be a part of type input_text, output_text, input_image, input_file or refusal")
            );
        }
    })
}
