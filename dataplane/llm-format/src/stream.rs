//! Streams: bytes of the provider in, bytes for the client out.

mod observe;
mod source;
mod translate;

use bytes::Bytes;

use crate::sse::Broken;
use crate::usage::{Finish, Usage};
use crate::{Dialect, Exchange, Fault, FaultKind, Framing, Host};
use observe::{Observer, Reframer};
use translate::Translation;

/// Which text of an answer this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextKind {
    /// What the model says.
    Text,
    /// Its reasoning, or the summary of it.
    Reasoning,
    /// Why it declines.
    Refusal,
    /// Arguments of a tool call, as pieces of JSON.
    ToolInput,
}

/// What is done with a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    Pass,
    /// This goes on instead; may be empty when it is held back.
    Replace(String),
    /// The answer ends with this error.
    Reject(Fault),
}

/// Sees, changes or stops the texts of an answer as they come. Each text (of a choice, and of a part within it) is given piece by
/// piece, and its end once.
pub trait TextFilter: Send {
    /// A piece of text. `choice` is that of several answers, `part` the number of the text among all of the answer.
    fn text(&mut self, choice: u32, part: u32, kind: TextKind, text: &str) -> Verdict;

    /// The text is complete: [`Verdict::Replace`] gives what was held back.
    fn end(&mut self, choice: u32, part: u32, kind: TextKind) -> Verdict;
}

/// Translates one stream. Bytes may be cut anywhere; what is kept is bounded by [`crate::limits`].
pub struct StreamTranslator {
    exchange: Exchange,
    mode: Mode,
    seen: Seen,
    ended: bool,
}

enum Mode {
    /// Events go on as they came.
    Observe(Observer),
    /// The same events in another framing.
    Reframe(Box<Reframer>),
    Translate(Box<Translation>),
}

/// What a stream has told so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) usage: Option<Usage>,
    pub(crate) finish: Option<Finish>,
    pub(crate) model: Option<String>,
    pub(crate) events: u64,
    pub(crate) fault: Option<Fault>,
    /// The provider's own last event has come.
    pub(crate) complete: bool,
    /// Something was sent to the client.
    pub(crate) begun: bool,
    pub(crate) keep_text: bool,
    pub(crate) text: String,
}

impl StreamTranslator {
    pub(crate) fn new(exchange: Exchange, filter: Option<Box<dyn TextFilter>>, keep_text: bool) -> Self {
        let provider = &exchange.provider;
        let direct = exchange.client == provider.dialect && filter.is_none() && !keep_text;
        let mode = if !direct {
            Mode::Translate(Box::new(Translation::new(&exchange, filter)))
        } else if exchange.framing == exchange.meta.framing {
            Mode::Observe(Observer::new(&exchange))
        } else {
            Mode::Reframe(Box::new(Reframer::new(&exchange)))
        };
        StreamTranslator { exchange, mode, seen: Seen { keep_text, ..Seen::default() }, ended: false }
    }

    /// Takes bytes of the provider, gives bytes for the client; often none, and after the end (see
    /// [`StreamTranslator::is_ended`]) always none.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        if self.ended {
            return Bytes::new();
        }
        let meta = &self.exchange.meta;
        match &mut self.mode {
            Mode::Observe(observer) => match observer.push(chunk, &mut self.seen) {
                Ok(out) => out,
                Err(broken) => self.abort(broken.into()),
            },
            Mode::Reframe(reframer) => {
                let mut out = Vec::new();
                let result = reframer.push(&chunk, &mut self.seen, &mut out);
                self.settle(result, out)
            }
            Mode::Translate(translation) => {
                let mut out = Vec::new();
                let result = translation.push(&chunk, meta, &mut self.seen, &mut out);
                self.settle(result, out)
            }
        }
    }

    /// What was written, and the error that ended it, if one did.
    fn settle(&mut self, result: Result<(), Broken>, mut out: Vec<u8>) -> Bytes {
        self.seen.begun |= !out.is_empty();
        let fault = match (&self.mode, result) {
            (_, Err(broken)) => Some(broken.into()),
            (Mode::Translate(_), Ok(())) => self.seen.fault.take(),
            (_, Ok(())) => None,
        };
        if let Some(fault) = fault {
            out.extend_from_slice(&self.abort(fault));
        } else if matches!(self.mode, Mode::Translate(_)) && self.seen.complete {
            self.ended = true;
        }
        out.into()
    }

    /// The provider's stream has ended. Gives what is left; where the provider left out the end of its answer, an error
    /// event.
    pub fn finish(&mut self) -> Bytes {
        if self.ended {
            return Bytes::new();
        }
        let meta = &self.exchange.meta;
        let mut out = Vec::new();
        let result = match &mut self.mode {
            Mode::Observe(observer) => observer.rest(&mut self.seen, &mut out),
            Mode::Reframe(reframer) => reframer.rest(&mut self.seen, &mut out),
            Mode::Translate(translation) => translation.rest(meta, &mut self.seen, &mut out),
        };
        let mut out = self.settle(result, out).to_vec();
        if self.ended {
            return out.into();
        }
        if self.seen.complete || self.seen.finish.is_some() || self.seen.fault.is_some() {
            self.ended = true;
            if let (Mode::Reframe(_), Framing::JsonArray) = (&self.mode, self.exchange.meta.framing) {
                out.extend_from_slice(if self.seen.begun { b"]" } else { b"[]" });
            }
            return out.into();
        }
        out.extend_from_slice(&self.abort(Fault::new(FaultKind::BadGateway, "the provider's stream ended early")));
        out.into()
    }

    /// The stream cannot go on (the connection broke, time is up, a guard stops it): the client's API's error event.
    pub fn abort(&mut self, fault: Fault) -> Bytes {
        if self.ended {
            return Bytes::new();
        }
        self.ended = true;
        let mut out = Vec::with_capacity(256);
        let number = match &self.mode {
            Mode::Translate(translation) => translation.sequence(),
            _ => self.seen.events,
        };
        let framing = self.exchange.meta.framing;
        fault.write_event(self.exchange.client, framing, number, !self.seen.begun, &mut out);
        self.seen.fault = Some(fault);
        out.into()
    }

    /// Whether nothing more will come: after the provider's last event, an error, or [`StreamTranslator::finish`].
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// What the answer cost, as far as the provider has told; in most APIs it comes with the end.
    pub fn usage(&self) -> Option<Usage> {
        self.seen.usage
    }

    /// Why the answer ended, once that is known.
    pub fn finish_reason(&self) -> Option<Finish> {
        self.seen.finish
    }

    /// The model that the provider says answers, where the events were read.
    pub fn model(&self) -> Option<&str> {
        self.seen.model.as_deref()
    }

    /// Events of the provider so far: about one for each token where it streams token by token.
    pub fn events(&self) -> u64 {
        self.seen.events
    }

    /// The text so far, where it was asked for; of several choices the first.
    pub fn text(&self) -> &str {
        &self.seen.text
    }

    /// The error that ended the stream: the provider's, or that of [`StreamTranslator::abort`].
    pub fn fault(&self) -> Option<&Fault> {
        self.seen.fault.as_ref()
    }
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Fault {
        Fault::new(FaultKind::BadGateway, broken.to_string())
    }
}

/// Anthropic's events within Amazon's frames.
fn is_wrapped(exchange: &Exchange) -> bool {
    exchange.provider.dialect == Dialect::AnthropicMessages && exchange.provider.host == Host::Bedrock
}
