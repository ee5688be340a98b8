//! A provider's stream as a row of events, whatever its framing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::is_wrapped;
use crate::bedrock::{Frames, Message};
use crate::json::{Json, Writer};
use crate::sse::{Broken, Reader, data};
use crate::{Exchange, Framing};

pub(super) enum Source {
    Sse(Reader),
    /// Amazon's frames; with true they hold Anthropic's events.
    Frames(Frames, bool),
}

/// Takes an event: its type, and its data.
pub(super) type Each<'x> = &'x mut dyn FnMut(&str, &str) -> Result<(), Broken>;

impl Source {
    pub(super) fn new(exchange: &Exchange) -> Source {
        match exchange.framing {
            Framing::EventStream => Source::Frames(Frames::default(), is_wrapped(exchange)),
            _ => Source::Sse(Reader::default()),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], each: Each<'_>) -> Result<(), Broken> {
        match self {
            Source::Sse(reader) => reader.push(bytes, |block| event(block, each)),
            Source::Frames(frames, false) => frames.push(bytes, |message| plain(message, each)),
            Source::Frames(frames, true) => frames.push(bytes, |message| wrapped(message, each)),
        }
    }

    /// The stream has ended: an event whose end is missing.
    pub(super) fn rest(&mut self, each: Each<'_>) -> Result<(), Broken> {
        match self {
            Source::Sse(reader) => event(&reader.rest(), each),
            Source::Frames(frames, _) if frames.is_empty() => Ok(()),
            Source::Frames(..) => Err(Broken::Damaged),
        }
    }
}

fn event(block: &[u8], each: Each<'_>) -> Result<(), Broken> {
    match data(block)? {
        // Some keep a connection alive with empty events.
        Some((data, name)) if !data.is_empty() => each(name, &data),
        _ => Ok(()),
    }
}

fn plain(message: Message<'_>, each: Each<'_>) -> Result<(), Broken> {
    if let Some(error) = message.error {
        return each("error", &error_json("message", error));
    }
    let payload = std::str::from_utf8(message.payload).map_err(|_| Broken::NotUtf8)?;
    each(message.name, if payload.is_empty() { "{}" } else { payload })
}

/// `{"bytes":"..."}`, or an exception.
fn wrapped(message: Message<'_>, each: Each<'_>) -> Result<(), Broken> {
    let payload = Json::parse(message.payload).ok();
    let member = |name| payload.as_ref().and_then(|payload| payload.get(name).as_str());
    if message.name == "chunk" {
        let bytes = STANDARD.decode(member("bytes").ok_or(Broken::Damaged)?).map_err(|_| Broken::Damaged)?;
        return each("", std::str::from_utf8(&bytes).map_err(|_| Broken::NotUtf8)?);
    }
    if message.error.is_none() && !message.name.ends_with("Exception") {
        return Ok(());
    }
    let text = message.error.or(member("message")).unwrap_or("the provider ended its stream with an error");
    let kind = match crate::bedrock::exception(message.name) {
        crate::FaultKind::RateLimit => "rate_limit_error",
        crate::FaultKind::InvalidRequest => "invalid_request_error",
        crate::FaultKind::Timeout => "timeout_error",
        crate::FaultKind::Overloaded => "overloaded_error",
        _ => "api_error",
    };
    let mut out = Vec::new();
    Writer::new(&mut out).object(|w| {
        w.key("type").string("error");
        w.key("error").object(|w| {
            w.key("type").string(kind);
            w.key("message").string(text);
        });
    });
    each("error", std::str::from_utf8(&out).map_err(|_| Broken::NotUtf8)?)
}

fn error_json(name: &str, text: &str) -> String {
    let mut out = Vec::new();
    Writer::new(&mut out).object(|w| w.key(name).string(text));
    String::from_utf8(out).unwrap_or_default()
}
