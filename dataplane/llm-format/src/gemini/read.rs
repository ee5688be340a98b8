//! A client's request. Names may be in camelCase or in snake_case, as protobuf's JSON allows.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::schema::to_json_schema;
use crate::Error;
use crate::json::Json;
use crate::neutral::{
    Arguments, At, Content, Effort, Format, Maker, Part, Prompt, Reasoning, Side, Source, Tool, ToolChoice, ToolMode,
    ToolOutput, integer, needed, number, texts,
};

/// A member by either of its names.
fn either<'t>(value: &'t Json<'t>, camel: &str, snake: &str) -> &'t Json<'t> {
    let found = value.get(camel);
    if found.is_null() { value.get(snake) } else { found }
}

pub(crate) fn read<'t>(body: &'t Json<'t>) -> Result<Prompt<'t>, Error> {
    let config = either(body, "generationConfig", "generation_config");
    let mut prompt = Prompt {
        metadata: Some(body.get("labels")).filter(|labels| labels.as_object().is_some()),
        ..Prompt::default()
    };
    read_config(config, &mut prompt)?;
    for (at, tool) in body.get("tools").items().iter().enumerate() {
        read_tool(tool, At::new("tools", at, ""), &mut prompt)?;
    }
    let calling = either(either(body, "toolConfig", "tool_config"), "functionCallingConfig", "function_calling_config");
    if let Some(mode) = calling.get("mode").as_str() {
        let names = either(calling, "allowedFunctionNames", "allowed_function_names").items();
        let mode = match mode {
            "ANY" => ToolMode::Required,
            "NONE" => ToolMode::None,
            "AUTO" | "VALIDATED" | "MODE_UNSPECIFIED" => ToolMode::Auto,
            _ => {
                return Err(Error::invalid(
                    "toolConfig.functionCallingConfig.mode",
                    "must be AUTO, ANY, NONE or VALIDATED",
                ));
            }
        };
        prompt.tool_choice = Some(ToolChoice { mode, only: names.iter().filter_map(Json::as_str).collect() });
    }
    let mut calls = Calls::default();
    let system = either(body, "systemInstruction", "system_instruction");
    let at = At::new("systemInstruction", 0, "parts");
    match system {
        Json::Null => {}
        Json::String(text) => {
            let content = Content::Text(Cow::Borrowed(&**text));
            prompt.system.push(Part { at, cache: None, content });
        }
        _ => {
            let parts = read_parts(system, at, &mut calls)?;
            if let Some(part) = parts.iter().find(|part| !matches!(part.content, Content::Text(_))) {
                return Err(part.at.invalid("instructions may hold text only"));
            }
            prompt.system = parts;
        }
    }
    let contents = match body.get("contents") {
        contents @ Json::Object(_) => std::slice::from_ref(contents),
        Json::Array(contents) => contents.as_slice(),
        _ => return Err(Error::invalid("contents", "must be an array")),
    };
    for (at, content) in contents.iter().enumerate() {
        let at = At::new("contents", at, "parts");
        let parts = read_parts(content, at, &mut calls)?;
        match content.get("role").as_str() {
            None | Some("user" | "function" | "tool") => prompt.say(Side::User, parts),
            Some("model") => prompt.say(Side::Assistant, parts),
            Some(_) => return Err(At { inner: "role", ..at }.invalid("must be user or model")),
        }
    }
    Ok(prompt)
}

fn read_config<'t>(config: &'t Json<'t>, prompt: &mut Prompt<'t>) -> Result<(), Error> {
    prompt.max_tokens = integer(config, "maxOutputTokens")?.or(integer(config, "max_output_tokens")?);
    prompt.temperature = number(config, "temperature")?;
    prompt.top_p = number(config, "topP")?.or(number(config, "top_p")?);
    // Google writes it as a float.
    let top_k = either(config, "topK", "top_k").as_u64().map(Into::into);
    prompt.top_k = top_k;
    prompt.seed = number(config, "seed")?;
    prompt.presence_penalty = number(config, "presencePenalty")?.or(number(config, "presence_penalty")?);
    prompt.frequency_penalty = number(config, "frequencyPenalty")?.or(number(config, "frequency_penalty")?);
    prompt.stop = texts(config, "stopSequences")?;
    if prompt.stop.is_empty() {
        prompt.stop = texts(config, "stop_sequences")?;
    }
    prompt.choices = integer(config, "candidateCount")?.or(integer(config, "candidate_count")?).unwrap_or(0);
    prompt.logprobs = either(config, "responseLogprobs", "response_logprobs").as_bool() == Some(true);
    let schema = either(config, "responseJsonSchema", "response_json_schema");
    let own = either(config, "responseSchema", "response_schema");
    let schema = match (schema, own) {
        (Json::Null, Json::Null) => None,
        (Json::Null, own) => Some(Cow::Owned(to_json_schema(own))),
        (schema, _) => Some(Cow::Borrowed(schema)),
    };
    prompt.format = match (either(config, "responseMimeType", "response_mime_type").as_str(), schema) {
        (None | Some("text/plain"), None) => Format::Text,
        (Some("application/json"), None) => Format::Json,
        (None | Some("application/json" | "text/plain"), Some(schema)) => {
            Format::Schema { name: "answer", description: None, schema, strict: None }
        }
        (Some(_), _) => {
            return Err(Error::invalid(
                "generationConfig.responseMimeType",
                "must be text/plain or application/json to be translated",
            ));
        }
    };
    let kinds = either(config, "responseModalities", "response_modalities").items();
    if kinds.iter().any(|kind| kind.as_str().is_some_and(|kind| !kind.eq_ignore_ascii_case("text"))) {
        return Err(Error::invalid(
            "generationConfig.responseModalities",
            "answers other than text are not translated",
        ));
    }
    let thinking = either(config, "thinkingConfig", "thinking_config");
    if thinking.as_object().is_some() {
        let level = either(thinking, "thinkingLevel", "thinking_level").as_str().map(str::to_ascii_lowercase);
        // -1 leaves it to the model.
        let budget = either(thinking, "thinkingBudget", "thinking_budget").as_u64();
        let show = either(thinking, "includeThoughts", "include_thoughts").as_bool();
        let effort = level.as_deref().and_then(Effort::read);
        if effort.is_some() || budget.is_some() || show.is_some() {
            prompt.reasoning = Some(Reasoning { effort, budget, show });
        }
    }
    Ok(())
}

fn read_tool<'t>(tool: &'t Json<'t>, at: At, prompt: &mut Prompt<'t>) -> Result<(), Error> {
    let Some(object) = tool.as_object() else { return Err(at.invalid("must be an object")) };
    for (name, value) in object.iter() {
        if !matches!(name, "functionDeclarations" | "function_declarations") {
            if value.is_null() {
                continue;
            }
            return Err(
                at.invalid(format!("{name:?} is a tool that Google runs: it cannot be translated to another API"))
            );
        }
        for function in value.items() {
            let schema = either(function, "parametersJsonSchema", "parameters_json_schema");
            let schema = match (schema, function.get("parameters")) {
                (Json::Null, Json::Null) => None,
                (Json::Null, own) => Some(Cow::Owned(to_json_schema(own))),
                (schema, _) => Some(Cow::Borrowed(schema)),
            };
            prompt.tools.push(Tool {
                name: needed(function, "name", at)?,
                description: function.get("description").as_str(),
                schema,
                strict: None,
                cache: None,
            });
        }
    }
    Ok(())
}

/// Calls that have not been answered yet. Gemini's calls may have no ids: then the first answer to a name belongs to the
/// first call of it.
#[derive(Default)]
struct Calls<'t> {
    open: VecDeque<(&'t str, Cow<'t, str>)>,
    count: usize,
}

impl<'t> Calls<'t> {
    fn call(&mut self, name: &'t str, id: Option<&'t str>) -> Cow<'t, str> {
        self.count = self.count.saturating_add(1);
        let id =
            id.filter(|id| !id.is_empty()).map_or_else(|| Cow::Owned(format!("call_{}", self.count)), Cow::Borrowed);
        self.open.push_back((name, id.clone()));
        id
    }

    fn answer(&mut self, name: &'t str, id: Option<&'t str>, at: At) -> Result<Cow<'t, str>, Error> {
        let id = id.filter(|id| !id.is_empty());
        let found = self.open.iter().position(|(called, open)| id.map_or(*called == name, |id| open == id));
        match (found.and_then(|at| self.open.remove(at)), id) {
            (_, Some(id)) => Ok(Cow::Borrowed(id)),
            (Some((_, id)), None) => Ok(id),
            (None, None) => Err(at.invalid(format!("answers a call of {name:?} that was not made"))),
        }
    }
}

fn read_parts<'t>(content: &'t Json<'t>, at: At, calls: &mut Calls<'t>) -> Result<Vec<Part<'t>>, Error> {
    let parts = match content.get("parts") {
        part @ Json::Object(_) => std::slice::from_ref(part),
        Json::Array(parts) => parts.as_slice(),
        Json::Null => &[],
        _ => return Err(at.invalid("must be an array")),
    };
    let mut read = Vec::with_capacity(parts.len());
    for (number, part) in parts.iter().enumerate() {
        read_part(part, at.part(number), calls, &mut read)?;
    }
    Ok(read)
}

fn read_part<'t>(part: &'t Json<'t>, at: At, calls: &mut Calls<'t>, read: &mut Vec<Part<'t>>) -> Result<(), Error> {
    let signature = either(part, "thoughtSignature", "thought_signature").as_str().map(super::answer::read_signature);
    let text = part.get("text").as_str();
    if let Some(text) = text.filter(|_| part.get("thought").as_bool() == Some(true)) {
        // A stream gives the signature in a part of its own, behind the texts.
        let before = match read.last_mut() {
            Some(Part { content: Content::Reasoning { text: before, signature: None }, .. }) => Some(before),
            _ => None,
        };
        match (signature, before) {
            (None, Some(before)) => before.to_mut().push_str(text),
            (Some(signature), Some(before)) if text.is_empty() => {
                let before = std::mem::take(before);
                read.pop();
                read.push(Part { at, cache: None, content: signature.into_content(before) });
            }
            (Some(signature), _) => {
                read.push(Part { at, cache: None, content: signature.into_content(Cow::Borrowed(text)) });
            }
            (None, None) => {
                let content = Content::Reasoning { text: Cow::Borrowed(text), signature: None };
                read.push(Part { at, cache: None, content });
            }
        }
        return Ok(());
    }
    let mut push = |content| read.push(Part { at, cache: None, content });
    let call = either(part, "functionCall", "function_call");
    if call.as_object().is_some() {
        let name = needed(call, "name", at)?;
        let id = calls.call(name, call.get("id").as_str());
        let arguments = match call.get("args") {
            Json::Null => Arguments::Empty,
            args => Arguments::Tree(args),
        };
        // Only Google signs a call; reasoning that others signed came in a part of its own before it.
        let signature = signature.filter(|signature| signature.maker == Maker::Google);
        push(Content::ToolCall { id, name, arguments, signature });
        return Ok(());
    }
    if let Some(text) = text {
        if let Some(signature) = signature.filter(|_| text.is_empty()) {
            push(Content::Redacted(signature));
        } else {
            push(Content::Text(Cow::Borrowed(text)));
        }
        return Ok(());
    }
    let response = either(part, "functionResponse", "function_response");
    if response.as_object().is_some() {
        let name = needed(response, "name", at)?;
        let id = calls.answer(name, response.get("id").as_str(), at)?;
        let result = response.get("response");
        // `output` and `error` are what Google gives a meaning to.
        let (output, error) = match (result.get("output"), result.get("error")) {
            (Json::Null, Json::Null) => (result, false),
            (Json::Null, error) => (error, true),
            (output, _) => (output, false),
        };
        let output = match output {
            Json::String(text) => {
                let content = Content::Text(Cow::Borrowed(&**text));
                ToolOutput::Parts(vec![Part { at, cache: None, content }])
            }
            tree => ToolOutput::Tree(tree),
        };
        push(Content::ToolResult { id, name: Some(name), output, error });
        return Ok(());
    }
    let (inline, file) = (either(part, "inlineData", "inline_data"), either(part, "fileData", "file_data"));
    let (source, media_type, title) = if inline.as_object().is_some() {
        let media_type = either(inline, "mimeType", "mime_type").as_str().unwrap_or_default();
        let data = needed(inline, "data", at)?;
        let title = either(inline, "displayName", "display_name").as_str();
        (Source::Base64 { media_type: Cow::Borrowed(media_type), data }, media_type, title)
    } else if file.as_object().is_some() {
        let media_type = either(file, "mimeType", "mime_type").as_str().unwrap_or_default();
        let uri = either(file, "fileUri", "file_uri").as_str().ok_or_else(|| at.invalid("must have a fileUri"))?;
        // Files of Google's own stores cannot be fetched by others.
        let kept = uri.starts_with("gs://") || uri.contains("generativelanguage.googleapis.com/");
        let source = if kept { Source::File(uri) } else { Source::Url { url: uri, media_type: Some(media_type) } };
        (source, media_type, None)
    } else {
        return Err(at.invalid("is a part that cannot be translated to another API"));
    };
    push(match (media_type.split_once('/'), source) {
        (Some(("audio", format)), Source::Base64 { data, .. }) => {
            Content::Audio { format: if format == "mpeg" { "mp3" } else { format }, data }
        }
        (Some(("image", _)), source) => Content::Image { source, detail: None },
        (Some(("application" | "text", _)), source) => Content::Document { source, title },
        _ => return Err(at.invalid(format!("data of type {media_type:?} cannot be translated to another API"))),
    });
    Ok(())
}
