//! Every TrafficPolicy in the documentation ("```yaml kubernetes") fits its type, field by field.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::Path;

use agentgateway_crds::TrafficPolicy;
use serde_json::Value;

fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "```yaml kubernetes" {
            blocks.push(lines.by_ref().take_while(|l| l.trim() != "```").collect::<Vec<_>>().join("\n"));
        }
    }
    blocks
}

#[test]
fn every_policy_in_the_documentation_fits_its_type() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policies");
    let mut found = 0;
    for entry in fs::read_dir(folder).expect("the documentation") {
        let path = entry.expect("an entry").path();
        for block in blocks(&fs::read_to_string(&path).expect("a page")) {
            let written: Value = serde_norway::from_str(&block).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let read: TrafficPolicy =
                serde_json::from_value(written.clone()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            // A field that the type does not have would be missing here.
            let again = serde_json::to_value(&read).expect("serialises");
            assert_eq!(again.get("spec"), written.get("spec"), "{}", path.display());
            found += 1;
        }
    }
    assert!(found >= 5, "{found}");
}
