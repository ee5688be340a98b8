//! Streams.

use super::answer::{finish, redacted, signature};
use crate::json::Json;
use crate::limits::MAX_PARTS;
use crate::neutral::{Emit, Event};
use crate::sse::Broken;
use crate::usage::Usage;
use crate::{Dialect, Fault, FaultKind};

/// Reads a provider's stream. Its last event is the one with the usage.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Blocks that are tool calls, by their number among all blocks.
    calls: Vec<u64>,
}

impl Decoder {
    /// `name` is the event's or exception's type.
    pub(crate) fn read(&mut self, name: &str, data: &str, emit: Emit<'_>) -> Result<(), Broken> {
        let event = Json::parse(data.as_bytes()).map_err(|_| Broken::NotJson)?;
        let index = event.get("contentBlockIndex").as_u64().unwrap_or(0);
        match name {
            "messageStart" => Ok(()),
            "contentBlockStart" => {
                let call = event.get("start").get("toolUse");
                if call.as_object().is_none() {
                    return Ok(());
                }
                if self.calls.len() >= MAX_PARTS {
                    return Err(Broken::TooMuch);
                }
                let number = u32::try_from(self.calls.len()).map_err(|_| Broken::TooMuch)?;
                self.calls.push(index);
                let name = call.get("name").as_str().ok_or(Broken::Damaged)?;
                let id = call.get("toolUseId").as_str().ok_or(Broken::Damaged)?;
                emit(Event::ToolCall { choice: 0, call: number, id, name, signature: None })
            }
            "contentBlockDelta" => self.delta(event.get("delta"), index, emit),
            "contentBlockStop" => emit(Event::Break { choice: 0 }),
            "messageStop" => finish(event.get("stopReason").as_str().unwrap_or_default(), emit),
            "metadata" => {
                if let Some(usage) = Usage::read(Dialect::BedrockConverse, event.get("usage")) {
                    emit(Event::Usage(usage))?;
                }
                emit(Event::End)
            }
            _ if name.ends_with("Exception") || name == "error" => {
                let message = event.get("message").as_str().unwrap_or("the provider gave no reason");
                emit(Event::Fault(Fault::new(exception(name), message)))
            }
            _ => Ok(()),
        }
    }

    fn delta(&self, delta: &Json<'_>, index: u64, emit: Emit<'_>) -> Result<(), Broken> {
        if let Some(text) = delta.get("text").as_str() {
            emit(Event::Text { choice: 0, text })?;
        }
        if let Some(json) = delta.get("toolUse").get("input").as_str() {
            let call = self.calls.iter().position(|block| *block == index).ok_or(Broken::Damaged)?;
            emit(Event::ToolInput { choice: 0, call: u32::try_from(call).map_err(|_| Broken::TooMuch)?, json })?;
        }
        let reasoning = delta.get("reasoningContent");
        if let Some(text) = reasoning.get("text").as_str() {
            emit(Event::Reasoning { choice: 0, text })?;
        }
        if let Some(value) = reasoning.get("signature").as_str() {
            signature(value, emit)?;
        }
        match reasoning.get("redactedContent").as_str() {
            Some(data) => redacted(data, emit),
            None => Ok(()),
        }
    }
}

/// What Bedrock's exceptions mean, also those of whole answers (the header `x-amzn-errortype`).
pub(crate) fn exception(name: &str) -> FaultKind {
    let lower = name.to_ascii_lowercase();
    let is = |word: &str| lower.contains(word);
    if is("throttling") || is("quota") {
        FaultKind::RateLimit
    } else if is("validation") {
        FaultKind::InvalidRequest
    } else if is("accessdenied") {
        FaultKind::Permission
    } else if is("notfound") {
        FaultKind::NotFound
    } else if is("timeout") {
        FaultKind::Timeout
    } else if is("unavailable") || is("notready") {
        FaultKind::Overloaded
    } else {
        FaultKind::BadGateway
    }
}
