//! Names of models that clients use, and what is meant by them.

use agentgateway_proto::v1;

/// Patterns in the order in which they are tried: without `*` first, then by the length of what stands beside it.
#[derive(Debug, Default)]
pub(crate) struct Aliases(Box<[Alias]>);

#[derive(Debug)]
struct Alias {
    before: Box<str>,
    /// None: the whole name is `before`.
    after: Option<Box<str>>,
    model: Box<str>,
}

impl Aliases {
    /// # Errors
    /// A pattern is empty or has more than one `*`, or its model has one that stands for nothing.
    pub(crate) fn compile(specs: &[v1::LlmAlias]) -> Result<Aliases, String> {
        let mut all = specs.iter().map(Alias::compile).collect::<Result<Vec<_>, _>>()?;
        all.sort_by_key(|alias| (alias.after.is_some(), std::cmp::Reverse(alias.fixed())));
        Ok(Aliases(all.into()))
    }

    /// What is meant by a name, where it is an alias.
    pub(crate) fn resolve(&self, name: &str) -> Option<String> {
        self.0.iter().find_map(|alias| alias.resolve(name))
    }

    /// The names that are no patterns.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|alias| alias.after.is_none()).map(|alias| &*alias.before)
    }
}

impl Alias {
    fn compile(spec: &v1::LlmAlias) -> Result<Alias, String> {
        let v1::LlmAlias { pattern, model } = spec;
        if pattern.is_empty() || model.is_empty() {
            return Err("a model alias is empty, or means nothing".into());
        }
        let (before, after) = match pattern.split_once('*') {
            Some((before, after)) => (before, Some(after)),
            None => (pattern.as_str(), None),
        };
        if after.is_some_and(|after| after.contains('*')) || model.matches('*').count() > usize::from(after.is_some()) {
            return Err(format!(
                "model alias \"{pattern}\" -> \"{model}\": at most one * on either side, and none for a name without"
            ));
        }
        Ok(Alias { before: before.into(), after: after.map(Into::into), model: model.as_str().into() })
    }

    fn fixed(&self) -> usize {
        self.before.len().saturating_add(self.after.as_deref().map_or(0, str::len))
    }

    fn resolve(&self, name: &str) -> Option<String> {
        let Some(after) = &self.after else {
            return (name == &*self.before).then(|| self.model.to_string());
        };
        let middle = name.strip_prefix(&*self.before)?.strip_suffix(&**after)?;
        Some(self.model.replacen('*', middle, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aliases(all: &[(&str, &str)]) -> Result<Aliases, String> {
        let specs: Vec<_> =
            all.iter().map(|(p, m)| v1::LlmAlias { pattern: (*p).into(), model: (*m).into() }).collect();
        Aliases::compile(&specs)
    }

    #[test]
    fn the_most_exact_pattern_counts() {
        let all = aliases(&[("*", "any"), ("gpt-*", "openai/gpt-*"), ("gpt-4*-mini", "small"), ("gpt-4o", "exact")])
            .expect("compiles");
        for (name, expected) in
            [("gpt-4o", "exact"), ("gpt-4o-mini", "small"), ("gpt-5", "openai/gpt-5"), ("claude", "any"), ("", "any")]
        {
            assert_eq!(all.resolve(name).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(all.names().collect::<Vec<_>>(), ["gpt-4o"]);
        assert_eq!(aliases(&[("a", "b")]).expect("compiles").resolve("c"), None);
        // What stands before and after must not overlap.
        assert_eq!(aliases(&[("ab*ba", "x")]).expect("compiles").resolve("aba"), None);
    }

    #[test]
    fn stars_that_mean_nothing_are_refused() {
        for wrong in [("a*b*", "x"), ("a", "b*"), ("a*", "b**"), ("", "x"), ("x", "")] {
            assert!(aliases(&[wrong]).is_err(), "{wrong:?}");
        }
    }
}
