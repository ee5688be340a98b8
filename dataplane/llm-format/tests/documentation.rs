//! docs/llm/translation.md says what the tables of the translation say. `UPDATE_GOLDEN=1` writes its tables anew.

#![allow(clippy::unwrap_used, reason = "a test that fails is meant to panic")]

use std::fmt::Write as _;
use std::path::Path;

use agentgateway_llm_format::Dialect;
use agentgateway_llm_format::fields::REFUSED;
use agentgateway_llm_format::rules::{Feature, Treatment};

fn features() -> String {
    let mut out = String::from("| part of a request |");
    Dialect::PROVIDERS.iter().for_each(|provider| write!(out, " {provider} |").unwrap());
    out.push_str("\n|---|---|---|---|---|---|\n");
    let mut reasons: Vec<&str> = Vec::new();
    for feature in Feature::ALL {
        write!(out, "| {} |", feature.as_str()).unwrap();
        for provider in Dialect::PROVIDERS {
            let mut note = |reason| {
                let known = reasons.iter().position(|known| *known == reason);
                known.unwrap_or_else(|| {
                    reasons.push(reason);
                    reasons.len() - 1
                }) + 1
            };
            match feature.treatment(provider) {
                Treatment::Translated => write!(out, " yes |").unwrap(),
                Treatment::Dropped(reason) => write!(out, " left out ({}) |", note(reason)).unwrap(),
                Treatment::Refused(reason) => write!(out, " **400** ({}) |", note(reason)).unwrap(),
            }
        }
        out.push('\n');
    }
    out.push('\n');
    for (number, reason) in reasons.iter().enumerate() {
        writeln!(out, "{}. {reason}", number + 1).unwrap();
    }
    out
}

fn fields() -> String {
    let mut out = String::from("| client's API | field | why |\n|---|---|---|\n");
    for refused in REFUSED {
        writeln!(out, "| {} | `{}` | {} |", refused.client, refused.field, refused.reason).unwrap();
    }
    out
}

#[test]
fn tables_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/llm/translation.md");
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (name, table) in [("features", features()), ("fields", fields())] {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
        let start = text.find(&begin).unwrap() + begin.len();
        let stop = text.find(&end).unwrap();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            text.replace_range(start..stop, &table);
        } else {
            assert_eq!(&text[start..stop], table, "the table of {name} in {} is another one", path.display());
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
}
