//! Streams.

use super::answer::{finish_word, read_event, write_part, write_usage};
use crate::exchange::Meta;
use crate::fault::from_error;
use crate::json::{Json, Writer};
use crate::limits::{MAX_CHOICES, MAX_KEPT_BYTES};
use crate::neutral::{Emit, Event, Output, Signature};
use crate::sse::Broken;
use crate::usage::{Finish, Usage};
use crate::{FaultKind, Framing};

/// Reads a provider's stream. It has no last event: it ends.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    calls: Vec<u32>,
}

impl Decoder {
    pub(crate) fn read(&mut self, data: &str, meta: &Meta, emit: Emit<'_>) -> Result<(), Broken> {
        let event = Json::parse(data.as_bytes()).map_err(|_| Broken::NotJson)?;
        if !event.get("error").is_null() {
            return emit(Event::Fault(from_error(&event, FaultKind::BadGateway)));
        }
        read_event(&event, meta, &mut self.calls, emit)
    }
}

/// A tool call whose arguments are not complete: this API gives calls whole.
#[derive(Debug)]
struct Call {
    choice: u32,
    number: u32,
    output: Output,
}

/// Writes a client's stream.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    id: Option<String>,
    model: Option<String>,
    begun: bool,
    open: Vec<Call>,
    kept: usize,
    finishes: Vec<(u32, Finish)>,
    usage: Usage,
}

impl Encoder {
    pub(crate) fn write(&mut self, event: &Event<'_>, meta: &Meta, out: &mut Vec<u8>) -> Result<(), Broken> {
        match event {
            Event::Start { id, model, .. } => {
                self.id = id.map(str::to_owned).or(self.id.take());
                self.model = model.map(str::to_owned).or(self.model.take());
            }
            Event::Usage(usage) => self.usage.raise(*usage),
            Event::Fault(_) => {}
            // Google's own library takes a comment for a damaged event.
            Event::Ping => {}
            Event::Text { choice, text } | Event::Refusal { choice, text } => {
                self.calls(*choice, meta, out);
                self.piece(*choice, meta, out, |w| w.object(|w| w.key("text").string(text)));
            }
            Event::Reasoning { choice, text } => {
                self.calls(*choice, meta, out);
                self.piece(*choice, meta, out, |w| {
                    w.object(|w| {
                        w.key("text").string(text);
                        w.key("thought").bool(true);
                    });
                });
            }
            Event::Signature { choice, signature } => {
                let signature = Some(signature.clone().into_owned());
                let part = Output::Reasoning { text: String::new(), signature };
                self.piece(*choice, meta, out, |w| write_part(&part, w));
            }
            Event::Redacted { choice, data } => {
                let part = Output::Redacted(data.clone().into_owned());
                self.piece(*choice, meta, out, |w| write_part(&part, w));
            }
            Event::ToolCall { choice, call, id, name, signature } => {
                self.keep(id.len().saturating_add(name.len()))?;
                let signature = signature.clone().map(Signature::into_owned);
                let output =
                    Output::ToolCall { id: (*id).to_owned(), name: (*name).to_owned(), json: String::new(), signature };
                self.open.push(Call { choice: *choice, number: *call, output });
            }
            Event::ToolInput { choice, call, json } => {
                self.keep(json.len())?;
                let open = self.open.iter_mut().find(|open| open.choice == *choice && open.number == *call);
                match open.map(|open| &mut open.output) {
                    Some(Output::ToolCall { json: all, .. }) => all.push_str(json),
                    _ => return Err(Broken::Damaged),
                }
            }
            Event::Break { choice } => self.calls(*choice, meta, out),
            Event::Finish { choice, finish, .. } => {
                self.calls(*choice, meta, out);
                if self.finishes.len() as u64 >= MAX_CHOICES {
                    return Err(Broken::TooMuch);
                }
                self.finishes.push((*choice, *finish));
            }
            Event::End => self.end(meta, out),
        }
        Ok(())
    }

    fn keep(&mut self, bytes: usize) -> Result<(), Broken> {
        self.kept = self.kept.saturating_add(bytes);
        if self.kept > MAX_KEPT_BYTES { Err(Broken::TooMuch) } else { Ok(()) }
    }

    /// Writes the calls of a choice, which are complete now.
    fn calls(&mut self, choice: u32, meta: &Meta, out: &mut Vec<u8>) {
        if self.open.is_empty() {
            return;
        }
        let (ready, rest) = std::mem::take(&mut self.open).into_iter().partition(|call| call.choice == choice);
        self.open = rest;
        let ready: Vec<Call> = ready;
        if !ready.is_empty() {
            self.piece(choice, meta, out, |w| ready.iter().for_each(|call| write_part(&call.output, w)));
        }
    }

    fn piece(&mut self, choice: u32, meta: &Meta, out: &mut Vec<u8>, parts: impl FnOnce(&mut Writer<'_>)) {
        self.event(meta, out, |w| {
            w.key("candidates").array(|w| {
                w.object(|w| {
                    w.key("content").object(|w| {
                        w.key("parts").array(parts);
                        w.key("role").string("model");
                    });
                    w.key("index").u64(u64::from(choice));
                });
            });
        });
    }

    fn event(&mut self, meta: &Meta, out: &mut Vec<u8>, content: impl FnOnce(&mut Writer<'_>)) {
        let array = meta.framing == Framing::JsonArray;
        let first = !std::mem::replace(&mut self.begun, true);
        out.extend_from_slice(match (array, first) {
            (true, true) => b"[",
            (true, false) => b",\r\n",
            (false, _) => b"data: ",
        });
        Writer::new(out).object(|w| {
            content(w);
            w.key("modelVersion").string(self.model.as_deref().unwrap_or(&meta.model));
            w.key("responseId").string(&meta.id("", self.id.as_deref()));
        });
        if !array {
            out.extend_from_slice(b"\r\n\r\n");
        }
    }

    fn end(&mut self, meta: &Meta, out: &mut Vec<u8>) {
        let choices: Vec<u32> = self.open.iter().map(|call| call.choice).collect();
        choices.into_iter().for_each(|choice| self.calls(choice, meta, out));
        let (finishes, usage) = (std::mem::take(&mut self.finishes), self.usage);
        self.event(meta, out, |w| {
            w.key("candidates").array(|w| {
                for (choice, finish) in &finishes {
                    w.object(|w| {
                        w.key("content").object(|w| {
                            w.key("parts").array(|w| w.object(|w| w.key("text").string("")));
                            w.key("role").string("model");
                        });
                        w.key("finishReason").string(finish_word(*finish));
                        w.key("index").u64(u64::from(*choice));
                    });
                }
            });
            write_usage(&usage, w.key("usageMetadata"));
        });
        if meta.framing == Framing::JsonArray {
            out.extend_from_slice(b"]");
        }
    }
}
