//! A rule of a route of any kind, and what it means for the route's conditions.
//!
//! A rule that asks for what is not supported is not left out, which would hand its requests to less specific rules: its
//! requests are answered with 500, its connections refused, and a condition says why.

use std::collections::BTreeSet;

use agentgateway_convert::Error;
use agentgateway_proto::v1;
use agentgateway_types::Path;

use crate::conditions::Verdict;
use crate::unit::BackendUnit;

/// A rule, as all listeners get it.
#[derive(Debug, Default)]
pub(super) struct Rule {
    pub(super) index: u32,
    pub(super) name: String,
    /// The matches that can be used, each with its place in the spec; of HTTP alone.
    pub(super) matches: Vec<(u32, v1::RouteMatch)>,
    pub(super) policies: Vec<v1::PolicySpec>,
    pub(super) backends: Vec<v1::RouteBackend>,
    pub(super) used: BTreeSet<BackendUnit>,
    /// Whether all its requests are answered with 500.
    pub(super) refused: bool,
    /// Whether a filter names what does not exist: then they are, too.
    pub(super) broken: bool,
    pub(super) problems: Vec<Problem>,
    pub(super) unresolved: Vec<Problem>,
}

/// Something that a rule asks for and that is not to be had, or a reference that does not resolve: a reason for a condition,
/// and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Problem {
        Problem { reason, message: message.into() }
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Problem {
        Problem::new("UnsupportedValue", message)
    }

    /// A value that cannot be converted, in the object at `at`.
    pub(super) fn wrong(at: Path, error: Error) -> Problem {
        Problem::unsupported(error.within(at).to_string())
    }
}

impl Rule {
    /// A rule of the place `index`.
    pub(super) fn at(index: usize, name: Option<&String>) -> Rule {
        Rule { index: place(index), name: name.cloned().unwrap_or_default(), ..Rule::default() }
    }

    /// Its path in the spec.
    pub(super) fn path(&self) -> Path {
        Path::of("spec.rules").index(usize::try_from(self.index).unwrap_or_default())
    }

    /// Ends the rule: one with a problem refuses everything.
    pub(super) fn finish(mut self) -> Rule {
        self.refused = self.broken || !self.problems.is_empty();
        if self.refused {
            self.policies.clear();
            self.used.clear();
            self.backends = vec![v1::RouteBackend { weight: 1, ..v1::RouteBackend::default() }];
        }
        self
    }
}

/// A place in a list, as messages carry it.
pub(super) fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// A weight, as routes write it.
pub(super) fn weight(written: Option<i32>) -> u32 {
    written.map_or(1, |weight| u32::try_from(weight).unwrap_or_default())
}

/// Accepted, PartiallyInvalid and ResolvedRefs, as far as the rules decide them.
pub(super) fn verdicts(rules: &[Rule], wants_default_gateways: bool) -> Vec<Verdict> {
    let problems: Vec<&Problem> = rules.iter().flat_map(|rule| &rule.problems).collect();
    let whole = rules.iter().filter(|rule| !rule.problems.is_empty()).count();
    let told = |problems: &[&Problem]| problems.iter().map(|p| p.message.as_str()).collect::<Vec<_>>().join("; ");
    let accepted = |message: &str| {
        let remark = if wants_default_gateways { "; spec.useDefaultGateways has no effect" } else { "" };
        Verdict::yes("Accepted", "Accepted", format!("{message}{remark}"))
    };
    let mut verdicts = Vec::new();
    match problems.first() {
        None => verdicts.push(accepted("the route is valid")),
        Some(first) if whole == rules.len() => {
            verdicts.push(Verdict::no("Accepted", first.reason, told(&problems)));
        }
        Some(first) => {
            verdicts.push(accepted("the route is valid in part"));
            // The specification wants the message to begin so.
            let message = format!("Dropped Rule: requests get the answer 500 where {}", told(&problems));
            verdicts.push(Verdict::yes("PartiallyInvalid", first.reason, message));
        }
    }
    let unresolved: Vec<&Problem> = rules.iter().flat_map(|rule| &rule.unresolved).collect();
    verdicts.push(match unresolved.first() {
        None => Verdict::yes("ResolvedRefs", "ResolvedRefs", "all references are resolved"),
        Some(first) => Verdict::no("ResolvedRefs", first.reason, told(&unresolved)),
    });
    verdicts
}
