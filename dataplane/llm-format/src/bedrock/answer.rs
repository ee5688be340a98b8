//! Whole answers.

use crate::json::{Json, string};
use crate::neutral::{Emit, Event, Maker, Signature};
use crate::sse::Broken;
use crate::usage::{Finish, Usage};
use crate::{Dialect, Fault, FaultKind};

/// Reads a provider's answer.
pub(crate) fn read_answer(body: &Json<'_>, emit: Emit<'_>) -> Result<(), Broken> {
    let Json::Array(blocks) = body.get("output").get("message").get("content") else { return Err(Broken::Damaged) };
    let mut calls = 0;
    for block in blocks {
        if let Some(text) = block.get("text").as_str() {
            emit(Event::Text { choice: 0, text })?;
        }
        for piece in block.get("citationsContent").get("content").items() {
            if let Some(text) = piece.get("text").as_str() {
                emit(Event::Text { choice: 0, text })?;
            }
        }
        let call = block.get("toolUse");
        if call.as_object().is_some() {
            let name = call.get("name").as_str().ok_or(Broken::Damaged)?;
            let id = call.get("toolUseId").as_str().ok_or(Broken::Damaged)?;
            emit(Event::ToolCall { choice: 0, call: calls, id, name, signature: None })?;
            let json = string(call.get("input"));
            let json = std::str::from_utf8(&json).map_err(|_| Broken::NotUtf8)?;
            emit(Event::ToolInput { choice: 0, call: calls, json })?;
            calls = u32::saturating_add(calls, 1);
        }
        let reasoning = block.get("reasoningContent");
        let text = reasoning.get("reasoningText");
        if text.as_object().is_some() {
            emit(Event::Reasoning { choice: 0, text: text.get("text").as_str().unwrap_or_default() })?;
            if let Some(value) = text.get("signature").as_str() {
                signature(value, emit)?;
            }
        }
        if let Some(data) = reasoning.get("redactedContent").as_str() {
            redacted(data, emit)?;
        }
        emit(Event::Break { choice: 0 })?;
    }
    finish(body.get("stopReason").as_str().unwrap_or_default(), emit)?;
    if let Some(usage) = Usage::read(Dialect::BedrockConverse, body.get("usage")) {
        emit(Event::Usage(usage))?;
    }
    emit(Event::End)
}

pub(super) fn finish(word: &str, emit: Emit<'_>) -> Result<(), Broken> {
    match Finish::read(Dialect::BedrockConverse, word) {
        Finish::Error => {
            emit(Event::Fault(Fault::new(FaultKind::BadGateway, format!("the model's answer cannot be used: {word}"))))
        }
        finish => emit(Event::Finish { choice: 0, finish, sequence: None }),
    }
}

pub(super) fn signature(value: &str, emit: Emit<'_>) -> Result<(), Broken> {
    emit(Event::Signature { choice: 0, signature: Signature { maker: Maker::Anthropic, value: value.into() } })
}

pub(super) fn redacted(data: &str, emit: Emit<'_>) -> Result<(), Broken> {
    emit(Event::Redacted { choice: 0, data: Signature { maker: Maker::Anthropic, value: data.into() } })
}
