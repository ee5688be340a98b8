//! What every answer passes between reading and writing: a finish that all providers mean alike, places for signatures,
//! and the filter of texts.

use crate::Dialect;
use crate::neutral::{Emit, Event};
use crate::sse::Broken;
use crate::stream::{TextFilter, TextKind, Verdict};
use crate::usage::Finish;

pub(crate) struct Stages<F> {
    /// Choices that called tools.
    calling: Vec<u32>,
    /// Tool calls of which no arguments came, for clients that read their text as JSON whatever it is.
    bare: Option<Vec<(u32, u32)>>,
    /// The client's API has no place for the signature of a call, but one for that of reasoning.
    moves_signatures: bool,
    filter: Option<F>,
    /// The texts that are not complete.
    open: Vec<Open>,
    /// Number of the next text.
    next: u32,
    /// The filter has ended the answer.
    rejected: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    choice: u32,
    part: u32,
    kind: TextKind,
    call: u32,
}

impl TextFilter for &mut (dyn TextFilter + '_) {
    fn text(&mut self, choice: u32, part: u32, kind: TextKind, text: &str) -> Verdict {
        (**self).text(choice, part, kind, text)
    }

    fn end(&mut self, choice: u32, part: u32, kind: TextKind) -> Verdict {
        (**self).end(choice, part, kind)
    }
}

impl TextFilter for Box<dyn TextFilter> {
    fn text(&mut self, choice: u32, part: u32, kind: TextKind, text: &str) -> Verdict {
        (**self).text(choice, part, kind, text)
    }

    fn end(&mut self, choice: u32, part: u32, kind: TextKind) -> Verdict {
        (**self).end(choice, part, kind)
    }
}

impl<F: TextFilter> Stages<F> {
    pub(crate) fn new(client: Dialect, filter: Option<F>) -> Self {
        let moves_signatures = matches!(client, Dialect::AnthropicMessages | Dialect::OpenAiResponses);
        let bare = (client == Dialect::OpenAiChat).then(Vec::new);
        Stages { calling: Vec::new(), bare, moves_signatures, filter, open: Vec::new(), next: 0, rejected: false }
    }

    pub(crate) fn pass(&mut self, event: Event<'_>, sink: Emit<'_>) -> Result<(), Broken> {
        if self.rejected {
            return Ok(());
        }
        match event {
            Event::ToolCall { choice, call, id, name, signature } => {
                if !self.calling.contains(&choice) {
                    self.calling.push(choice);
                }
                self.end_of(Some(choice), sink)?;
                if self.rejected {
                    return Ok(());
                }
                if let Some(bare) = &mut self.bare {
                    bare.push((choice, call));
                }
                match signature {
                    Some(data) if self.moves_signatures => {
                        sink(Event::Redacted { choice, data })?;
                        sink(Event::ToolCall { choice, call, id, name, signature: None })
                    }
                    signature => sink(Event::ToolCall { choice, call, id, name, signature }),
                }
            }
            // Some say "stop" although tools are to be called.
            Event::Finish { choice, .. } | Event::Break { choice } if self.is_bare(choice) => {
                self.fill(choice, sink)?;
                self.pass(event, sink)
            }
            Event::Finish { choice, finish: Finish::Stop, sequence } if self.calling.contains(&choice) => {
                self.end_of(Some(choice), sink)?;
                self.unless_rejected(Event::Finish { choice, finish: Finish::ToolCalls, sequence }, sink)
            }
            Event::Finish { choice, .. }
            | Event::Break { choice }
            | Event::Redacted { choice, .. }
            | Event::Signature { choice, .. } => {
                self.end_of(Some(choice), sink)?;
                self.unless_rejected(event, sink)
            }
            Event::End => {
                self.end_of(None, sink)?;
                self.unless_rejected(event, sink)
            }
            Event::Text { choice, text } => self.text(choice, TextKind::Text, 0, text, sink),
            Event::Refusal { choice, text } => self.text(choice, TextKind::Refusal, 0, text, sink),
            Event::Reasoning { choice, text } => self.text(choice, TextKind::Reasoning, 0, text, sink),
            Event::ToolInput { choice, call, json } => self.text(choice, TextKind::ToolInput, call, json, sink),
            Event::Start { .. } | Event::Usage(_) | Event::Fault(_) | Event::Ping => sink(event),
        }
    }

    fn is_bare(&self, choice: u32) -> bool {
        self.bare.as_ref().is_some_and(|bare| bare.iter().any(|(of, _)| *of == choice))
    }

    /// Gives calls without arguments an empty object.
    fn fill(&mut self, choice: u32, sink: Emit<'_>) -> Result<(), Broken> {
        let Some(bare) = &mut self.bare else { return Ok(()) };
        let (filled, rest): (Vec<_>, Vec<_>) = bare.drain(..).partition(|(of, _)| *of == choice);
        *bare = rest;
        filled.into_iter().try_for_each(|(choice, call)| sink(Event::ToolInput { choice, call, json: "{}" }))
    }

    fn unless_rejected(&self, event: Event<'_>, sink: Emit<'_>) -> Result<(), Broken> {
        if self.rejected { Ok(()) } else { sink(event) }
    }

    fn text(&mut self, choice: u32, kind: TextKind, call: u32, text: &str, sink: Emit<'_>) -> Result<(), Broken> {
        if let Some(bare) = self.bare.as_mut().filter(|bare| kind == TextKind::ToolInput && !bare.is_empty()) {
            bare.retain(|open| text.is_empty() || *open != (choice, call));
        }
        if self.filter.is_none() {
            return piece(choice, kind, call, text, sink);
        }
        let same = |open: &Open| open.choice == choice && open.kind == kind && open.call == call;
        let open = match self.open.iter().find(|open| same(open)) {
            Some(open) => *open,
            None => {
                self.end_of(Some(choice), sink)?;
                let open = Open { choice, part: self.next, kind, call };
                self.next = self.next.saturating_add(1);
                self.open.push(open);
                open
            }
        };
        let Some(filter) = self.filter.as_mut().filter(|_| !self.rejected) else { return Ok(()) };
        match filter.text(choice, open.part, kind, text) {
            Verdict::Pass => piece(choice, kind, call, text, sink),
            Verdict::Replace(with) if with.is_empty() => Ok(()),
            Verdict::Replace(with) => piece(choice, kind, call, &with, sink),
            Verdict::Reject(fault) => {
                self.rejected = true;
                sink(Event::Fault(fault))
            }
        }
    }

    /// The texts of a choice (or of all) are complete: what the filter held back comes now.
    fn end_of(&mut self, choice: Option<u32>, sink: Emit<'_>) -> Result<(), Broken> {
        while let Some(at) = self.open.iter().position(|open| choice.is_none_or(|choice| open.choice == choice)) {
            let open = self.open.swap_remove(at);
            let Some(filter) = self.filter.as_mut().filter(|_| !self.rejected) else { continue };
            match filter.end(open.choice, open.part, open.kind) {
                Verdict::Replace(rest) if !rest.is_empty() => piece(open.choice, open.kind, open.call, &rest, sink)?,
                Verdict::Pass | Verdict::Replace(_) => {}
                Verdict::Reject(fault) => {
                    self.rejected = true;
                    sink(Event::Fault(fault))?;
                }
            }
        }
        Ok(())
    }
}

fn piece(choice: u32, kind: TextKind, call: u32, text: &str, sink: Emit<'_>) -> Result<(), Broken> {
    sink(match kind {
        TextKind::Text => Event::Text { choice, text },
        TextKind::Refusal => Event::Refusal { choice, text },
        TextKind::Reasoning => Event::Reasoning { choice, text },
        TextKind::ToolInput => Event::ToolInput { choice, call, json: text },
    })
}
