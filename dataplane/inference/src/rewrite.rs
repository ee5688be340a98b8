//! Other names for the models that requests ask for, shared out by weight.

use agentgateway_proto::v1;
use bytes::{Bytes, BytesMut};

use crate::prompt::Prompt;

/// The rewrites of a pool. Those of one model come before those of all.
#[derive(Debug, Default)]
pub(crate) struct Rewrites(Vec<Rewrite>);

#[derive(Debug)]
struct Rewrite {
    /// None: every model.
    model: Option<String>,
    targets: Vec<(u64, String)>,
    total: u64,
}

impl Rewrites {
    pub(crate) fn compile(config: &[v1::ModelRewrite]) -> Result<Rewrites, String> {
        let one = |rewrite: &v1::ModelRewrite| {
            let targets: Vec<_> = rewrite.targets.iter().map(|t| (u64::from(t.weight), t.model.clone())).collect();
            let total: u64 = targets.iter().map(|(weight, _)| weight).sum();
            if total == 0 {
                return Err(format!("the rewrite of model {:?} has no target with a weight", rewrite.model));
            }
            Ok(Rewrite { model: Some(rewrite.model.clone()).filter(|model| !model.is_empty()), targets, total })
        };
        let mut all = config.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        all.sort_by_key(|rewrite| rewrite.model.is_none());
        Ok(Rewrites(all))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name for a model. `random` is any number.
    pub(crate) fn of(&self, model: &str, random: u64) -> Option<&str> {
        let rewrite = self.0.iter().find(|r| r.model.as_deref().is_none_or(|wanted| wanted == model))?;
        let mut at = u64::try_from((u128::from(random) * u128::from(rewrite.total)) >> 64).unwrap_or_default();
        for (weight, target) in &rewrite.targets {
            if at < *weight {
                return Some(target);
            }
            at -= weight;
        }
        None
    }
}

/// The body with another model, and where things are in it.
pub(crate) fn with_model(body: &Bytes, prompt: &Prompt, model: &str) -> Option<Bytes> {
    let range = prompt.model.clone()?;
    let (before, after) = (body.get(..range.start)?, body.get(range.end..)?);
    let escaped = escape(model);
    let mut changed = BytesMut::with_capacity(before.len() + escaped.len() + after.len());
    changed.extend_from_slice(before);
    changed.extend_from_slice(escaped.as_bytes());
    changed.extend_from_slice(after);
    Some(changed.freeze())
}

/// As the inside of a JSON string.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            c if c < ' ' => escaped.push_str(&format!("\\u{:04x}", c as u32)),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(model: &str, targets: &[(&str, u32)]) -> v1::ModelRewrite {
        let target =
            |(model, weight): &(&str, u32)| v1::model_rewrite::Target { model: (*model).into(), weight: *weight };
        v1::ModelRewrite { model: model.into(), targets: targets.iter().map(target).collect() }
    }

    #[test]
    fn one_model_outranks_every_model_and_weights_share() {
        let all = [rewrite("", &[("rest", 1)]), rewrite("a", &[("a1", 3), ("a2", 1)])];
        let rewrites = Rewrites::compile(&all).expect("compiles");
        assert_eq!(
            (rewrites.of("a", 0), rewrites.of("a", u64::MAX), rewrites.of("b", 9)),
            (Some("a1"), Some("a2"), Some("rest"))
        );
        assert_eq!(rewrites.of("a", u64::MAX / 4 * 3 - 9), Some("a1"));
        assert!(Rewrites::compile(&[rewrite("a", &[("b", 0)])]).is_err());
        assert_eq!(Rewrites::default().of("a", 0), None);
    }

    #[test]
    fn only_the_model_changes() {
        let body = Bytes::from_static(br#"{"a":{"model":"x"},"model" : "x", "messages":[]}"#);
        let changed = with_model(&body, &Prompt::find(&body), "y\"\n").expect("has a model");
        assert_eq!(&changed[..], br#"{"a":{"model":"x"},"model" : "y\"\u000a", "messages":[]}"#);
        assert!(with_model(&body, &Prompt::default(), "y").is_none());
    }
}
