//! Golden files: each folder in `tests/golden` holds the objects of a case and what the translator makes of them.
//!
//! `UPDATE_GOLDEN=1 cargo test -p agentgateway-controlplane-translate --test golden` writes the expectations; review them by
//! eye. An input whose first line is `# base` has the objects of `base.yaml` too, with `# base certificates` those of
//! `certificates.yaml` as well.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use agentgateway_controlplane_translate::{Change, Settings, Translator};
use support::{apply, at, by_key, final_state, run};

#[test]
fn every_case_gives_what_is_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    let mut cases = 0;
    for case in support::cases(&folder) {
        cases += 1;
        let printed = serde_norway::to_string(&run(&case)).expect("YAML");
        let path = folder.join(&case.name).join("expected.yaml");
        if update {
            std::fs::write(&path, &printed).expect("writes");
            continue;
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if expected != printed {
            wrong.push(format!("{}: {}", case.name, first_difference(&expected, &printed)));
        }
    }
    assert!(cases >= 20, "only {cases} cases were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Objects come in any order: one by one forwards and backwards must end as all at once does.
#[test]
fn the_order_of_arrival_does_not_matter() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for case in support::cases(&folder) {
        let expected = run(&case);
        let mut forwards: Vec<_> = case.objects.clone();
        for direction in ["forwards", "backwards"] {
            let mut translator = Translator::new(Settings::default());
            let mut outputs = Vec::new();
            let mut known = BTreeMap::new();
            for object in &forwards {
                known.insert(object.key(), object.clone());
                outputs.extend(apply(&mut translator, [Change::set(object.clone())], &known, 0));
            }
            outputs.extend(case.reject(&mut translator));
            assert_eq!(final_state(&translator, &outputs), expected, "{} {direction}", case.name);
            forwards.reverse();
        }
    }
}

/// An object that comes again as it was must not cause a thing.
#[test]
fn what_comes_again_unchanged_costs_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for case in support::cases(&folder) {
        let mut translator = Translator::new(Settings::default());
        apply(&mut translator, case.objects.iter().cloned().map(Change::set), &by_key(&case.objects), 0);
        let before = translator.counters();
        let output = translator.apply(case.objects.iter().cloned().map(Change::set), &at(1));
        assert_eq!(translator.counters(), before, "{}", case.name);
        assert!(output.snapshots.is_empty() && output.workloads.is_empty(), "{}", case.name);
    }
}

/// Statuses that come back with their objects are not written again, and nothing is pending then.
#[test]
fn a_status_that_came_back_is_not_written_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for case in support::cases(&folder) {
        let mut translator = Translator::new(Settings::default());
        let outputs = apply(&mut translator, case.objects.iter().cloned().map(Change::set), &by_key(&case.objects), 0);
        let statuses: BTreeMap<_, _> =
            outputs.iter().flat_map(|output| &output.statuses).map(|update| (&update.key, update)).collect();
        let returned: Vec<Change> = statuses.into_values().map(|update| case.with_status(update)).collect();
        let second = translator.apply(returned, &at(60));
        assert_eq!(second.statuses, [], "{}", case.name);
        assert_eq!(translator.pending_statuses(), [], "{}", case.name);
    }
}

fn first_difference(expected: &str, printed: &str) -> String {
    let lines = expected.lines().zip(printed.lines()).enumerate().find(|(_, (a, b))| a != b);
    match lines {
        Some((line, (expected, printed))) => format!("line {}: expected {expected:?}, got {printed:?}", line + 1),
        None => "one is longer than the other".to_owned(),
    }
}
