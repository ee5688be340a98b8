//! Streams.

use super::answer::{
    finish_word, read_texts, signature, write_call_signature, write_redacted, write_signed, write_usage,
};
use crate::exchange::Meta;
use crate::fault::from_error;
use crate::json::{Json, Writer};
use crate::limits::{MAX_KEPT_BYTES, MAX_PARTS};
use crate::neutral::{Emit, Event};
use crate::sse::Broken;
use crate::usage::{Finish, Usage};
use crate::{Dialect, FaultKind};

/// Reads a provider's stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    started: bool,
    /// The tool calls so far: their choice, and their number in the provider's count.
    calls: Vec<(u32, u64)>,
}

impl Decoder {
    pub(crate) fn read(&mut self, data: &str, emit: Emit<'_>) -> Result<(), Broken> {
        if data.trim() == "[DONE]" {
            return emit(Event::End);
        }
        let chunk = Json::parse(data.as_bytes()).map_err(|_| Broken::NotJson)?;
        if !chunk.get("error").is_null() {
            return emit(Event::Fault(from_error(&chunk, FaultKind::BadGateway)));
        }
        if !self.started {
            self.started = true;
            let (id, model) = (chunk.get("id").as_str(), chunk.get("model").as_str());
            emit(Event::Start { id, model, created: chunk.get("created").as_u64() })?;
        }
        for answer in chunk.get("choices").items() {
            let choice = u32::try_from(answer.get("index").as_u64().unwrap_or(0)).map_err(|_| Broken::TooMuch)?;
            let delta = answer.get("delta");
            read_texts(delta, choice, emit)?;
            for call in delta.get("tool_calls").items() {
                self.read_call(call, choice, emit)?;
            }
            if let Some(word) = answer.get("finish_reason").as_str() {
                emit(Event::Finish { choice, finish: Finish::read(Dialect::OpenAiChat, word), sequence: None })?;
            }
        }
        match Usage::read(Dialect::OpenAiChat, chunk.get("usage")) {
            Some(usage) => emit(Event::Usage(usage)),
            None => Ok(()),
        }
    }

    fn read_call(&mut self, call: &Json<'_>, choice: u32, emit: Emit<'_>) -> Result<(), Broken> {
        let function = call.get("function");
        let of_choice = |calls: &[(u32, u64)]| calls.iter().filter(|(of, _)| *of == choice).count();
        // Without a number each piece is a whole call.
        let index = call.get("index").as_u64().unwrap_or(u64::MAX);
        let known = self.calls.iter().filter(|(of, _)| *of == choice).position(|(_, there)| *there == index);
        let number = match known.filter(|_| index != u64::MAX) {
            Some(number) => number,
            None => {
                let number = of_choice(&self.calls);
                if self.calls.len() >= MAX_PARTS {
                    return Err(Broken::TooMuch);
                }
                self.calls.push((choice, index));
                let name = function.get("name").as_str().ok_or(Broken::Damaged)?;
                let id = call.get("id").as_str().unwrap_or(name);
                let call_number = u32::try_from(number).map_err(|_| Broken::TooMuch)?;
                emit(Event::ToolCall { choice, call: call_number, id, name, signature: signature(call) })?;
                number
            }
        };
        match function.get("arguments").as_str() {
            Some(json) if !json.is_empty() => {
                emit(Event::ToolInput { choice, call: u32::try_from(number).map_err(|_| Broken::TooMuch)?, json })
            }
            _ => Ok(()),
        }
    }
}

/// Writes a client's stream.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// The start of each event, up to the number of the choice.
    head: Vec<u8>,
    id: Option<String>,
    model: Option<String>,
    created: Option<u64>,
    /// Choices whose role was said.
    begun: Vec<bool>,
    /// Reasoning since the last signature, to be repeated with it.
    reasoning: String,
    /// Items of reasoning that were repeated so far.
    details: u64,
    usage: Option<Usage>,
}

impl Encoder {
    pub(crate) fn write(&mut self, event: &Event<'_>, meta: &Meta, out: &mut Vec<u8>) -> Result<(), Broken> {
        match event {
            Event::Start { id, model, created } => {
                self.id = id.map(str::to_owned).or(self.id.take());
                self.model = model.map(str::to_owned).or(self.model.take());
                self.created = created.or(self.created);
            }
            Event::Text { choice, text } => self.delta(*choice, meta, out, |w| w.key("content").string(text)),
            Event::Refusal { choice, text } => self.delta(*choice, meta, out, |w| w.key("refusal").string(text)),
            Event::Reasoning { choice, text } => {
                if self.reasoning.len().saturating_add(text.len()) > MAX_KEPT_BYTES {
                    return Err(Broken::TooMuch);
                }
                self.reasoning.push_str(text);
                self.delta(*choice, meta, out, |w| w.key("reasoning_content").string(text));
            }
            Event::Signature { choice, signature } => {
                let text = std::mem::take(&mut self.reasoning);
                let number = self.detail();
                self.delta(*choice, meta, out, |w| {
                    w.key("reasoning_details").array(|w| write_signed(number, &text, signature, w));
                });
            }
            Event::Redacted { choice, data } => {
                let number = self.detail();
                self.delta(*choice, meta, out, |w| {
                    w.key("reasoning_details").array(|w| write_redacted(number, data, w))
                });
            }
            Event::ToolCall { choice, call, id, name, signature } => self.delta(*choice, meta, out, |w| {
                w.key("tool_calls").array(|w| {
                    w.object(|w| {
                        w.key("index").u64(u64::from(*call));
                        w.key("id").string(id);
                        w.key("type").string("function");
                        w.key("function").object(|w| {
                            w.key("name").string(name);
                            w.key("arguments").string("");
                        });
                        write_call_signature(signature.as_ref(), w);
                    });
                });
            }),
            Event::ToolInput { choice, call, json } => self.delta(*choice, meta, out, |w| {
                w.key("tool_calls").array(|w| {
                    w.object(|w| {
                        w.key("index").u64(u64::from(*call));
                        w.key("function").object(|w| w.key("arguments").string(json));
                    });
                });
            }),
            Event::Finish { choice, finish, .. } => self.chunk(*choice, Some(*finish), meta, out, |_| ()),
            Event::Usage(usage) => self.usage.get_or_insert_default().raise(*usage),
            Event::End => self.end(meta, out),
            // A comment keeps the connection open.
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Break { .. } | Event::Fault(_) => {}
        }
        Ok(())
    }

    fn detail(&mut self) -> u64 {
        let number = self.details;
        self.details = number.saturating_add(1);
        number
    }

    fn head(&mut self, meta: &Meta) {
        if self.head.is_empty() {
            self.head.extend_from_slice(b"data: {");
            let mut w = Writer::new(&mut self.head);
            w.key_first("id").string(&meta.id("chatcmpl-", self.id.as_deref()));
            w.key("object").string("chat.completion.chunk");
            w.key("created").u64(self.created.unwrap_or(meta.now));
            w.key("model").string(self.model.as_deref().unwrap_or(&meta.model));
        }
    }

    fn delta(&mut self, choice: u32, meta: &Meta, out: &mut Vec<u8>, content: impl FnOnce(&mut Writer<'_>)) {
        self.chunk(choice, None, meta, out, content);
    }

    fn chunk(
        &mut self,
        choice: u32,
        finish: Option<Finish>,
        meta: &Meta,
        out: &mut Vec<u8>,
        content: impl FnOnce(&mut Writer<'_>),
    ) {
        self.head(meta);
        let number = choice as usize;
        if self.begun.len() <= number {
            self.begun.resize(number.saturating_add(1), false);
        }
        let first = self.begun.get_mut(number).is_some_and(|begun| !std::mem::replace(begun, true));
        out.extend_from_slice(&self.head);
        let mut w = Writer::new(out);
        w.key_next("choices").array(|w| {
            w.object(|w| {
                w.key("index").u64(u64::from(choice));
                w.key("delta").object(|w| {
                    if first {
                        w.key("role").string("assistant");
                    }
                    content(w);
                });
                match finish {
                    Some(finish) => w.key("finish_reason").string(finish_word(finish)),
                    None => w.key("finish_reason").null(),
                }
            });
        });
        if meta.wants_usage {
            w.key("usage").null();
        }
        out.extend_from_slice(b"}\n\n");
    }

    fn end(&mut self, meta: &Meta, out: &mut Vec<u8>) {
        if meta.wants_usage {
            self.head(meta);
            out.extend_from_slice(&self.head);
            let mut w = Writer::new(out);
            w.key_next("choices").array(|_| ());
            write_usage(&self.usage.unwrap_or_default(), w.key("usage"));
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}
