//! Rules, compiled.

use std::fmt;
use std::sync::Arc;

use regex::Regex;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input, MatchKind};

use crate::builtin::{Builtin, Detector};
use crate::limits::{MAX_CACHE, MAX_PROGRAM, MAX_RULES};
use crate::masker::Masker;
use crate::{Error, check};

/// What a rule looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// A regular expression, in the syntax of Rust's regex crate.
    Expression(String),
    /// A detector.
    Builtin(Builtin),
}

/// What is done about a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// This text stands in its place.
    Mask(String),
    /// The whole text is refused.
    Reject,
}

/// One thing that must not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, for logs and errors.
    pub name: String,
    /// What it looks for.
    pub pattern: Pattern,
    /// What is done.
    pub action: Action,
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was found.
    Clean,
    /// The text with masks, and how many there are.
    Masked(String, usize),
    /// The name of the rule that refuses it.
    Rejected(Arc<str>),
}

pub(crate) struct Compiled {
    pub(crate) name: Arc<str>,
    pub(crate) regex: Regex,
    /// `None` refuses.
    pub(crate) mask: Option<Arc<str>>,
    pub(crate) is: fn(&str) -> bool,
    pub(crate) number: bool,
    pub(crate) until: Option<Regex>,
}

/// Compiled rules; cheap to clone, shared by threads.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

type MakeCache = Box<dyn Fn() -> Cache + Send + Sync>;

struct Inner {
    rules: Vec<Compiled>,
    /// All expressions at once: tells whether a match may begin at a place and go on.
    alive: DFA,
    caches: Pool<Cache, MakeCache>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.rules.iter().map(|rule| &rule.name)).finish()
    }
}

/// What is known of a place where a match may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// No match begins here, whatever follows.
    Dead,
    /// One may; it is certain which once more is known.
    Alive,
    /// One does, and nothing that follows makes it longer.
    Matched,
}

impl Guard {
    /// Compiles rules. Where two match at one place, the longer match counts, then the earlier rule.
    ///
    /// # Errors
    /// An expression is wrong, too large, or matches the empty text.
    pub fn compile(rules: &[Rule]) -> Result<Guard, Error> {
        if rules.len() > MAX_RULES {
            return Err(Error::TooMany);
        }
        let mut compiled = Vec::new();
        let mut expressions: Vec<&str> = Vec::new();
        for rule in rules {
            let own;
            let detectors = match &rule.pattern {
                Pattern::Builtin(builtin) => builtin.detectors(),
                Pattern::Expression(_) => {
                    own = [Detector { expression: "", is: check::any, number: false, until: None }];
                    &own
                }
            };
            for detector in detectors {
                let expression = match &rule.pattern {
                    Pattern::Expression(expression) => expression,
                    Pattern::Builtin(_) => detector.expression,
                };
                let regex = regex(&rule.name, expression)?;
                if regex.is_match("") {
                    return Err(Error::Empty(rule.name.clone()));
                }
                expressions.push(expression);
                compiled.push(Compiled {
                    name: rule.name.as_str().into(),
                    regex,
                    mask: match &rule.action {
                        Action::Mask(with) => Some(with.as_str().into()),
                        Action::Reject => None,
                    },
                    is: detector.is,
                    number: detector.number,
                    until: detector.until.map(|until| self::regex(&rule.name, until)).transpose()?,
                });
            }
        }
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .unicode_word_boundary(true)
            .cache_capacity(MAX_CACHE)
            .skip_cache_capacity_check(true);
        let alive = DFA::builder().configure(config).build_many(&expressions);
        let alive = alive.map_err(|error| Error::TooLarge(error.to_string()))?;
        let dfa = alive.clone();
        let caches: MakeCache = Box::new(move || dfa.create_cache());
        Ok(Guard(Arc::new(Inner { rules: compiled, alive, caches: Pool::new(caches) })))
    }

    /// Looks at a whole text.
    pub fn check(&self, text: &str) -> Outcome {
        let mut masker = self.masker();
        let step = masker.whole(text);
        match step.rejected {
            Some(rule) => Outcome::Rejected(rule),
            None if step.masked == 0 => Outcome::Clean,
            None => Outcome::Masked(step.text, step.masked),
        }
    }

    /// Takes one text piece by piece.
    pub fn masker(&self) -> Masker {
        Masker::new(self.clone())
    }

    pub(crate) fn rules(&self) -> &[Compiled] {
        &self.0.rules
    }

    /// The first place from `from` on where a match may begin whose end is not known yet (the length of the text where there is
    /// none), and whether a match begins before it.
    pub(crate) fn open_from(&self, text: &str, from: usize) -> (usize, bool) {
        let mut cache = self.0.caches.get();
        let mut matched = false;
        for (offset, _) in text.get(from..).unwrap_or_default().char_indices() {
            let at = from.saturating_add(offset);
            match self.start(&mut cache, text, at) {
                Start::Alive => return (at, matched),
                Start::Matched => matched = true,
                Start::Dead => {}
            }
        }
        (text.len(), matched)
    }

    fn start(&self, cache: &mut Cache, text: &str, at: usize) -> Start {
        let dfa = &self.0.alive;
        let input = Input::new(text).range(at..).anchored(Anchored::Yes);
        // What cannot be known counts as what may still match: it is held back, not let go.
        let Ok(mut state) = dfa.start_state_forward(cache, &input) else { return Start::Alive };
        let mut found = Start::Dead;
        for byte in text.as_bytes().get(at..).unwrap_or_default() {
            let Ok(next) = dfa.next_state(cache, state, *byte) else { return Start::Alive };
            if next.is_tagged() {
                if next.is_dead() {
                    return found;
                }
                if next.is_quit() {
                    return Start::Alive;
                }
                if next.is_match() {
                    found = Start::Matched;
                }
            }
            state = next;
        }
        Start::Alive
    }
}

fn regex(rule: &str, expression: &str) -> Result<Regex, Error> {
    regex::RegexBuilder::new(expression)
        .size_limit(MAX_PROGRAM)
        .build()
        .map_err(|error| Error::Expression { rule: rule.to_owned(), reason: error.to_string() })
}
