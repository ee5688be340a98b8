//! Streams.

use super::answer::{stop_word, write_usage};
use crate::exchange::Meta;
use crate::fault::from_error;
use crate::json::{Json, Writer, string};
use crate::limits::MAX_PARTS;
use crate::neutral::{Emit, Event, Maker, Signature};
use crate::sse::Broken;
use crate::usage::{Finish, Usage};
use crate::{Dialect, FaultKind};

/// Reads a provider's stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Blocks that are tool calls, by their number among all blocks, and whether pieces of their input came.
    calls: Vec<(u64, bool)>,
}

impl Decoder {
    pub(crate) fn read(&mut self, data: &str, emit: Emit<'_>) -> Result<(), Broken> {
        let event = Json::parse(data.as_bytes()).map_err(|_| Broken::NotJson)?;
        match event.get("type").as_str() {
            Some("message_start") => {
                let message = event.get("message");
                emit(Event::Start {
                    id: message.get("id").as_str(),
                    model: message.get("model").as_str(),
                    created: None,
                })?;
                self.usage(message.get("usage"), emit)
            }
            Some("content_block_start") => self.begin(&event, emit),
            Some("content_block_delta") => self.delta(&event, emit),
            Some("content_block_stop") => emit(Event::Break { choice: 0 }),
            Some("message_delta") => {
                self.usage(event.get("usage"), emit)?;
                let delta = event.get("delta");
                match delta.get("stop_reason").as_str() {
                    Some(word) => emit(Event::Finish {
                        choice: 0,
                        finish: Finish::read(Dialect::AnthropicMessages, word),
                        sequence: delta.get("stop_sequence").as_str(),
                    }),
                    None => Ok(()),
                }
            }
            Some("message_stop") => emit(Event::End),
            Some("ping") => emit(Event::Ping),
            Some("error") => emit(Event::Fault(from_error(&event, FaultKind::BadGateway))),
            _ if !event.get("error").is_null() => emit(Event::Fault(from_error(&event, FaultKind::BadGateway))),
            _ => Ok(()),
        }
    }

    fn usage(&self, usage: &Json<'_>, emit: Emit<'_>) -> Result<(), Broken> {
        match Usage::read(Dialect::AnthropicMessages, usage) {
            Some(usage) => emit(Event::Usage(usage)),
            None => Ok(()),
        }
    }

    fn begin(&mut self, event: &Json<'_>, emit: Emit<'_>) -> Result<(), Broken> {
        let block = event.get("content_block");
        match block.get("type").as_str() {
            Some("tool_use") => {
                if self.calls.len() >= MAX_PARTS {
                    return Err(Broken::TooMuch);
                }
                let call = u32::try_from(self.calls.len()).map_err(|_| Broken::TooMuch)?;
                self.calls.push((event.get("index").as_u64().unwrap_or(0), false));
                let name = block.get("name").as_str().ok_or(Broken::Damaged)?;
                let id = block.get("id").as_str().ok_or(Broken::Damaged)?;
                emit(Event::ToolCall { choice: 0, call, id, name, signature: None })?;
                // Some of those that are compatible send the whole input at once.
                if block.get("input").as_object().is_some_and(|input| !input.is_empty()) {
                    let json = string(block.get("input"));
                    let json = std::str::from_utf8(&json).map_err(|_| Broken::NotUtf8)?;
                    emit(Event::ToolInput { choice: 0, call, json })?;
                }
                Ok(())
            }
            Some("redacted_thinking") => {
                let data = block.get("data").as_str().unwrap_or_default();
                emit(Event::Redacted { choice: 0, data: Signature { maker: Maker::Anthropic, value: data.into() } })
            }
            Some("text") => match block.get("text").as_str() {
                Some(text) if !text.is_empty() => emit(Event::Text { choice: 0, text }),
                _ => Ok(()),
            },
            Some("thinking") => match block.get("thinking").as_str() {
                Some(text) if !text.is_empty() => emit(Event::Reasoning { choice: 0, text }),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn delta(&mut self, event: &Json<'_>, emit: Emit<'_>) -> Result<(), Broken> {
        let delta = event.get("delta");
        let text = |name| delta.get(name).as_str().unwrap_or_default();
        match delta.get("type").as_str() {
            Some("text_delta") => emit(Event::Text { choice: 0, text: text("text") }),
            Some("thinking_delta") => emit(Event::Reasoning { choice: 0, text: text("thinking") }),
            Some("signature_delta") => {
                let signature = Signature { maker: Maker::Anthropic, value: text("signature").into() };
                emit(Event::Signature { choice: 0, signature })
            }
            Some("input_json_delta") => {
                let index = event.get("index").as_u64().unwrap_or(0);
                // Blocks of tools that the provider runs itself are not shown.
                let Some(call) = self.calls.iter().position(|(block, _)| *block == index) else { return Ok(()) };
                let json = text("partial_json");
                if json.is_empty() {
                    return Ok(());
                }
                emit(Event::ToolInput { choice: 0, call: u32::try_from(call).map_err(|_| Broken::TooMuch)?, json })
            }
            _ => Ok(()),
        }
    }
}

/// Which block is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Text,
    Thinking,
    Tool(u32),
}

/// Writes a client's stream.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    id: Option<String>,
    model: Option<String>,
    begun: bool,
    open: Option<Block>,
    /// Number of the block that is open or comes next.
    index: u64,
    usage: Usage,
    finish: Option<Finish>,
    sequence: Option<String>,
}

impl Encoder {
    pub(crate) fn write(&mut self, event: &Event<'_>, meta: &Meta, out: &mut Vec<u8>) -> Result<(), Broken> {
        match event {
            Event::Start { id, model, .. } => {
                self.id = id.map(str::to_owned).or(self.id.take());
                self.model = model.map(str::to_owned).or(self.model.take());
            }
            Event::Usage(usage) => self.usage.raise(*usage),
            // What comes before the first event of the message has no place.
            Event::Ping if !self.begun => {}
            Event::Ping => out.extend_from_slice(b"event: ping\ndata: {\"type\":\"ping\"}\n\n"),
            Event::Fault(_) => {}
            Event::Text { text, .. } | Event::Refusal { text, .. } => {
                self.block(Block::Text, meta, out, |w| {
                    w.key("type").string("text");
                    w.key("text").string("");
                });
                self.delta("text_delta", "text", text, out);
            }
            Event::Reasoning { text, .. } => {
                self.thinking(meta, out);
                self.delta("thinking_delta", "thinking", text, out);
            }
            Event::Signature { signature, .. } => {
                self.thinking(meta, out);
                self.delta("signature_delta", "signature", &signature.shown(Maker::Anthropic), out);
                self.close(out);
            }
            Event::Redacted { data, .. } => {
                self.close(out);
                self.begin(meta, out);
                self.start(out, |w| {
                    w.key("type").string("redacted_thinking");
                    w.key("data").string(&data.shown(Maker::Anthropic));
                });
                self.open = Some(Block::Thinking);
                self.close(out);
            }
            Event::ToolCall { call, id, name, .. } => {
                self.close(out);
                self.block(Block::Tool(*call), meta, out, |w| {
                    w.key("type").string("tool_use");
                    w.key("id").string(id);
                    w.key("name").string(name);
                    w.key("input").object(|_| ());
                });
            }
            Event::ToolInput { call, json, .. } => {
                // Blocks follow one another here: a piece for a call that is closed has no place.
                if self.open != Some(Block::Tool(*call)) {
                    return Err(Broken::Damaged);
                }
                self.delta("input_json_delta", "partial_json", json, out);
            }
            Event::Break { .. } => self.close(out),
            Event::Finish { finish, sequence, .. } => {
                self.begin(meta, out);
                self.close(out);
                self.finish = Some(*finish);
                self.sequence = sequence.map(str::to_owned);
            }
            Event::End => self.end(meta, out),
        }
        Ok(())
    }

    fn begin(&mut self, meta: &Meta, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        out.extend_from_slice(b"event: message_start\ndata: ");
        Writer::new(out).object(|w| {
            w.key("type").string("message_start");
            w.key("message").object(|w| {
                w.key("id").string(&meta.id("msg_", self.id.as_deref()));
                w.key("type").string("message");
                w.key("role").string("assistant");
                w.key("model").string(self.model.as_deref().unwrap_or(&meta.model));
                w.key("content").array(|_| ());
                w.key("stop_reason").null();
                w.key("stop_sequence").null();
                write_usage(&self.usage, w.key("usage"));
            });
        });
        out.extend_from_slice(b"\n\n");
    }

    fn thinking(&mut self, meta: &Meta, out: &mut Vec<u8>) {
        self.block(Block::Thinking, meta, out, |w| {
            w.key("type").string("thinking");
            w.key("thinking").string("");
            w.key("signature").string("");
        });
    }

    /// Opens a block, unless it is open.
    fn block(&mut self, block: Block, meta: &Meta, out: &mut Vec<u8>, content: impl FnOnce(&mut Writer<'_>)) {
        if self.open == Some(block) {
            return;
        }
        self.close(out);
        self.begin(meta, out);
        self.start(out, content);
        self.open = Some(block);
    }

    fn start(&mut self, out: &mut Vec<u8>, content: impl FnOnce(&mut Writer<'_>)) {
        out.extend_from_slice(b"event: content_block_start\ndata: ");
        Writer::new(out).object(|w| {
            w.key("type").string("content_block_start");
            w.key("index").u64(self.index);
            w.key("content_block").object(content);
        });
        out.extend_from_slice(b"\n\n");
    }

    fn delta(&mut self, kind: &str, name: &str, text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: content_block_delta\ndata: ");
        Writer::new(out).object(|w| {
            w.key("type").string("content_block_delta");
            w.key("index").u64(self.index);
            w.key("delta").object(|w| {
                w.key("type").string(kind);
                w.key(name).string(text);
            });
        });
        out.extend_from_slice(b"\n\n");
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_none() {
            return;
        }
        out.extend_from_slice(b"event: content_block_stop\ndata: ");
        Writer::new(out).object(|w| {
            w.key("type").string("content_block_stop");
            w.key("index").u64(self.index);
        });
        out.extend_from_slice(b"\n\n");
        self.index = self.index.saturating_add(1);
    }

    fn end(&mut self, meta: &Meta, out: &mut Vec<u8>) {
        self.begin(meta, out);
        self.close(out);
        out.extend_from_slice(b"event: message_delta\ndata: ");
        Writer::new(out).object(|w| {
            w.key("type").string("message_delta");
            w.key("delta").object(|w| {
                w.key("stop_reason").string(stop_word(self.finish.unwrap_or(Finish::Stop)));
                match &self.sequence {
                    Some(sequence) => w.key("stop_sequence").string(sequence),
                    None => w.key("stop_sequence").null(),
                }
            });
            write_usage(&self.usage, w.key("usage"));
        });
        out.extend_from_slice(b"\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }
}
