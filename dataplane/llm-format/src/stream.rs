//! Streams: bytes of the provider in, bytes for the client out.

mod observe;

use bytes::Bytes;

use crate::sse::Broken;
use crate::usage::{Finish, Usage};
use crate::{Exchange, Fault, FaultKind};
use observe::Observer;

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
    /// The stream ends with this error.
    Reject(Fault),
}

/// Sees, changes or stops the texts of an answer as they come. Each text (of a choice, and of a part within it) is given piece by
/// piece, and its end once.
pub trait TextFilter: Send {
    /// A piece of text. `choice` is that of several answers, `part` the number of the text in it.
    fn text(&mut self, choice: u32, part: u32, kind: TextKind, text: &str) -> Verdict;

    /// The text is complete: [`Verdict::Replace`] gives what was held back.
    fn end(&mut self, choice: u32, part: u32, kind: TextKind) -> Verdict;
}

/// Translates one stream. Bytes may be cut anywhere; what is kept is bounded by [`crate::limits`].
pub struct StreamTranslator {
    exchange: Exchange,
    observer: Observer,
    seen: Seen,
    ended: bool,
}

/// What a stream has told so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) usage: Option<Usage>,
    pub(crate) finish: Option<Finish>,
    pub(crate) model: Option<String>,
    pub(crate) events: u64,
    pub(crate) fault: Option<Fault>,
    /// The API's own last event has come.
    pub(crate) complete: bool,
    /// Something was sent to the client.
    pub(crate) begun: bool,
    pub(crate) text: String,
}

impl StreamTranslator {
    pub(crate) fn new(exchange: Exchange, _filter: Option<Box<dyn crate::TextFilter>>, _keep_text: bool) -> Self {
        let observer = Observer::new(&exchange);
        StreamTranslator { exchange, observer, seen: Seen::default(), ended: false }
    }

    /// Takes bytes of the provider, gives bytes for the client; often none, and after the end (see
    /// [`StreamTranslator::is_ended`]) always none.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        if self.ended {
            return Bytes::new();
        }
        let out = self.observer.push(chunk, &mut self.seen);
        match out {
            Ok(out) => out,
            Err(broken) => self.abort(broken.into()),
        }
    }

    /// The provider's stream has ended. Gives what is left; where the provider left out the end of its answer, an error
    /// event.
    pub fn finish(&mut self) -> Bytes {
        if self.ended {
            return Bytes::new();
        }
        let rest = match self.observer.rest(&mut self.seen) {
            Ok(rest) => rest,
            Err(broken) => return self.abort(broken.into()),
        };
        if self.seen.complete || self.seen.finish.is_some() || self.seen.fault.is_some() {
            self.ended = true;
            return rest;
        }
        let mut out = rest.to_vec();
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
        let Exchange { client, client_framing, .. } = self.exchange;
        fault.write_event(client, client_framing, self.seen.events, !self.seen.begun, &mut out);
        self.seen.fault = Some(fault);
        out.into()
    }

    /// Whether nothing more will come: after an error, or [`StreamTranslator::finish`].
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

    /// The text so far, where it was asked for.
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
