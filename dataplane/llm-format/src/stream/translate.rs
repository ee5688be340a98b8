//! Between two APIs: events are read, pass the filter, and are written anew.

use super::Seen;
use super::source::Source;
use crate::exchange::Meta;
use crate::limits::MAX_KEPT_BYTES;
use crate::neutral::{Emit, Event};
use crate::sse::Broken;
use crate::stage::Stages;
use crate::{Dialect, Exchange, TextFilter, anthropic, bedrock, chat, gemini, responses};

pub(super) struct Translation {
    source: Source,
    decoder: Decoder,
    stages: Stages<Box<dyn TextFilter>>,
    encoder: Encoder,
}

enum Decoder {
    Chat(chat::Decoder),
    Responses(responses::Decoder),
    Anthropic(anthropic::Decoder),
    Gemini(gemini::Decoder),
    Bedrock(bedrock::Decoder),
}

impl Decoder {
    fn read(&mut self, name: &str, data: &str, meta: &Meta, emit: Emit<'_>) -> Result<(), Broken> {
        match self {
            Decoder::Chat(decoder) => decoder.read(data, emit),
            Decoder::Responses(decoder) => decoder.read(data, emit),
            Decoder::Anthropic(decoder) => decoder.read(data, emit),
            Decoder::Gemini(decoder) => decoder.read(data, meta, emit),
            Decoder::Bedrock(decoder) => decoder.read(name, data, emit),
        }
    }
}

enum Encoder {
    Chat(chat::Encoder),
    Responses(responses::Encoder),
    Anthropic(anthropic::Encoder),
    Gemini(gemini::Encoder),
}

impl Encoder {
    fn write(&mut self, event: &Event<'_>, meta: &Meta, out: &mut Vec<u8>) -> Result<(), Broken> {
        match self {
            Encoder::Chat(encoder) => encoder.write(event, meta, out),
            Encoder::Responses(encoder) => encoder.write(event, meta, out),
            Encoder::Anthropic(encoder) => encoder.write(event, meta, out),
            Encoder::Gemini(encoder) => encoder.write(event, meta, out),
        }
    }
}

impl Translation {
    pub(super) fn new(exchange: &Exchange, filter: Option<Box<dyn TextFilter>>) -> Translation {
        Translation {
            source: Source::new(exchange),
            decoder: match exchange.provider.dialect {
                Dialect::OpenAiChat => Decoder::Chat(chat::Decoder::default()),
                Dialect::OpenAiResponses => Decoder::Responses(responses::Decoder::default()),
                Dialect::AnthropicMessages => Decoder::Anthropic(anthropic::Decoder::default()),
                Dialect::Gemini => Decoder::Gemini(gemini::Decoder::default()),
                Dialect::BedrockConverse => Decoder::Bedrock(bedrock::Decoder::default()),
            },
            stages: Stages::new(exchange.client, filter),
            encoder: match exchange.client {
                Dialect::OpenAiChat | Dialect::BedrockConverse => Encoder::Chat(chat::Encoder::default()),
                Dialect::OpenAiResponses => Encoder::Responses(responses::Encoder::default()),
                Dialect::AnthropicMessages => Encoder::Anthropic(anthropic::Encoder::default()),
                Dialect::Gemini => Encoder::Gemini(gemini::Encoder::default()),
            },
        }
    }

    /// The number of the next event, where the client's API numbers them.
    pub(super) fn sequence(&self) -> u64 {
        match &self.encoder {
            Encoder::Responses(encoder) => encoder.sequence(),
            _ => 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], meta: &Meta, seen: &mut Seen, out: &mut Vec<u8>) -> Result<(), Broken> {
        let Translation { source, decoder, stages, encoder } = self;
        source.push(bytes, &mut |name, data| {
            seen.events = seen.events.saturating_add(1);
            if seen.complete || seen.fault.is_some() {
                return Ok(());
            }
            decoder.read(name, data, meta, &mut |event| {
                stages.pass(event, &mut |event| take(&event, encoder, meta, seen, out))
            })
        })
    }

    pub(super) fn rest(&mut self, meta: &Meta, seen: &mut Seen, out: &mut Vec<u8>) -> Result<(), Broken> {
        let Translation { source, decoder, stages, encoder } = self;
        source.rest(&mut |name, data| {
            decoder.read(name, data, meta, &mut |event| {
                stages.pass(event, &mut |event| take(&event, encoder, meta, seen, out))
            })
        })?;
        // Gemini's streams have no last event; others leave theirs out at times.
        if !seen.complete && seen.finish.is_some() && seen.fault.is_none() {
            stages.pass(Event::End, &mut |event| take(&event, encoder, meta, seen, out))?;
        }
        Ok(())
    }
}

fn take(
    event: &Event<'_>,
    encoder: &mut Encoder,
    meta: &Meta,
    seen: &mut Seen,
    out: &mut Vec<u8>,
) -> Result<(), Broken> {
    if seen.fault.is_some() || seen.complete {
        return Ok(());
    }
    match event {
        Event::Start { model: Some(model), .. } if seen.model.is_none() => seen.model = Some((*model).to_owned()),
        Event::Text { choice: 0, text }
            if seen.keep_text && seen.text.len().saturating_add(text.len()) <= MAX_KEPT_BYTES =>
        {
            seen.text.push_str(text);
        }
        Event::Usage(usage) => seen.usage.get_or_insert_default().raise(*usage),
        Event::Finish { choice, finish, .. } if *choice == 0 || seen.finish.is_none() => seen.finish = Some(*finish),
        Event::Fault(fault) => seen.fault = Some(fault.clone()),
        Event::End => seen.complete = true,
        _ => {}
    }
    encoder.write(event, meta, out)
}
