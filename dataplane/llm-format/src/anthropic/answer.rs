//! Whole answers.

use crate::Dialect;
use crate::exchange::Meta;
use crate::json::{Json, Writer, string};
use crate::neutral::{Emit, Event, Maker, Output, Signature, Whole};
use crate::sse::Broken;
use crate::usage::{Finish, Usage};

/// Reads a provider's answer.
pub(crate) fn read_answer(body: &Json<'_>, emit: Emit<'_>) -> Result<(), Broken> {
    let Json::Array(blocks) = body.get("content") else { return Err(Broken::Damaged) };
    emit(Event::Start { id: body.get("id").as_str(), model: body.get("model").as_str(), created: None })?;
    let mut calls = 0;
    for block in blocks {
        match block.get("type").as_str() {
            Some("text") => {
                let text = block.get("text").as_str().unwrap_or_default();
                emit(Event::Text { choice: 0, text })?;
            }
            Some("thinking") => {
                let text = block.get("thinking").as_str().unwrap_or_default();
                emit(Event::Reasoning { choice: 0, text })?;
                if let Some(signature) = block.get("signature").as_str().filter(|text| !text.is_empty()) {
                    let signature = Signature { maker: Maker::Anthropic, value: signature.into() };
                    emit(Event::Signature { choice: 0, signature })?;
                }
            }
            Some("redacted_thinking") => {
                let data = block.get("data").as_str().unwrap_or_default();
                emit(Event::Redacted { choice: 0, data: Signature { maker: Maker::Anthropic, value: data.into() } })?;
            }
            Some("tool_use") => {
                let name = block.get("name").as_str().ok_or(Broken::Damaged)?;
                let id = block.get("id").as_str().ok_or(Broken::Damaged)?;
                emit(Event::ToolCall { choice: 0, call: calls, id, name, signature: None })?;
                let json = string(block.get("input"));
                let json = std::str::from_utf8(&json).map_err(|_| Broken::NotUtf8)?;
                emit(Event::ToolInput { choice: 0, call: calls, json })?;
                calls = u32::saturating_add(calls, 1);
            }
            _ => {}
        }
        emit(Event::Break { choice: 0 })?;
    }
    let finish = Finish::read(Dialect::AnthropicMessages, body.get("stop_reason").as_str().unwrap_or_default());
    emit(Event::Finish { choice: 0, finish, sequence: body.get("stop_sequence").as_str() })?;
    if let Some(usage) = Usage::read(Dialect::AnthropicMessages, body.get("usage")) {
        emit(Event::Usage(usage))?;
    }
    emit(Event::End)
}

pub(super) fn stop_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Error => "end_turn",
        Finish::StopSequence => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::ContentFilter | Finish::Refusal => "refusal",
        Finish::Pause => "pause_turn",
    }
}

/// Writes an answer for a client.
pub(crate) fn write_answer(whole: &Whole, meta: &Meta, w: &mut Writer<'_>) {
    let choice = whole.choices.first();
    w.object(|w| {
        w.key("id").string(&meta.id("msg_", whole.id.as_deref()));
        w.key("type").string("message");
        w.key("role").string("assistant");
        w.key("model").string(whole.model.as_deref().unwrap_or(&meta.model));
        w.key("content").array(|w| {
            for output in choice.map(|choice| choice.outputs.as_slice()).unwrap_or_default() {
                write_block(output, w);
            }
        });
        w.key("stop_reason").string(stop_word(choice.and_then(|choice| choice.finish).unwrap_or(Finish::Stop)));
        match choice.and_then(|choice| choice.sequence.as_deref()) {
            Some(sequence) => w.key("stop_sequence").string(sequence),
            None => w.key("stop_sequence").null(),
        }
        write_usage(&whole.usage.unwrap_or_default(), w.key("usage"));
    });
}

fn write_block(output: &Output, w: &mut Writer<'_>) {
    w.object(|w| match output {
        Output::Text(text) | Output::Refusal(text) => {
            w.key("type").string("text");
            w.key("text").string(text);
        }
        Output::Reasoning { text, signature } => {
            w.key("type").string("thinking");
            w.key("thinking").string(text);
            let signature = signature.as_ref().map(|signature| signature.shown(Maker::Anthropic));
            w.key("signature").string(signature.as_deref().unwrap_or_default());
        }
        Output::Redacted(data) => {
            w.key("type").string("redacted_thinking");
            w.key("data").string(&data.shown(Maker::Anthropic));
        }
        Output::ToolCall { id, name, json, .. } => {
            w.key("type").string("tool_use");
            w.key("id").string(id);
            w.key("name").string(name);
            write_input(json, w.key("input"));
        }
    });
}

/// Arguments as an object; what a model wrote that is none becomes one with its text.
pub(crate) fn write_input(json: &str, w: &mut Writer<'_>) {
    match Json::parse(json.as_bytes()) {
        Ok(tree @ Json::Object(_)) => w.json(&tree),
        _ if json.trim().is_empty() || json.trim() == "null" => w.object(|_| ()),
        _ => w.object(|w| w.key("input").string(json)),
    }
}

pub(super) fn write_usage(usage: &Usage, w: &mut Writer<'_>) {
    w.object(|w| {
        let cached = usage.cache_read.saturating_add(usage.cache_write);
        w.key("input_tokens").u64(usage.input.saturating_sub(cached));
        w.key("cache_creation_input_tokens").u64(usage.cache_write);
        w.key("cache_read_input_tokens").u64(usage.cache_read);
        w.key("output_tokens").u64(usage.output);
        if usage.reasoning > 0 {
            w.key("output_tokens_details").object(|w| w.key("thinking_tokens").u64(usage.reasoning));
        }
    });
}
