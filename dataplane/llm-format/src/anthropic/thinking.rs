//! How Claude is told to think, on all platforms that serve it.

use crate::json::Writer;
use crate::neutral::{Content, Effort, Maker, Prompt, Side, ToolMode};

/// Least tokens of a budget.
const MIN_BUDGET: u64 = 1024;

/// Tokens of an answer where the client sets no limit: this API wants one. All current models give as much.
pub(crate) const DEFAULT_MAX_TOKENS: u64 = 8192;

/// What is said about thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thinking {
    /// Nothing: the model's default.
    Unsaid,
    Off,
    /// With a budget in tokens: models up to Claude 4.5.
    Budget(u64),
    /// As much as the model finds right, within an effort.
    Adaptive,
}

/// Generation of a model of Claude, from its name at Anthropic, Vertex AI or Bedrock; none where the name does not tell, which
/// is taken for a new one.
fn generation(model: &str) -> Option<(u32, u32)> {
    let (_, name) = model.split_once("claude-")?;
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    // Longer numbers are dates.
    let number = |word: &str| word.parse::<u32>().ok().filter(|_| word.len() <= 2);
    let major = words.find_map(number)?;
    Some((major, words.next().and_then(number).unwrap_or(0)))
}

fn before(model: &str, limit: (u32, u32)) -> bool {
    generation(model).is_some_and(|generation| generation < limit)
}

/// Whether a model is told to think by a budget: the generations before thinking became adaptive.
fn takes_budget(model: &str) -> bool {
    before(model, (4, 6))
}

/// Whether a model takes an effort.
pub(crate) fn takes_effort(model: &str) -> bool {
    !takes_budget(model) || model.contains("claude-opus-4-5")
}

/// Takes out settings of sampling that a model of Claude refuses: the second of temperature and `top_p` from generation 4 on,
/// all of them from 4.7 on, and all beside thinking. Tells which.
pub(crate) fn limit_sampling(prompt: &mut Prompt<'_>, model: &str) -> Vec<&'static str> {
    let none = !before(model, (4, 7)) || matches!(choose(prompt, model).0, Thinking::Budget(_) | Thinking::Adaptive);
    let second = !before(model, (4, 0)) && prompt.temperature.is_some();
    let mut dropped = Vec::new();
    if none && prompt.temperature.take().is_some() {
        dropped.push("temperature");
    }
    if (none || second) && prompt.top_p.take().is_some() {
        dropped.push("top_p");
    }
    if none && prompt.top_k.take().is_some() {
        dropped.push("top_k");
    }
    dropped
}

/// What to say, and the limit of the answer with it.
pub(crate) fn choose(prompt: &Prompt<'_>, model: &str) -> (Thinking, u64) {
    let limit = prompt.max_tokens;
    let plain = limit.unwrap_or(DEFAULT_MAX_TOKENS);
    let Some(reasoning) = prompt.reasoning else { return (Thinking::Unsaid, plain) };
    if !takes_budget(model) {
        // Some of these refuse to be told not to think; without a word they do not, or little.
        return (if reasoning.is_off() { Thinking::Unsaid } else { Thinking::Adaptive }, plain);
    }
    if reasoning.is_off() {
        return (Thinking::Off, plain);
    }
    // With a forced tool, or where a turn of tool calls has lost its signed reasoning, these models refuse to think.
    let forced = prompt.tool_choice.as_ref().is_some_and(|choice| choice.mode == ToolMode::Required);
    if forced || lost_reasoning(prompt) {
        return (Thinking::Unsaid, plain);
    }
    let Some(budget) = reasoning.budget() else { return (Thinking::Unsaid, plain) };
    let budget = budget.max(MIN_BUDGET);
    match limit {
        None => (Thinking::Budget(budget), budget.saturating_add(DEFAULT_MAX_TOKENS)),
        // The budget is part of the limit, and less; one that was only derived leaves a fifth for the answer.
        Some(limit) if limit > MIN_BUDGET => {
            let most = if reasoning.budget.is_some() { limit.saturating_sub(1) } else { limit / 5 * 4 };
            (Thinking::Budget(budget.min(most).max(MIN_BUDGET)), limit)
        }
        Some(limit) => (Thinking::Unsaid, limit),
    }
}

/// The last turn of the model called tools and does not begin with reasoning that Anthropic signed.
fn lost_reasoning(prompt: &Prompt<'_>) -> bool {
    let Some(turn) = prompt.turns.iter().rev().find(|turn| turn.side == Side::Assistant) else { return false };
    let calls = turn.parts.iter().any(|part| matches!(part.content, Content::ToolCall { .. }));
    let ours = |maker| maker == Maker::Anthropic;
    let signed = turn.parts.iter().map_while(|part| match &part.content {
        Content::Reasoning { signature, .. } => Some(signature.as_ref().is_some_and(|signature| ours(signature.maker))),
        Content::Redacted(signature) => Some(ours(signature.maker)),
        _ => None,
    });
    let signed = signed.into_iter().any(|signed| signed);
    calls && !signed
}

/// The members that say it.
pub(crate) fn write(thinking: Thinking, show: Option<bool>, w: &mut Writer<'_>) {
    if thinking == Thinking::Unsaid {
        return;
    }
    w.key("thinking").object(|w| match thinking {
        Thinking::Unsaid => {}
        Thinking::Off => w.key("type").string("disabled"),
        Thinking::Budget(budget) => {
            w.key("type").string("enabled");
            w.key("budget_tokens").u64(budget);
        }
        Thinking::Adaptive => {
            w.key("type").string("adaptive");
            if let Some(show) = show {
                w.key("display").string(if show { "summarized" } else { "omitted" });
            }
        }
    });
}

pub(crate) fn effort_word(effort: Effort) -> Option<&'static str> {
    Some(match effort {
        Effort::None => return None,
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::ExtraHigh => "xhigh",
        Effort::Max => "max",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_of_models() {
        for (model, expected) in [
            ("claude-3-7-sonnet-20250219", Some((3, 7))),
            ("claude-3-opus-20240229", Some((3, 0))),
            ("anthropic.claude-sonnet-4-20250514-v1:0", Some((4, 0))),
            ("claude-opus-4-1-20250805", Some((4, 1))),
            ("us.anthropic.claude-haiku-4-5-20251001-v1:0", Some((4, 5))),
            ("claude-sonnet-4@20250514", Some((4, 0))),
            ("anthropic.claude-opus-4-7-v1", Some((4, 7))),
            ("claude-sonnet-5", Some((5, 0))),
            ("claude-opus-latest", None),
            ("amazon.nova-pro-v1:0", None),
        ] {
            assert_eq!(generation(model), expected, "{model}");
        }
        assert!(takes_effort("claude-opus-4-5-20251101") && !takes_effort("claude-sonnet-4-5"));
        assert!(takes_effort("claude-opus-latest") && takes_effort("claude-opus-4-6"));
    }

    #[test]
    fn sampling_that_a_model_refuses_is_left_out() {
        let number = || serde_json::Number::from_f64(0.5);
        for (model, expected) in [
            ("claude-3-5-haiku-20241022", vec![]),
            ("claude-sonnet-4-5", vec!["top_p"]),
            ("claude-opus-4-7", vec!["temperature", "top_p", "top_k"]),
        ] {
            let mut prompt =
                Prompt { temperature: number(), top_p: number(), top_k: Some(4.into()), ..Prompt::default() };
            assert_eq!(limit_sampling(&mut prompt, model), expected, "{model}");
        }
    }
}
