//! Whole answers, and the events of streams, which have the same form.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::anthropic::write_input;
use crate::exchange::Meta;
use crate::json::{Json, Writer, string};
use crate::neutral::{Emit, Event, Maker, Output, Signature, Whole};
use crate::sse::Broken;
use crate::usage::{Finish, Usage};
use crate::{Dialect, Fault, FaultKind};

/// Reads a provider's answer.
pub(crate) fn read_answer(body: &Json<'_>, meta: &Meta, emit: Emit<'_>) -> Result<(), Broken> {
    if body.get("candidates").is_null() && body.get("promptFeedback").is_null() {
        return Err(Broken::Damaged);
    }
    let mut calls = Vec::new();
    read_event(body, meta, &mut calls, emit)?;
    emit(Event::End)
}

/// Reads an answer or a piece of it; `calls` counts the tool calls of each choice so far.
pub(super) fn read_event(body: &Json<'_>, meta: &Meta, calls: &mut Vec<u32>, emit: Emit<'_>) -> Result<(), Broken> {
    let id = body.get("responseId").as_str();
    emit(Event::Start { id, model: body.get("modelVersion").as_str(), created: None })?;
    // First, so that it is known also of an answer that cannot be used.
    if let Some(usage) = Usage::read(Dialect::Gemini, body.get("usageMetadata")) {
        emit(Event::Usage(usage))?;
    }
    for candidate in body.get("candidates").items() {
        let choice = u32::try_from(candidate.get("index").as_u64().unwrap_or(0)).map_err(|_| Broken::TooMuch)?;
        if choice as u64 >= crate::limits::MAX_CHOICES {
            return Err(Broken::TooMuch);
        }
        if calls.len() <= choice as usize {
            calls.resize((choice as usize).saturating_add(1), 0);
        }
        for part in candidate.get("content").get("parts").items() {
            if let Some(count) = calls.get_mut(choice as usize) {
                read_part(part, choice, id.unwrap_or(&meta.stamp), count, emit)?;
            }
        }
        if let Some(word) = candidate.get("finishReason").as_str() {
            match Finish::read(Dialect::Gemini, word) {
                Finish::Error => {
                    let message =
                        candidate.get("finishMessage").as_str().unwrap_or("the model's answer cannot be used");
                    emit(Event::Fault(Fault::new(FaultKind::BadGateway, format!("{word}: {message}"))))?;
                }
                finish => emit(Event::Finish { choice, finish, sequence: None })?,
            }
        }
    }
    if body.get("promptFeedback").get("blockReason").as_str().is_some() {
        emit(Event::Finish { choice: 0, finish: Finish::ContentFilter, sequence: None })?;
    }
    Ok(())
}

fn read_part(part: &Json<'_>, choice: u32, stamp: &str, count: &mut u32, emit: Emit<'_>) -> Result<(), Broken> {
    let signature = part.get("thoughtSignature").as_str();
    let signature = signature.map(|text| Signature { maker: Maker::Google, value: text.into() });
    let call = part.get("functionCall");
    if call.as_object().is_some() {
        let name = call.get("name").as_str().ok_or(Broken::Damaged)?;
        let number = *count;
        *count = number.checked_add(1).ok_or(Broken::TooMuch)?;
        let made = format!("call_{stamp}_{number}");
        let id = call.get("id").as_str().filter(|id| !id.is_empty()).unwrap_or(&made);
        emit(Event::ToolCall { choice, call: number, id, name, signature })?;
        let args = call.get("args");
        let json = if args.is_null() { b"{}".to_vec() } else { string(args) };
        let json = std::str::from_utf8(&json).map_err(|_| Broken::NotUtf8)?;
        return emit(Event::ToolInput { choice, call: number, json });
    }
    let Some(text) = part.get("text").as_str() else { return Ok(()) };
    let thought = part.get("thought").as_bool() == Some(true);
    if !text.is_empty() {
        emit(if thought { Event::Reasoning { choice, text } } else { Event::Text { choice, text } })?;
    }
    match signature {
        Some(signature) if thought => emit(Event::Signature { choice, signature }),
        Some(data) => emit(Event::Redacted { choice, data }),
        None => Ok(()),
    }
}

pub(super) fn finish_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence | Finish::ToolCalls | Finish::Pause => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::ContentFilter | Finish::Refusal => "SAFETY",
        Finish::Error => "OTHER",
    }
}

/// A signature as a client of this API keeps it. It is bytes, so base64; those of others are that of their text.
pub(super) fn shown(signature: &Signature<'_>, redacted: bool) -> String {
    if signature.maker == Maker::Google {
        return signature.value.to_string();
    }
    let text = if redacted { signature.shown_redacted(Maker::Google) } else { signature.shown(Maker::Google) };
    STANDARD.encode(text.as_bytes())
}

/// What came back.
pub(super) fn read_signature(text: &str) -> Signature<'_> {
    // The client's own library may write base64 with the alphabet for URLs.
    let standard = text.replace('-', "+").replace('_', "/");
    let decoded = STANDARD.decode(standard).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded {
        Some(decoded) if decoded.starts_with("anthropic:") || decoded.starts_with("openai:") => {
            let signature = Signature::read(&decoded, Maker::Google);
            Signature { maker: signature.maker, value: Cow::Owned(signature.value.into_owned()) }
        }
        _ => Signature { maker: Maker::Google, value: Cow::Borrowed(text) },
    }
}

/// Writes an answer for a client.
pub(crate) fn write_answer(whole: &Whole, meta: &Meta, w: &mut Writer<'_>) {
    w.object(|w| {
        w.key("candidates").array(|w| {
            for (number, choice) in whole.choices.iter().enumerate() {
                w.object(|w| {
                    w.key("content").object(|w| {
                        w.key("role").string("model");
                        w.key("parts").array(|w| choice.outputs.iter().for_each(|output| write_part(output, w)));
                    });
                    w.key("finishReason").string(finish_word(choice.finish.unwrap_or(Finish::Stop)));
                    w.key("index").u64(number as u64);
                });
            }
        });
        write_usage(&whole.usage.unwrap_or_default(), w.key("usageMetadata"));
        w.key("modelVersion").string(whole.model.as_deref().unwrap_or(&meta.model));
        w.key("responseId").string(&meta.id("", whole.id.as_deref()));
    });
}

pub(super) fn write_part(output: &Output, w: &mut Writer<'_>) {
    w.object(|w| match output {
        Output::Text(text) | Output::Refusal(text) => w.key("text").string(text),
        Output::Reasoning { text, signature } => {
            w.key("text").string(text);
            w.key("thought").bool(true);
            if let Some(signature) = signature {
                w.key("thoughtSignature").string(&shown(signature, false));
            }
        }
        Output::Redacted(data) => {
            w.key("text").string("");
            w.key("thought").bool(true);
            w.key("thoughtSignature").string(&shown(data, true));
        }
        Output::ToolCall { id, name, json, signature } => {
            w.key("functionCall").object(|w| {
                w.key("id").string(id);
                w.key("name").string(name);
                write_input(json, w.key("args"));
            });
            if let Some(signature) = signature {
                w.key("thoughtSignature").string(&shown(signature, false));
            }
        }
    });
}

pub(super) fn write_usage(usage: &Usage, w: &mut Writer<'_>) {
    w.object(|w| {
        w.key("promptTokenCount").u64(usage.input);
        w.key("candidatesTokenCount").u64(usage.output.saturating_sub(usage.reasoning));
        w.key("totalTokenCount").u64(usage.total());
        if usage.cache_read > 0 {
            w.key("cachedContentTokenCount").u64(usage.cache_read);
        }
        if usage.reasoning > 0 {
            w.key("thoughtsTokenCount").u64(usage.reasoning);
        }
    });
}
