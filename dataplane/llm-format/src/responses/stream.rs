//! Streams.

use super::answer::{Status, finish, item_id, read_encrypted, write_item, write_part, write_response, write_summary};
use crate::FaultKind;
use crate::exchange::Meta;
use crate::fault::from_error;
use crate::json::{Json, Writer};
use crate::limits::MAX_PARTS;
use crate::neutral::{Emit, Event, Output, Whole};
use crate::sse::Broken;

/// Reads a provider's stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Items that are calls: their number among all items, and whether pieces of their arguments came.
    calls: Vec<(u64, bool)>,
}

impl Decoder {
    pub(crate) fn read(&mut self, data: &str, emit: Emit<'_>) -> Result<(), Broken> {
        // Some of those that are compatible end as Chat Completions does.
        if data.trim() == "[DONE]" {
            return Ok(());
        }
        let event = Json::parse(data.as_bytes()).map_err(|_| Broken::NotJson)?;
        let delta = event.get("delta").as_str().unwrap_or_default();
        let response = event.get("response");
        match event.get("type").as_str() {
            Some("response.created") => {
                let (id, model) = (response.get("id").as_str(), response.get("model").as_str());
                emit(Event::Start { id, model, created: response.get("created_at").as_u64() })
            }
            Some("response.output_text.delta") => emit(Event::Text { choice: 0, text: delta }),
            Some("response.refusal.delta") => emit(Event::Refusal { choice: 0, text: delta }),
            Some("response.reasoning_summary_text.delta" | "response.reasoning_text.delta") => {
                emit(Event::Reasoning { choice: 0, text: delta })
            }
            Some("response.reasoning_summary_part.added") if event.get("summary_index").as_u64() > Some(0) => {
                emit(Event::Reasoning { choice: 0, text: "\n\n" })
            }
            Some("response.output_item.added") => self.begin(&event, emit),
            Some("response.function_call_arguments.delta") => {
                let call = self.call(&event)?;
                if let Some((_, pieces)) = self.calls.get_mut(call as usize) {
                    *pieces = true;
                }
                emit(Event::ToolInput { choice: 0, call, json: delta })
            }
            Some("response.output_item.done") => {
                let item = event.get("item");
                match item.get("type").as_str() {
                    Some("function_call") => {
                        let call = self.call(&event)?;
                        if self.calls.get(call as usize).is_some_and(|(_, pieces)| !pieces) {
                            let json = item.get("arguments").as_str().unwrap_or_default();
                            emit(Event::ToolInput { choice: 0, call, json })?;
                        }
                    }
                    Some("reasoning") => read_encrypted(item, emit)?,
                    _ => {}
                }
                emit(Event::Break { choice: 0 })
            }
            Some("response.completed" | "response.incomplete") => finish(response, emit),
            Some("response.failed") => emit(Event::Fault(from_error(response, FaultKind::BadGateway))),
            Some("error") => emit(Event::Fault(from_error(&event, FaultKind::BadGateway))),
            _ if !event.get("error").is_null() => emit(Event::Fault(from_error(&event, FaultKind::BadGateway))),
            Some("response.in_progress" | "response.queued" | "keepalive") => emit(Event::Ping),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, event: &Json<'_>, emit: Emit<'_>) -> Result<(), Broken> {
        let item = event.get("item");
        if item.get("type").as_str() != Some("function_call") {
            return Ok(());
        }
        if self.calls.len() >= MAX_PARTS {
            return Err(Broken::TooMuch);
        }
        let call = u32::try_from(self.calls.len()).map_err(|_| Broken::TooMuch)?;
        self.calls.push((event.get("output_index").as_u64().unwrap_or(0), false));
        let name = item.get("name").as_str().ok_or(Broken::Damaged)?;
        let id = item.get("call_id").as_str().ok_or(Broken::Damaged)?;
        emit(Event::ToolCall { choice: 0, call, id, name, signature: None })
    }

    fn call(&self, event: &Json<'_>) -> Result<u32, Broken> {
        let index = event.get("output_index").as_u64().unwrap_or(0);
        let call = self.calls.iter().position(|(item, _)| *item == index).ok_or(Broken::Damaged)?;
        u32::try_from(call).map_err(|_| Broken::TooMuch)
    }
}

/// Writes a client's stream. Its last events repeat the whole answer, which is kept for them.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    whole: Whole,
    sequence: u64,
    begun: bool,
    /// The part that is open is the last of the answer.
    open: bool,
}

impl Encoder {
    /// The number that the next event has.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn write(&mut self, event: &Event<'_>, meta: &Meta, out: &mut Vec<u8>) -> Result<(), Broken> {
        let before = self.outputs();
        let was = self.kind();
        match event {
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Fault(_) => {}
            Event::Break { .. } => {
                self.close(meta, out);
                self.whole.add(event)?;
            }
            Event::Start { .. } | Event::Usage(_) => self.whole.add(event)?,
            Event::Finish { .. } => {
                self.begin(meta, out);
                self.close(meta, out);
                self.whole.add(event)?;
            }
            Event::End => {
                self.begin(meta, out);
                self.close(meta, out);
                let finish = self.whole.choices.first().and_then(|choice| choice.finish);
                let name = match finish {
                    Some(crate::Finish::Length | crate::Finish::ContentFilter | crate::Finish::Refusal) => {
                        "response.incomplete"
                    }
                    _ => "response.completed",
                };
                self.response(name, Status::Done, meta, out);
            }
            Event::Text { text, .. } => {
                self.begin(meta, out);
                self.add(event, was, before, meta, out)?;
                self.delta("response.output_text.delta", "msg_", "content_index", text, meta, out);
            }
            Event::Refusal { text, .. } => {
                self.begin(meta, out);
                self.add(event, was, before, meta, out)?;
                self.delta("response.refusal.delta", "msg_", "content_index", text, meta, out);
            }
            Event::Reasoning { text, .. } => {
                self.begin(meta, out);
                self.add(event, was, before, meta, out)?;
                self.delta("response.reasoning_summary_text.delta", "rs_", "summary_index", text, meta, out);
            }
            Event::ToolCall { .. } => {
                self.begin(meta, out);
                self.add(event, was, before, meta, out)?;
            }
            Event::ToolInput { call, json, .. } => {
                // Items follow one another here: a piece for a call that is closed has no place.
                let outputs = self.whole.choices.first().map(|choice| choice.outputs.as_slice()).unwrap_or_default();
                let calls = outputs.iter().filter(|output| matches!(output, Output::ToolCall { .. })).count();
                if !self.open || was != Some(Kind::Call) || calls != (*call as usize).saturating_add(1) {
                    return Err(Broken::Damaged);
                }
                self.whole.add(event)?;
                self.delta("response.function_call_arguments.delta", "fc_", "", json, meta, out);
            }
            // The item's last event says it: an open reasoning is closed with its signature.
            Event::Signature { .. } => {
                self.begin(meta, out);
                if !(self.open && was == Some(Kind::Reasoning)) {
                    self.close(meta, out);
                    self.whole.add(&Event::Break { choice: 0 })?;
                }
                self.whole.add(event)?;
                if self.outputs() > before {
                    self.open_item(meta, out);
                }
                self.close(meta, out);
            }
            Event::Redacted { .. } => {
                self.begin(meta, out);
                self.close(meta, out);
                self.whole.add(event)?;
                self.open_item(meta, out);
                self.close(meta, out);
            }
        }
        Ok(())
    }

    fn outputs(&self) -> usize {
        self.whole.choices.first().map_or(0, |choice| choice.outputs.len())
    }

    fn last(&self) -> Option<&Output> {
        self.whole.choices.first().and_then(|choice| choice.outputs.last())
    }

    fn kind(&self) -> Option<Kind> {
        self.last().map(|output| match output {
            Output::Text(_) => Kind::Text,
            Output::Refusal(_) => Kind::Refusal,
            Output::Reasoning { .. } | Output::Redacted(_) => Kind::Reasoning,
            Output::ToolCall { .. } => Kind::Call,
        })
    }

    /// Takes a piece over; where it begins another part, the one before is closed first.
    fn add(
        &mut self,
        event: &Event<'_>,
        was: Option<Kind>,
        before: usize,
        meta: &Meta,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let kind = match event {
            Event::Text { .. } => Kind::Text,
            Event::Refusal { .. } => Kind::Refusal,
            Event::Reasoning { .. } => Kind::Reasoning,
            _ => Kind::Call,
        };
        if kind == Kind::Call || was != Some(kind) {
            self.close(meta, out);
        }
        if !self.open {
            self.whole.add(&Event::Break { choice: 0 })?;
        }
        self.whole.add(event)?;
        if self.outputs() > before {
            self.open_item(meta, out);
        }
        Ok(())
    }

    fn begin(&mut self, meta: &Meta, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            self.response("response.created", Status::InProgress, meta, out);
            self.response("response.in_progress", Status::InProgress, meta, out);
        }
    }

    fn response(&mut self, name: &'static str, status: Status, meta: &Meta, out: &mut Vec<u8>) {
        let sequence = self.next();
        event(name, sequence, out, |w| write_response(&self.whole, meta, status, w.key("response")));
    }

    fn next(&mut self) -> u64 {
        let sequence = self.sequence;
        self.sequence = sequence.saturating_add(1);
        sequence
    }

    fn index(&self) -> usize {
        self.outputs().saturating_sub(1)
    }

    fn delta(
        &mut self,
        name: &'static str,
        prefix: &'static str,
        inner: &'static str,
        text: &str,
        meta: &Meta,
        out: &mut Vec<u8>,
    ) {
        let (sequence, index) = (self.next(), self.index());
        event(name, sequence, out, |w| {
            w.key("item_id").string(&item_id(prefix, index, &self.whole, meta));
            w.key("output_index").u64(index as u64);
            if !inner.is_empty() {
                w.key(inner).u64(0);
            }
            w.key("delta").string(text);
            if prefix == "msg_" && name == "response.output_text.delta" {
                w.key("logprobs").array(|_| ());
            }
        });
    }

    /// The events that begin a part: the last of the answer.
    fn open_item(&mut self, meta: &Meta, out: &mut Vec<u8>) {
        self.open = true;
        let index = self.index();
        let sequences = [self.next(), self.sequence];
        let [first, second] = sequences;
        let Some(output) = self.whole.choices.first().and_then(|choice| choice.outputs.last()) else { return };
        let id = |prefix| item_id(prefix, index, &self.whole, meta);
        let mut inner = false;
        event("response.output_item.added", first, out, |w| {
            w.key("output_index").u64(index as u64);
            w.key("item").object(|w| match output {
                Output::Text(_) | Output::Refusal(_) => {
                    w.key("type").string("message");
                    w.key("id").string(&id("msg_"));
                    w.key("status").string("in_progress");
                    w.key("role").string("assistant");
                    w.key("content").array(|_| ());
                }
                Output::Reasoning { .. } | Output::Redacted(_) => {
                    w.key("type").string("reasoning");
                    w.key("id").string(&id("rs_"));
                    w.key("summary").array(|_| ());
                }
                Output::ToolCall { id: call, name, .. } => {
                    w.key("type").string("function_call");
                    w.key("id").string(&id("fc_"));
                    w.key("status").string("in_progress");
                    w.key("call_id").string(call);
                    w.key("name").string(name);
                    w.key("arguments").string("");
                }
            });
        });
        match output {
            Output::Text(_) | Output::Refusal(_) => {
                inner = true;
                event("response.content_part.added", second, out, |w| {
                    w.key("item_id").string(&id("msg_"));
                    w.key("output_index").u64(index as u64);
                    w.key("content_index").u64(0);
                    let empty = match output {
                        Output::Refusal(_) => Output::Refusal(String::new()),
                        _ => Output::Text(String::new()),
                    };
                    write_part(&empty, w.key("part"));
                });
            }
            Output::Reasoning { text, .. } if !text.is_empty() => {
                inner = true;
                event("response.reasoning_summary_part.added", second, out, |w| {
                    w.key("item_id").string(&id("rs_"));
                    w.key("output_index").u64(index as u64);
                    w.key("summary_index").u64(0);
                    write_summary("", w.key("part"));
                });
            }
            _ => {}
        }
        if inner {
            self.next();
        }
    }

    /// The events that end the open part.
    fn close(&mut self, meta: &Meta, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.open, false) {
            return;
        }
        let index = self.index();
        let mut sequence = self.sequence;
        let Some(output) = self.whole.choices.first().and_then(|choice| choice.outputs.last()) else { return };
        let id = |prefix| item_id(prefix, index, &self.whole, meta);
        let mut ended =
            |name: &'static str, out: &mut Vec<u8>, prefix: &'static str, content: &dyn Fn(&mut Writer<'_>)| {
                event(name, sequence, out, |w| {
                    if !prefix.is_empty() {
                        w.key("item_id").string(&id(prefix));
                    }
                    w.key("output_index").u64(index as u64);
                    content(w);
                });
                sequence = sequence.saturating_add(1);
            };
        match output {
            Output::Text(text) => {
                ended("response.output_text.done", out, "msg_", &|w| {
                    w.key("content_index").u64(0);
                    w.key("text").string(text);
                    w.key("logprobs").array(|_| ());
                });
            }
            Output::Refusal(text) => {
                ended("response.refusal.done", out, "msg_", &|w| {
                    w.key("content_index").u64(0);
                    w.key("refusal").string(text);
                });
            }
            Output::Reasoning { text, .. } if !text.is_empty() => {
                ended("response.reasoning_summary_text.done", out, "rs_", &|w| {
                    w.key("summary_index").u64(0);
                    w.key("text").string(text);
                });
                ended("response.reasoning_summary_part.done", out, "rs_", &|w| {
                    w.key("summary_index").u64(0);
                    write_summary(text, w.key("part"));
                });
            }
            Output::Reasoning { .. } | Output::Redacted(_) => {}
            Output::ToolCall { name, json, .. } => {
                ended("response.function_call_arguments.done", out, "fc_", &|w| {
                    w.key("name").string(name);
                    w.key("arguments").string(if json.is_empty() { "{}" } else { json });
                });
            }
        }
        if matches!(output, Output::Text(_) | Output::Refusal(_)) {
            ended("response.content_part.done", out, "msg_", &|w| {
                w.key("content_index").u64(0);
                write_part(output, w.key("part"));
            });
        }
        ended("response.output_item.done", out, "", &|w| write_item(output, index, &self.whole, meta, w.key("item")));
        self.sequence = sequence;
    }
}

/// What kind of part is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Reasoning,
    Call,
}

fn event(name: &str, sequence: u64, out: &mut Vec<u8>, content: impl FnOnce(&mut Writer<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    Writer::new(out).object(|w| {
        w.key("type").string(name);
        w.key("sequence_number").u64(sequence);
        content(w);
    });
    out.extend_from_slice(b"\n\n");
}
