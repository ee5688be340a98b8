//! Which endpoint a request gets, as a function: states of endpoints in, choice out. No I/O, no clock, no locks.
//!
//! Names and defaults are those of llm-d's EndpointPickerConfig. Scorers give each endpoint from 0 to 1; the sum of these, each
//! times its weight, decides.

mod scorer;
mod select;

use agentgateway_proto::v1;
use smallvec::SmallVec;

pub use scorer::{Scorer, ScorerKind};
pub use select::Select;

/// The state of one endpoint as a choice sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    /// Requests that wait there, those included that were sent since it said so.
    pub waiting: f32,
    /// Requests in its batch.
    pub running: f32,
    /// Part of its KV cache that is in use, from 0 to 1.
    pub kv_usage: f32,
    /// Whether what it says of itself is of now. Else `waiting` and `running` are what this proxy knows, and scores that stand on
    /// them count half: it is neither trusted nor left out for ever.
    pub fresh: bool,
    /// How well it can serve the request's adapter.
    pub lora: Lora,
    /// Requests of this proxy that it has not answered yet.
    pub in_flight: u32,
    /// Tokens of these: those of the prompts and of the answers.
    pub tokens: u64,
    /// Leading blocks of the prompt that it has.
    pub matched_blocks: u32,
    /// Whether the request's session is there.
    pub has_session: bool,
}

/// How well an endpoint can serve the request's LoRA adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lora {
    /// It is in the batch, or the request wants none.
    #[default]
    Active,
    /// It can be loaded.
    HasRoom,
    /// It waits to be loaded.
    Waiting,
    /// Neither.
    Full,
}

/// Endpoints that are chosen for a request, where the configuration says nothing.
const DEFAULT_ENDPOINTS: usize = 3;

/// What was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Indexes of the candidates, the best first.
    pub order: SmallVec<[usize; 4]>,
    /// The sum of the first one's scores.
    pub score: f32,
    /// The scorer that told the first one most from the others; None where nothing did.
    pub decided_by: Option<ScorerKind>,
}

/// Vectors that are used again for the next choice of the thread.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Filled by the caller.
    pub candidates: Vec<Candidate>,
    sums: Vec<f32>,
    scores: Vec<f32>,
}

/// A compiled scheduling profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    scorers: Vec<Scorer>,
    select: Select,
    most: usize,
}

impl Default for Profile {
    /// What a pool without a configuration gets.
    fn default() -> Profile {
        let scorer = |kind, weight| Scorer { kind, weight, threshold: 0 };
        Profile {
            scorers: vec![
                scorer(ScorerKind::Queue, 2.0),
                scorer(ScorerKind::KvCacheUtilization, 2.0),
                scorer(ScorerKind::PrefixCache, 3.0),
                scorer(ScorerKind::LoraAffinity, 1.0),
                scorer(ScorerKind::ActiveRequest, 2.0),
            ],
            select: Select::MaxScore,
            most: DEFAULT_ENDPOINTS,
        }
    }
}

impl Profile {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// What this release does not know.
    pub fn compile(config: &v1::InferencePicker) -> Result<Profile, String> {
        let scorers = config.scorers.iter().map(Scorer::compile).collect::<Result<_, _>>()?;
        let most = match config.max_endpoints {
            0 => DEFAULT_ENDPOINTS,
            most => usize::try_from(most).unwrap_or(usize::MAX),
        };
        Ok(Profile { scorers, select: Select::compile(config.choice)?, most })
    }

    /// Whether a scorer of this kind is asked.
    pub fn uses(&self, kind: ScorerKind) -> bool {
        self.scorers.iter().any(|scorer| scorer.kind == kind)
    }

    /// Chooses among `scratch.candidates`; None where there is none. `blocks` are those of the prompt, `random` gives any number.
    pub fn choose(&self, scratch: &mut Scratch, blocks: u32, random: &mut dyn FnMut() -> u64) -> Option<Choice> {
        let Scratch { candidates, sums, scores } = scratch;
        if candidates.is_empty() {
            return None;
        }
        sums.clear();
        sums.resize(candidates.len(), 0.0);
        if self.select != Select::Random {
            for scorer in &self.scorers {
                scorer.score(candidates, blocks, scores);
                for (sum, score) in sums.iter_mut().zip(scores.iter()) {
                    *sum += scorer.weight * score;
                }
            }
        }
        let order = self.select.order(sums, self.most, random);
        let first = *order.first()?;
        let score = sums.get(first).copied().unwrap_or_default();
        let decided_by =
            if self.select == Select::Random { None } else { self.decisive(candidates, blocks, scores, first) };
        Some(Choice { order, score, decided_by })
    }

    /// The scorer by which the chosen one stands out most from the average.
    fn decisive(
        &self,
        candidates: &[Candidate],
        blocks: u32,
        scores: &mut Vec<f32>,
        first: usize,
    ) -> Option<ScorerKind> {
        let mut best = (0.0, None);
        for scorer in &self.scorers {
            scorer.score(candidates, blocks, scores);
            let average = scores.iter().sum::<f32>() / scores.len().max(1) as f32;
            let lead = scorer.weight * (scores.get(first).copied().unwrap_or_default() - average);
            if lead > best.0 + f32::EPSILON {
                best = (lead, Some(scorer.kind));
            }
        }
        best.1
    }

    /// The scores of one candidate, for who asks why it was chosen.
    pub fn explain(&self, scratch: &mut Scratch, blocks: u32, at: usize) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        for scorer in &self.scorers {
            scorer.score(&scratch.candidates, blocks, &mut scratch.scores);
            let score = scratch.scores.get(at).copied().unwrap_or_default();
            let separator = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{separator}{}={score:.2}*{}", scorer.kind.name(), scorer.weight);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(profile: &Profile, candidates: Vec<Candidate>, blocks: u32) -> Choice {
        let mut scratch = Scratch { candidates, ..Scratch::default() };
        profile.choose(&mut scratch, blocks, &mut || 0).expect("a choice")
    }

    fn fresh() -> Candidate {
        Candidate { fresh: true, ..Candidate::default() }
    }

    #[test]
    fn a_cached_prefix_decides_among_equals_and_load_against_it() {
        let profile = Profile::default();
        let all = vec![fresh(), Candidate { matched_blocks: 10, ..fresh() }, fresh()];
        let choice = choose(&profile, all.clone(), 10);
        assert_eq!((choice.order.to_vec(), choice.decided_by), (vec![1, 0, 2], Some(ScorerKind::PrefixCache)));
        let busy = Candidate { matched_blocks: 10, waiting: 50.0, kv_usage: 0.99, in_flight: 60, ..fresh() };
        let choice = choose(&profile, vec![all[0].clone(), busy, all[2].clone()], 10);
        assert_ne!(choice.order[0], 1, "a queue is worse than to read the prompt again");
    }

    #[test]
    fn there_is_a_choice_as_long_as_there_is_an_endpoint() {
        let profile = Profile::default();
        assert!(profile.choose(&mut Scratch::default(), 0, &mut || 7).is_none());
        let stale = Candidate::default();
        assert_eq!(choose(&profile, vec![stale.clone()], 0).order.to_vec(), [0]);
        let odd = Candidate { waiting: f32::NAN, running: f32::INFINITY, kv_usage: f32::NAN, ..fresh() };
        assert_eq!(choose(&profile, vec![odd, fresh()], 0).order[0], 1);
        assert_eq!(
            choose(&profile, vec![stale, fresh()], 0).order[0],
            1,
            "what is known to be idle before what is not"
        );
    }

    #[test]
    fn the_reason_can_be_read() {
        let profile = Profile::compile(&v1::InferencePicker {
            scorers: vec![v1::inference_picker::Scorer { kind: 4, weight: 3.0, threshold: 0 }],
            ..v1::InferencePicker::default()
        });
        let mut scratch = Scratch::default();
        scratch.candidates.push(Candidate { matched_blocks: 1, ..fresh() });
        assert_eq!(profile.expect("compiles").explain(&mut scratch, 2, 0), "prefix-cache-scorer=0.50*3");
    }
}
