//! An answer, as events of a stream and as a whole.

use crate::Fault;
use crate::limits::{MAX_KEPT_BYTES, MAX_PARTS};
use crate::sse::Broken;
use crate::usage::{Finish, Usage};

use super::Signature;

/// A piece of an answer. `choice` counts several answers to one request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event<'e> {
    /// What the provider says of the answer; may come in pieces, before all others.
    Start {
        id: Option<&'e str>,
        model: Option<&'e str>,
        created: Option<u64>,
    },
    Text {
        choice: u32,
        text: &'e str,
    },
    Refusal {
        choice: u32,
        text: &'e str,
    },
    Reasoning {
        choice: u32,
        text: &'e str,
    },
    /// The end of a piece of reasoning, signed.
    Signature {
        choice: u32,
        signature: Signature<'e>,
    },
    /// Reasoning that only its maker can read.
    Redacted {
        choice: u32,
        data: Signature<'e>,
    },
    /// A tool call begins; `call` counts those of one choice.
    ToolCall {
        choice: u32,
        call: u32,
        id: &'e str,
        name: &'e str,
        signature: Option<Signature<'e>>,
    },
    /// A piece of its arguments, which together are one JSON object.
    ToolInput {
        choice: u32,
        call: u32,
        json: &'e str,
    },
    /// A part of the answer is complete: what follows begins another, also of the same kind.
    Break {
        choice: u32,
    },
    Finish {
        choice: u32,
        finish: Finish,
        sequence: Option<&'e str>,
    },
    Usage(Usage),
    Fault(Fault),
    /// Nothing of interest, but the provider is alive.
    Ping,
    /// The provider's own last word.
    End,
}

/// Takes events, one by one.
pub(crate) type Emit<'x> = &'x mut dyn FnMut(Event<'_>) -> Result<(), Broken>;

/// A whole answer.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) id: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) created: Option<u64>,
    pub(crate) choices: Vec<Choice>,
    pub(crate) usage: Option<Usage>,
    pub(crate) fault: Option<Fault>,
    pub(crate) ended: bool,
    kept: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Choice {
    pub(crate) outputs: Vec<Output>,
    pub(crate) finish: Option<Finish>,
    pub(crate) sequence: Option<String>,
    broken: bool,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    Text(String),
    Refusal(String),
    Reasoning { text: String, signature: Option<Signature<'static>> },
    Redacted(Signature<'static>),
    ToolCall { id: String, name: String, json: String, signature: Option<Signature<'static>> },
}

impl Signature<'_> {
    pub(crate) fn into_owned(self) -> Signature<'static> {
        Signature { maker: self.maker, value: self.value.into_owned().into() }
    }
}

impl Whole {
    /// Adds what an event says.
    ///
    /// # Errors
    /// There is more than is kept of one answer, or a piece of a call that never began.
    pub(crate) fn add(&mut self, event: &Event<'_>) -> Result<(), Broken> {
        match event {
            Event::Start { id, model, created } => {
                self.id = id.map(str::to_owned).or(self.id.take());
                self.model = model.map(str::to_owned).or(self.model.take());
                self.created = created.or(self.created);
            }
            Event::Text { choice, text } => {
                self.keep(text.len())?;
                let choice = self.choice(*choice)?;
                match choice.last() {
                    Some(Output::Text(there)) => there.push_str(text),
                    _ => choice.push(Output::Text((*text).to_owned()))?,
                }
            }
            Event::Refusal { choice, text } => {
                self.keep(text.len())?;
                let choice = self.choice(*choice)?;
                match choice.last() {
                    Some(Output::Refusal(there)) => there.push_str(text),
                    _ => choice.push(Output::Refusal((*text).to_owned()))?,
                }
            }
            Event::Reasoning { choice, text } => {
                self.keep(text.len())?;
                let choice = self.choice(*choice)?;
                match choice.last() {
                    Some(Output::Reasoning { text: there, signature: None }) => there.push_str(text),
                    _ => choice.push(Output::Reasoning { text: (*text).to_owned(), signature: None })?,
                }
            }
            Event::Signature { choice, signature } => {
                self.keep(signature.value.len())?;
                let choice = self.choice(*choice)?;
                let signed = Some(signature.clone().into_owned());
                match choice.last() {
                    Some(Output::Reasoning { signature, .. }) => *signature = signed,
                    _ => choice.push(Output::Reasoning { text: String::new(), signature: signed })?,
                }
            }
            Event::Redacted { choice, data } => {
                self.keep(data.value.len())?;
                self.choice(*choice)?.push(Output::Redacted(data.clone().into_owned()))?;
            }
            Event::ToolCall { choice, id, name, signature, .. } => {
                self.keep(id.len().saturating_add(name.len()))?;
                self.choice(*choice)?.push(Output::ToolCall {
                    id: (*id).to_owned(),
                    name: (*name).to_owned(),
                    json: String::new(),
                    signature: signature.clone().map(Signature::into_owned),
                })?;
            }
            Event::ToolInput { choice, call, json: piece } => {
                self.keep(piece.len())?;
                let calls = self.choice(*choice)?.outputs.iter_mut().filter_map(|output| match output {
                    Output::ToolCall { json, .. } => Some(json),
                    _ => None,
                });
                calls.into_iter().nth(*call as usize).ok_or(Broken::Damaged)?.push_str(piece);
            }
            Event::Break { choice } => self.choice(*choice)?.broken = true,
            Event::Finish { choice, finish, sequence } => {
                let choice = self.choice(*choice)?;
                choice.finish = Some(*finish);
                choice.sequence = sequence.map(str::to_owned);
            }
            Event::Usage(usage) => self.usage.get_or_insert_default().raise(*usage),
            Event::Fault(fault) => self.fault = Some(fault.clone()),
            Event::Ping => {}
            Event::End => self.ended = true,
        }
        Ok(())
    }

    fn keep(&mut self, bytes: usize) -> Result<(), Broken> {
        self.kept = self.kept.saturating_add(bytes);
        if self.kept > MAX_KEPT_BYTES { Err(Broken::TooMuch) } else { Ok(()) }
    }

    fn choice(&mut self, number: u32) -> Result<&mut Choice, Broken> {
        let number = number as usize;
        if number >= crate::limits::MAX_CHOICES as usize {
            return Err(Broken::TooMuch);
        }
        if self.choices.len() <= number {
            self.choices.resize_with(number.saturating_add(1), Choice::default);
        }
        self.choices.get_mut(number).ok_or(Broken::TooMuch)
    }
}

impl Choice {
    /// The part that the next piece may belong to.
    fn last(&mut self) -> Option<&mut Output> {
        if std::mem::take(&mut self.broken) { None } else { self.outputs.last_mut() }
    }

    fn push(&mut self, output: Output) -> Result<(), Broken> {
        if self.outputs.len() >= MAX_PARTS {
            return Err(Broken::TooMuch);
        }
        self.broken = false;
        self.outputs.push(output);
        Ok(())
    }
}
