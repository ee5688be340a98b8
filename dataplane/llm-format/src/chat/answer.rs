//! Whole answers.

use crate::Dialect;
use crate::exchange::Meta;
use crate::json::{Json, Writer};
use crate::neutral::{Choice, Emit, Event, Maker, Output, Signature, Whole};
use crate::sse::Broken;
use crate::usage::{Finish, Usage};

/// Reads a provider's answer.
pub(crate) fn read_answer(body: &Json<'_>, emit: Emit<'_>) -> Result<(), Broken> {
    if body.get("choices").items().is_empty() {
        return Err(Broken::Damaged);
    }
    emit(Event::Start {
        id: body.get("id").as_str(),
        model: body.get("model").as_str(),
        created: body.get("created").as_u64(),
    })?;
    for (number, answer) in body.get("choices").items().iter().enumerate() {
        let choice = u32::try_from(number).map_err(|_| Broken::TooMuch)?;
        let message = answer.get("message");
        read_texts(message, choice, emit)?;
        for (number, call) in message.get("tool_calls").items().iter().enumerate() {
            let (number, function) = (u32::try_from(number).map_err(|_| Broken::TooMuch)?, call.get("function"));
            let name = function.get("name").as_str().ok_or(Broken::Damaged)?;
            let id = call.get("id").as_str().unwrap_or(name);
            emit(Event::ToolCall { choice, call: number, id, name, signature: signature(call) })?;
            let json = function.get("arguments").as_str().unwrap_or_default();
            emit(Event::ToolInput { choice, call: number, json })?;
        }
        let word = answer.get("finish_reason").as_str().unwrap_or("stop");
        emit(Event::Finish { choice, finish: Finish::read(Dialect::OpenAiChat, word), sequence: None })?;
    }
    if let Some(usage) = Usage::read(Dialect::OpenAiChat, body.get("usage")) {
        emit(Event::Usage(usage))?;
    }
    emit(Event::End)
}

/// The texts of a message or of a stream's delta.
pub(super) fn read_texts(message: &Json<'_>, choice: u32, emit: Emit<'_>) -> Result<(), Broken> {
    // DeepSeek and vLLM have the first name, OpenRouter and others the second.
    let reasoning = message.get("reasoning_content").as_str().or(message.get("reasoning").as_str());
    if let Some(text) = reasoning.filter(|text| !text.is_empty()) {
        emit(Event::Reasoning { choice, text })?;
    }
    match message.get("content") {
        Json::String(text) if !text.is_empty() => emit(Event::Text { choice, text })?,
        // Mistral's form.
        Json::Array(parts) => {
            for part in parts {
                match part.get("type").as_str() {
                    Some("thinking") => {
                        for piece in part.get("thinking").items() {
                            if let Some(text) = piece.get("text").as_str() {
                                emit(Event::Reasoning { choice, text })?;
                            }
                        }
                    }
                    _ => {
                        if let Some(text) = part.get("text").as_str() {
                            emit(Event::Text { choice, text })?;
                        }
                    }
                }
            }
        }
        _ => {}
    }
    if let Some(text) = message.get("refusal").as_str().filter(|text| !text.is_empty()) {
        emit(Event::Refusal { choice, text })?;
    }
    Ok(())
}

/// Google's signature of a call, where it speaks this API.
pub(super) fn signature<'j>(call: &'j Json<'_>) -> Option<Signature<'j>> {
    let text = call.get("extra_content").get("google").get("thought_signature").as_str()?;
    Some(Signature { maker: Maker::Google, value: text.into() })
}

pub(crate) fn finish_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence | Finish::Pause | Finish::Error => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter | Finish::Refusal => "content_filter",
    }
}

/// Writes an answer for a client.
pub(crate) fn write_answer(whole: &Whole, meta: &Meta, w: &mut Writer<'_>) {
    w.object(|w| {
        w.key("id").string(&meta.id("chatcmpl-", whole.id.as_deref()));
        w.key("object").string("chat.completion");
        w.key("created").u64(whole.created.unwrap_or(meta.now));
        w.key("model").string(whole.model.as_deref().unwrap_or(&meta.model));
        w.key("choices").array(|w| {
            for (number, choice) in whole.choices.iter().enumerate() {
                w.object(|w| {
                    w.key("index").u64(number as u64);
                    w.key("message").object(|w| write_message(choice, w));
                    w.key("logprobs").null();
                    w.key("finish_reason").string(finish_word(choice.finish.unwrap_or(Finish::Stop)));
                });
            }
        });
        write_usage(&whole.usage.unwrap_or_default(), w.key("usage"));
    });
}

fn write_message(choice: &Choice, w: &mut Writer<'_>) {
    let (mut content, mut refusal, mut reasoning) = (String::new(), String::new(), String::new());
    for output in &choice.outputs {
        match output {
            Output::Text(text) => content.push_str(text),
            Output::Refusal(text) => refusal.push_str(text),
            Output::Reasoning { text, .. } => reasoning.push_str(text),
            Output::Redacted(_) | Output::ToolCall { .. } => {}
        }
    }
    let or_null = |w: &mut Writer<'_>, text: &str| if text.is_empty() { w.null() } else { w.string(text) };
    let calls = || choice.outputs.iter().filter(|output| matches!(output, Output::ToolCall { .. }));
    w.key("role").string("assistant");
    if content.is_empty() && refusal.is_empty() && calls().next().is_none() {
        w.key("content").string("");
    } else {
        or_null(w.key("content"), &content);
    }
    or_null(w.key("refusal"), &refusal);
    if !reasoning.is_empty() {
        w.key("reasoning_content").string(&reasoning);
    }
    let signed =
        |output: &&Output| matches!(output, Output::Reasoning { signature: Some(_), .. } | Output::Redacted(_));
    if choice.outputs.iter().any(|output| signed(&output)) {
        w.key("reasoning_details").array(|w| {
            for (number, output) in choice.outputs.iter().filter(signed).enumerate() {
                let number = number as u64;
                match output {
                    Output::Reasoning { text, signature: Some(signature) } => write_signed(number, text, signature, w),
                    Output::Redacted(data) => write_redacted(number, data, w),
                    _ => {}
                }
            }
        });
    }
    if calls().next().is_some() {
        w.key("tool_calls").array(|w| {
            for output in calls() {
                let Output::ToolCall { id, name, json, signature } = output else { continue };
                w.object(|w| {
                    w.key("id").string(id);
                    w.key("type").string("function");
                    w.key("function").object(|w| {
                        w.key("name").string(name);
                        w.key("arguments").string(if json.is_empty() { "{}" } else { json });
                    });
                    write_call_signature(signature.as_ref(), w);
                });
            }
        });
    }
}

/// Reasoning that the client may send back, in OpenRouter's form. Libraries want a number on each item of a list that is
/// streamed.
pub(super) fn write_signed(number: u64, text: &str, signature: &Signature<'_>, w: &mut Writer<'_>) {
    w.object(|w| {
        w.key("type").string("reasoning.text");
        w.key("text").string(text);
        w.key("signature").string(&signature.shown(Maker::OpenAi));
        w.key("index").u64(number);
    });
}

pub(super) fn write_redacted(number: u64, data: &Signature<'_>, w: &mut Writer<'_>) {
    w.object(|w| {
        w.key("type").string("reasoning.encrypted");
        w.key("data").string(&data.shown(Maker::OpenAi));
        w.key("index").u64(number);
    });
}

/// As Google's own OpenAI-compatible API has it.
pub(super) fn write_call_signature(signature: Option<&Signature<'_>>, w: &mut Writer<'_>) {
    if let Some(signature) = signature.filter(|signature| signature.maker == Maker::Google) {
        w.key("extra_content").object(|w| {
            w.key("google").object(|w| w.key("thought_signature").string(&signature.value));
        });
    }
}

pub(super) fn write_usage(usage: &Usage, w: &mut Writer<'_>) {
    w.object(|w| {
        w.key("prompt_tokens").u64(usage.input);
        w.key("completion_tokens").u64(usage.output);
        w.key("total_tokens").u64(usage.total());
        w.key("prompt_tokens_details").object(|w| w.key("cached_tokens").u64(usage.cache_read));
        w.key("completion_tokens_details").object(|w| w.key("reasoning_tokens").u64(usage.reasoning));
    });
}
