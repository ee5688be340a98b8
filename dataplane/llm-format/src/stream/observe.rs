//! Between two sides of one API: events go on as they came, and only those that tell usage or the end are read.

use bytes::Bytes;
use memchr::memmem::Finder;

use super::Seen;
use super::source::Source;
use crate::json::Json;
use crate::sse::{Broken, Reader, data};
use crate::usage::{Finish, Usage};
use crate::{Dialect, Exchange, Fault, FaultKind, Framing};

pub(super) struct Observer {
    reader: Reader,
    look: Look,
}

struct Look {
    dialect: Dialect,
    /// The usage was not asked for by the client: the event that has nothing but it is kept back.
    hide_usage: bool,
    telling: Vec<Finder<'static>>,
}

impl Observer {
    pub(super) fn new(exchange: &Exchange) -> Observer {
        Observer { reader: Reader::default(), look: Look::new(exchange) }
    }

    /// Gives the events that are complete: a part of the chunk itself when it begins with one and none is kept back.
    pub(super) fn push(&mut self, chunk: Bytes, seen: &mut Seen) -> Result<Bytes, Broken> {
        let aligned = self.reader.is_empty();
        // Bytes at the chunk's start that go on as they are, and events that do not stand there.
        let mut prefix = 0usize;
        let mut out: Vec<u8> = Vec::new();
        let mut gap = !aligned;
        let look = &self.look;
        self.reader.push(&chunk, |block| {
            if look.at(block, seen)? {
                gap = true;
            } else if gap {
                out.extend_from_slice(block);
            } else {
                prefix = prefix.saturating_add(block.len());
            }
            Ok(())
        })?;
        seen.begun |= prefix > 0 || !out.is_empty();
        if out.is_empty() {
            return Ok(chunk.slice(..prefix.min(chunk.len())));
        }
        out.splice(..0, chunk.iter().take(prefix).copied());
        Ok(out.into())
    }

    /// An event whose empty line is missing at the end.
    pub(super) fn rest(&mut self, seen: &mut Seen, out: &mut Vec<u8>) -> Result<(), Broken> {
        let block = self.reader.rest();
        if block.iter().all(u8::is_ascii_whitespace) {
            // The second half of a line end.
            out.extend_from_slice(&block);
        } else if !self.look.at(&block, seen)? {
            out.extend_from_slice(&block);
            out.extend_from_slice(b"\n\n");
        }
        Ok(())
    }
}

/// The same events in another framing: Anthropic's from Amazon's frames, Gemini's as an array.
pub(super) struct Reframer {
    source: Source,
    look: Look,
    array: bool,
}

impl Reframer {
    pub(super) fn new(exchange: &Exchange) -> Reframer {
        let array = exchange.meta.framing == Framing::JsonArray;
        Reframer { source: Source::new(exchange), look: Look::new(exchange), array }
    }

    pub(super) fn push(&mut self, bytes: &[u8], seen: &mut Seen, out: &mut Vec<u8>) -> Result<(), Broken> {
        let (look, array) = (&self.look, self.array);
        self.source.push(bytes, &mut |_, data| write(look, array, data, seen, out))
    }

    pub(super) fn rest(&mut self, seen: &mut Seen, out: &mut Vec<u8>) -> Result<(), Broken> {
        let (look, array) = (&self.look, self.array);
        self.source.rest(&mut |_, data| write(look, array, data, seen, out))
    }
}

fn write(look: &Look, array: bool, data: &str, seen: &mut Seen, out: &mut Vec<u8>) -> Result<(), Broken> {
    seen.events = seen.events.saturating_add(1);
    let event = Json::parse(data.as_bytes()).map_err(|_| Broken::NotJson)?;
    look.tell(data, seen)?;
    if array {
        out.extend_from_slice(if seen.begun { b",\r\n" } else { b"[" });
        out.extend_from_slice(data.as_bytes());
    } else {
        // Line ends inside JSON are only white space between its parts.
        let data = &data.replace(['\n', '\r'], " ");
        for piece in ["event: ", event.get("type").as_str().unwrap_or("message"), "\ndata: ", data, "\n\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
    }
    seen.begun = true;
    Ok(())
}

impl Look {
    fn new(exchange: &Exchange) -> Look {
        let words: &[&str] = match exchange.client {
            Dialect::OpenAiChat => &["\"usage\"", "\"finish_reason\"", "\"error\"", "[DONE]"],
            Dialect::OpenAiResponses => &["\"usage\"", "\"response.failed\"", "\"error\""],
            Dialect::AnthropicMessages => &["\"usage\"", "message_stop", "\"error\""],
            Dialect::Gemini | Dialect::BedrockConverse => &["\"usageMetadata\"", "\"finishReason\"", "\"error\""],
        };
        let telling = words.iter().map(|word| Finder::new(*word)).collect();
        Look { dialect: exchange.client, hide_usage: !exchange.meta.wants_usage, telling }
    }

    /// Reads an event where it has something to tell; whether the client is not to see it.
    fn at(&self, block: &[u8], seen: &mut Seen) -> Result<bool, Broken> {
        seen.events = seen.events.saturating_add(1);
        if !self.telling.iter().any(|word| word.find(block).is_some()) {
            return Ok(false);
        }
        match data(block)? {
            Some((data, _)) => self.tell(&data, seen),
            None => Ok(false),
        }
    }

    fn tell(&self, data: &str, seen: &mut Seen) -> Result<bool, Broken> {
        if data.trim() == "[DONE]" {
            seen.complete = true;
            return Ok(false);
        }
        // What is no JSON is the provider's own business where nothing is translated.
        let Ok(event) = Json::parse(data.as_bytes()) else { return Ok(false) };
        let error = event.get("error");
        if !error.is_null() {
            let message = error.get("message").as_str().unwrap_or("the provider ended its stream with an error");
            seen.fault = Some(Fault::new(FaultKind::BadGateway, message));
        }
        match self.dialect {
            Dialect::OpenAiChat => {
                let usage = Usage::read(self.dialect, event.get("usage"));
                seen.usage = usage.or(seen.usage);
                let choices = event.get("choices").items();
                self.finish(choices.iter().find_map(|choice| choice.get("finish_reason").as_str()), seen);
                return Ok(self.hide_usage && usage.is_some() && choices.is_empty());
            }
            Dialect::OpenAiResponses => self.responses(&event, seen),
            Dialect::AnthropicMessages => {
                for usage in [event.get("message").get("usage"), event.get("usage")] {
                    if let Some(usage) = Usage::read(self.dialect, usage) {
                        seen.usage.get_or_insert_default().raise(usage);
                    }
                }
                self.finish(event.get("delta").get("stop_reason").as_str(), seen);
                seen.complete |= event.get("type").as_str() == Some("message_stop");
            }
            Dialect::Gemini | Dialect::BedrockConverse => {
                seen.usage = Usage::read(self.dialect, event.get("usageMetadata")).or(seen.usage);
                let candidates = event.get("candidates").items();
                self.finish(candidates.iter().find_map(|candidate| candidate.get("finishReason").as_str()), seen);
            }
        }
        Ok(false)
    }

    fn finish(&self, word: Option<&str>, seen: &mut Seen) {
        seen.finish = word.map(|word| Finish::read(self.dialect, word)).or(seen.finish);
    }

    fn responses(&self, event: &Json<'_>, seen: &mut Seen) {
        let response = event.get("response");
        seen.usage = Usage::read(self.dialect, response.get("usage")).or(seen.usage);
        match event.get("type").as_str() {
            Some("response.completed") => (seen.finish, seen.complete) = (Some(Finish::Stop), true),
            Some("response.incomplete") => {
                self.finish(Some(response.get("incomplete_details").get("reason").as_str().unwrap_or_default()), seen);
                seen.complete = true;
            }
            Some("response.failed") => {
                let message = response.get("error").get("message").as_str().unwrap_or("the provider failed");
                seen.fault = Some(Fault::new(FaultKind::BadGateway, message));
                (seen.finish, seen.complete) = (Some(Finish::Error), true);
            }
            _ => {}
        }
    }
}
