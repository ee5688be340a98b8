//! Names of listeners and routes: given or numbered, and unique in the file.

use std::collections::HashMap;

use agentgateway_types::Path;

use crate::diagnostic::Report;

/// Names that are in use.
#[derive(Default)]
pub(super) struct Names {
    listeners: HashMap<String, Path>,
    listener_count: usize,
    routes: HashMap<String, Rules>,
    route_count: usize,
}

/// The rules of one route name.
#[derive(Default)]
struct Rules {
    count: u32,
    named: HashMap<String, Path>,
}

impl Names {
    pub(super) fn listener(&mut self, name: Option<&str>, at: &Path, report: &mut Report<'_>) -> String {
        let name = name.map_or_else(|| format!("listener{}", self.listener_count), str::to_owned);
        self.listener_count += 1;
        let at = at.clone().key("name");
        check(&name, &at, report);
        if let Some(first) = self.listeners.insert(name.clone(), at.clone()) {
            let line = report.line(&first);
            report.error(&at, format!("a listener {name:?} is already defined in line {line}"));
        }
        name
    }

    /// The route's name, and its number among those that share it by having rule names.
    pub(super) fn route(
        &mut self,
        name: Option<&str>,
        rule: Option<&str>,
        at: &Path,
        report: &mut Report<'_>,
    ) -> (String, u32) {
        let name = name.map_or_else(|| format!("route{}", self.route_count), str::to_owned);
        self.route_count += 1;
        check(&name, &at.clone().key("name"), report);
        let rules = self.routes.entry(name.clone()).or_default();
        let rule = rule.unwrap_or_default().to_owned();
        if let Some(first) = rules.named.insert(rule.clone(), at.clone()) {
            let line = report.line(&first);
            let message = if rule.is_empty() {
                format!(
                    "a route {name:?} is already defined in line {line}; routes that share a name need each a ruleName"
                )
            } else {
                format!("a route {name:?} with the rule {rule:?} is already defined in line {line}")
            };
            report.error(&at.clone().key("name"), message);
        }
        rules.count += 1;
        (name, rules.count - 1)
    }

    /// The place of the latest route in the file, from 1.
    pub(super) fn position(&self) -> i64 {
        i64::try_from(self.route_count).unwrap_or(i64::MAX)
    }
}

/// Keys are joined by '/', so no name may hold one.
fn check(name: &str, at: &Path, report: &mut Report<'_>) {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || name.len() > 253 || !name.bytes().all(allowed) {
        report.error(at, format!("{name:?} is not a name: letters, digits, '-', '_' and '.'"));
    }
}
