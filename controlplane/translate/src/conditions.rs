//! Conditions: ours are set, those of other controllers are kept, times change only with the status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// A condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) condition: &'static str,
    pub(crate) holds: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Verdict {
    pub(crate) fn yes(condition: &'static str, reason: &'static str, message: impl Into<String>) -> Verdict {
        Verdict { condition, holds: true, reason, message: message.into() }
    }

    pub(crate) fn no(condition: &'static str, reason: &'static str, message: impl Into<String>) -> Verdict {
        Verdict { condition, holds: false, reason, message: message.into() }
    }
}

/// Longest message that the API server takes in a condition.
const MOST_MESSAGE_BYTES: usize = 32768;

/// The clock and the generation of the object that conditions are about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) now: &'a Time,
    pub(crate) generation: Option<i64>,
}

/// The conditions `held`, with `verdicts` in them. `ours` are the types that are ours to set; those without a verdict go away.
/// `given` is what was given out last and has not come back yet: its times count as well.
pub(crate) fn merge(
    held: &[Condition],
    given: &[Condition],
    verdicts: &[Verdict],
    ours: &[&str],
    at: Moment<'_>,
) -> Vec<Condition> {
    let find = |kind: &str| verdicts.iter().find(|v| v.condition == kind);
    let mut merged: Vec<Condition> = Vec::with_capacity(held.len().max(verdicts.len()));
    for condition in held {
        match find(&condition.type_) {
            Some(verdict) if !merged.iter().any(|c| c.type_ == verdict.condition) => {
                merged.push(make(verdict, held, given, at));
            }
            None if !ours.contains(&condition.type_.as_str()) => merged.push(condition.clone()),
            Some(_) | None => {}
        }
    }
    for verdict in verdicts {
        if !merged.iter().any(|c| c.type_ == verdict.condition) {
            merged.push(make(verdict, held, given, at));
        }
    }
    merged
}

fn make(verdict: &Verdict, held: &[Condition], given: &[Condition], at: Moment<'_>) -> Condition {
    let status = if verdict.holds { "True" } else { "False" };
    let same = |c: &&Condition| c.type_ == verdict.condition && c.status == status;
    let since = held.iter().find(same).or_else(|| given.iter().find(same)).map(|c| c.last_transition_time.clone());
    let cut = verdict.message.floor_char_boundary(MOST_MESSAGE_BYTES);
    Condition {
        type_: verdict.condition.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.to_owned(),
        message: verdict.message.get(..cut).unwrap_or_default().to_owned(),
        observed_generation: at.generation,
        last_transition_time: since.unwrap_or_else(|| at.now.clone()),
    }
}

/// Whether two lists of conditions say the same, in any order.
pub(crate) fn same(a: &[Condition], b: &[Condition]) -> bool {
    a.len() == b.len() && a.iter().all(|c| b.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    fn time(seconds: i64) -> Time {
        Time(Timestamp::from_second(seconds).expect("in range"))
    }

    fn run(held: &[Condition], verdicts: &[Verdict], second: i64) -> Vec<Condition> {
        let now = time(second);
        merge(held, &[], verdicts, &["Accepted", "Programmed"], Moment { now: &now, generation: Some(second) })
    }

    #[test]
    fn times_change_with_the_status_alone() {
        let first = run(&[], &[Verdict::yes("Accepted", "Accepted", "a")], 1);
        let again = run(&first, &[Verdict::yes("Accepted", "Accepted", "b")], 2);
        assert_eq!((again[0].last_transition_time.clone(), again[0].observed_generation), (time(1), Some(2)));
        let turned = run(&again, &[Verdict::no("Accepted", "Invalid", "c")], 3);
        assert_eq!(turned[0].last_transition_time, time(3));
    }

    #[test]
    fn conditions_of_others_stay_and_ours_without_a_verdict_go() {
        let mut held = run(&[], &[Verdict::yes("Programmed", "Programmed", "")], 1);
        held.push(Condition { type_: "example.com/Seen".into(), ..held[0].clone() });
        let merged = run(&held, &[Verdict::yes("Accepted", "Accepted", "")], 2);
        let types: Vec<_> = merged.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(types, ["example.com/Seen", "Accepted"]);
    }
}
