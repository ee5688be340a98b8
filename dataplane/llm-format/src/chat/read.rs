//! A client's request.

use std::borrow::Cow;

use crate::Error;
use crate::json::Json;
use crate::neutral::{
    Arguments, At, Cache, Content, Effort, Format, Maker, Part, Prompt, Reasoning, Side, Signature, Source, Tier, Tool,
    ToolChoice, ToolMode, ToolOutput, integer, needed, number, text, texts,
};

pub(crate) fn read<'t>(body: &'t Json<'t>) -> Result<Prompt<'t>, Error> {
    let mut prompt = Prompt {
        max_tokens: integer(body, "max_completion_tokens")?.or(integer(body, "max_tokens")?),
        temperature: number(body, "temperature")?,
        top_p: number(body, "top_p")?,
        top_k: number(body, "top_k")?,
        seed: number(body, "seed")?,
        frequency_penalty: number(body, "frequency_penalty")?,
        presence_penalty: number(body, "presence_penalty")?,
        stop: texts(body, "stop")?,
        choices: integer(body, "n")?.unwrap_or(0),
        logprobs: body.get("logprobs").as_bool() == Some(true)
            || integer(body, "top_logprobs")?.is_some_and(|top| top > 0),
        logit_bias: body.get("logit_bias").as_object().is_some_and(|bias| !bias.is_empty()),
        user: text(body, "safety_identifier")?.or(text(body, "user")?),
        metadata: Some(body.get("metadata"))
            .filter(|metadata| metadata.as_object().is_some_and(|data| !data.is_empty())),
        service_tier: tier(text(body, "service_tier")?),
        verbosity: text(body, "verbosity")?,
        cache_key: text(body, "prompt_cache_key")?,
        parallel_tool_calls: body.get("parallel_tool_calls").as_bool(),
        ..Prompt::default()
    };
    if body.get("modalities").items().iter().any(|kind| kind.as_str() != Some("text")) {
        return Err(Error::invalid("modalities", "answers other than text are not translated"));
    }
    if let Some(word) = text(body, "reasoning_effort")? {
        prompt.reasoning = Some(effort("reasoning_effort", word)?);
    }
    prompt.format = format(body.get("response_format"))?;
    for (at, tool) in body.get("tools").items().iter().enumerate() {
        prompt.tools.push(read_tool(tool, At::new("tools", at, ""))?);
    }
    prompt.tool_choice = read_tool_choice(body.get("tool_choice"))?;
    let Json::Array(messages) = body.get("messages") else {
        return Err(Error::invalid("messages", "must be an array"));
    };
    for (at, message) in messages.iter().enumerate() {
        read_message(&mut prompt, message, At::new("messages", at, "content"))?;
    }
    Ok(prompt)
}

pub(crate) fn tier(word: Option<&str>) -> Option<Tier> {
    match word? {
        "default" => Some(Tier::Default),
        "flex" => Some(Tier::Flex),
        "priority" | "fast" => Some(Tier::Priority),
        // What the account says.
        _ => None,
    }
}

pub(crate) fn effort(field: &'static str, word: &str) -> Result<Reasoning, Error> {
    let effort = Effort::read(word)
        .ok_or_else(|| Error::invalid(field, "must be none, minimal, low, medium, high, xhigh or max"))?;
    Ok(Reasoning { effort: Some(effort), ..Reasoning::default() })
}

fn format<'t>(format: &'t Json<'t>) -> Result<Format<'t>, Error> {
    match format.get("type").as_str() {
        None | Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::Json),
        Some("json_schema") => schema(format.get("json_schema"), "response_format.json_schema"),
        Some(_) => Err(Error::invalid("response_format.type", "must be text, json_object or json_schema")),
    }
}

pub(crate) fn schema<'t>(format: &'t Json<'t>, field: &'static str) -> Result<Format<'t>, Error> {
    let schema = format.get("schema");
    if schema.as_object().is_none() {
        return Err(Error::invalid(field, "must have a schema, an object"));
    }
    Ok(Format::Schema {
        name: format.get("name").as_str().unwrap_or("answer"),
        description: format.get("description").as_str(),
        schema: Cow::Borrowed(schema),
        strict: format.get("strict").as_bool(),
    })
}

fn read_tool<'t>(tool: &'t Json<'t>, at: At) -> Result<Tool<'t>, Error> {
    match tool.get("type").as_str() {
        Some("function") => {}
        Some("custom") => return Err(at.invalid("tools whose input is free text cannot be translated to another API")),
        _ => return Err(at.invalid("must be a tool of type function")),
    }
    let function = tool.get("function");
    Ok(Tool {
        name: needed(function, "name", at)?,
        description: function.get("description").as_str(),
        schema: Some(function.get("parameters")).filter(|schema| schema.as_object().is_some()).map(Cow::Borrowed),
        strict: function.get("strict").as_bool(),
        cache: cache(tool),
    })
}

fn read_tool_choice<'t>(choice: &'t Json<'t>) -> Result<Option<ToolChoice<'t>>, Error> {
    let of = |mode, only| Ok(Some(ToolChoice { mode, only }));
    match (choice.as_str(), choice.get("type").as_str()) {
        (Some("auto"), _) => of(ToolMode::Auto, Vec::new()),
        (Some("none"), _) => of(ToolMode::None, Vec::new()),
        (Some("required"), _) => of(ToolMode::Required, Vec::new()),
        (_, Some("function")) => match choice.get("function").get("name").as_str() {
            Some(name) => of(ToolMode::Required, vec![name]),
            None => Err(Error::invalid("tool_choice.function.name", "must be a string")),
        },
        (_, Some("allowed_tools")) => {
            let allowed = choice.get("allowed_tools");
            let names =
                allowed.get("tools").items().iter().filter_map(|tool| tool.get("function").get("name").as_str());
            let mode =
                if allowed.get("mode").as_str() == Some("required") { ToolMode::Required } else { ToolMode::Auto };
            of(mode, names.collect())
        }
        _ if choice.is_null() => Ok(None),
        _ => Err(Error::invalid("tool_choice", "must be auto, none, required, or name a function")),
    }
}

/// A mark of prompt caching in Anthropic's form, which OpenAI-compatible clients send too.
pub(crate) fn cache(value: &Json<'_>) -> Option<Cache> {
    let control = value.get("cache_control");
    control.as_object()?;
    Some(Cache { hour: control.get("ttl").as_str() == Some("1h") })
}

fn read_message<'t>(prompt: &mut Prompt<'t>, message: &'t Json<'t>, at: At) -> Result<(), Error> {
    let content = message.get("content");
    match message.get("role").as_str() {
        Some("system" | "developer") => {
            let parts = read_content(content, at)?;
            if parts.iter().any(|part| !matches!(part.content, Content::Text(_))) {
                return Err(at.invalid("instructions may hold text only"));
            }
            prompt.system.extend(parts);
        }
        Some("user") => prompt.say(Side::User, read_content(content, at)?),
        Some("assistant") => {
            let mut parts = Vec::new();
            read_reasoning(message, at, &mut parts);
            parts.extend(read_content(content, at)?);
            if let Some(refusal) = message.get("refusal").as_str() {
                parts.push(Part { at, cache: None, content: Content::Refusal(refusal) });
            }
            for (number, call) in message.get("tool_calls").items().iter().enumerate() {
                let at = At { inner: "tool_calls", ..at }.part(number);
                parts.push(Part { at, cache: cache(call), content: read_tool_call(call, at)? });
            }
            prompt.say(Side::Assistant, parts);
        }
        Some("tool") => {
            let id = Cow::Borrowed(needed(message, "tool_call_id", At { inner: "tool_call_id", ..at })?);
            let output = ToolOutput::Parts(read_content(content, at)?);
            let content = Content::ToolResult { id, name: message.get("name").as_str(), output, error: false };
            prompt.say(Side::User, vec![Part { at, cache: cache(message), content }]);
        }
        _ => return Err(At { inner: "role", ..at }.invalid("must be system, developer, user, assistant or tool")),
    }
    Ok(())
}

/// Reasoning that the translation gave the client with an earlier answer, in OpenRouter's form (`reasoning_details`).
fn read_reasoning<'t>(message: &'t Json<'t>, at: At, parts: &mut Vec<Part<'t>>) {
    for detail in message.get("reasoning_details").items() {
        let signature = |name| detail.get(name).as_str().map(|text| Signature::read(text, Maker::OpenAi));
        let content = match detail.get("type").as_str() {
            Some("reasoning.text") => Content::Reasoning {
                text: Cow::Borrowed(detail.get("text").as_str().unwrap_or_default()),
                signature: signature("signature"),
            },
            Some("reasoning.encrypted") => match signature("data") {
                Some(data) => Content::Redacted(data),
                None => continue,
            },
            _ => continue,
        };
        parts.push(Part { at, cache: None, content });
    }
}

fn read_tool_call<'t>(call: &'t Json<'t>, at: At) -> Result<Content<'t>, Error> {
    let function = call.get("function");
    if function.as_object().is_none() {
        return Err(at.invalid("must be a call of a function"));
    }
    let signature = call.get("extra_content").get("google").get("thought_signature").as_str();
    Ok(Content::ToolCall {
        id: Cow::Borrowed(needed(call, "id", at)?),
        name: needed(function, "name", at)?,
        arguments: match function.get("arguments").as_str().map(str::trim) {
            None | Some("") => Arguments::Empty,
            Some(text) => Arguments::Text(text),
        },
        signature: signature.map(|text| Signature::read(text, Maker::Google)),
    })
}

fn read_content<'t>(content: &'t Json<'t>, at: At) -> Result<Vec<Part<'t>>, Error> {
    match content {
        Json::Null => Ok(Vec::new()),
        Json::String(text) => {
            let content = Content::Text(Cow::Borrowed(&**text));
            Ok(vec![Part { at, cache: None, content }])
        }
        Json::Array(parts) => parts
            .iter()
            .enumerate()
            .map(|(number, part)| {
                let at = at.part(number);
                Ok(Part { at, cache: cache(part), content: read_part(part, at)? })
            })
            .collect(),
        _ => Err(at.invalid("must be a string or an array of parts")),
    }
}

fn read_part<'t>(part: &'t Json<'t>, at: At) -> Result<Content<'t>, Error> {
    Ok(match part.get("type").as_str() {
        Some("text") => Content::Text(Cow::Borrowed(needed(part, "text", at)?)),
        Some("refusal") => Content::Refusal(needed(part, "refusal", at)?),
        Some("image_url") => {
            let image = part.get("image_url");
            Content::Image { source: url(needed(image, "url", at)?, at)?, detail: image.get("detail").as_str() }
        }
        Some("input_audio") => {
            let audio = part.get("input_audio");
            Content::Audio { format: needed(audio, "format", at)?, data: needed(audio, "data", at)? }
        }
        Some("file") => {
            let file = part.get("file");
            let source = match (file.get("file_data").as_str(), file.get("file_id").as_str()) {
                (Some(data), _) if data.starts_with("data:") => url(data, at)?,
                (Some(data), _) => Source::Base64 { media_type: Cow::Borrowed("application/pdf"), data },
                (None, Some(id)) => Source::File(id),
                (None, None) => return Err(at.invalid("must have file_data or file_id")),
            };
            Content::Document { source, title: file.get("filename").as_str() }
        }
        _ => return Err(at.invalid("must be a part of type text, image_url, input_audio, file or refusal")),
    })
}

/// A URL, or the data that a `data:` URL (RFC 2397) holds.
pub(crate) fn url(url: &str, at: At) -> Result<Source<'_>, Error> {
    let Some(rest) = url.strip_prefix("data:") else { return Ok(Source::Url { url, media_type: None }) };
    let (media_type, data) =
        rest.split_once(";base64,").ok_or_else(|| at.invalid("a data: URL must have a media type and base64 data"))?;
    // Parameters, such as a character set, are not of interest.
    let media_type = media_type.split(';').next().unwrap_or_default();
    Ok(Source::Base64 { media_type: Cow::Borrowed(media_type), data })
}
