//! The scorers: from the state of an endpoint to a number from 0 to 1.

use agentgateway_proto::v1::{self, inference_picker::scorer::Kind};

use super::{Candidate, Lora};

/// Waiting requests at which `load-aware-scorer` gives 0.
const LOAD_THRESHOLD: u64 = 128;
/// Tokens at which `token-load-scorer` gives 0.
const TOKEN_THRESHOLD: u64 = 4_194_304;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScorerKind {
    /// Waiting requests, against those of the others.
    Queue,
    /// What is free of the KV cache.
    KvCacheUtilization,
    /// Requests in the batch, against those of the others.
    RunningRequestsSize,
    /// The part of the prompt that is cached.
    PrefixCache,
    /// Whether the adapter is loaded.
    LoraAffinity,
    /// Waiting requests, against a threshold.
    LoadAware,
    /// Tokens that the proxy's own requests stand for, against a threshold.
    TokenLoad,
    /// The proxy's own requests, against those of the others.
    ActiveRequest,
    /// Whether the session is there.
    SessionAffinity,
}

impl ScorerKind {
    /// All of them.
    pub const ALL: [ScorerKind; 9] = [
        ScorerKind::Queue,
        ScorerKind::KvCacheUtilization,
        ScorerKind::RunningRequestsSize,
        ScorerKind::PrefixCache,
        ScorerKind::LoraAffinity,
        ScorerKind::LoadAware,
        ScorerKind::TokenLoad,
        ScorerKind::ActiveRequest,
        ScorerKind::SessionAffinity,
    ];

    /// As configurations, logs and metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            ScorerKind::Queue => "queue-scorer",
            ScorerKind::KvCacheUtilization => "kv-cache-utilization-scorer",
            ScorerKind::RunningRequestsSize => "running-requests-size-scorer",
            ScorerKind::PrefixCache => "prefix-cache-scorer",
            ScorerKind::LoraAffinity => "lora-affinity-scorer",
            ScorerKind::LoadAware => "load-aware-scorer",
            ScorerKind::TokenLoad => "token-load-scorer",
            ScorerKind::ActiveRequest => "active-request-scorer",
            ScorerKind::SessionAffinity => "session-affinity-scorer",
        }
    }
}

/// A scorer with its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Scorer {
    /// What is looked at.
    pub kind: ScorerKind,
    /// What its numbers are multiplied with.
    pub weight: f32,
    /// 0: the usual one.
    pub threshold: u64,
}

impl Scorer {
    pub(super) fn compile(config: &v1::inference_picker::Scorer) -> Result<Scorer, String> {
        let kind = match Kind::try_from(config.kind) {
            Ok(Kind::Queue) => ScorerKind::Queue,
            Ok(Kind::KvCacheUtilization) => ScorerKind::KvCacheUtilization,
            Ok(Kind::RunningRequests) => ScorerKind::RunningRequestsSize,
            Ok(Kind::PrefixCache) => ScorerKind::PrefixCache,
            Ok(Kind::LoraAffinity) => ScorerKind::LoraAffinity,
            Ok(Kind::LoadAware) => ScorerKind::LoadAware,
            Ok(Kind::TokenLoad) => ScorerKind::TokenLoad,
            Ok(Kind::ActiveRequests) => ScorerKind::ActiveRequest,
            Ok(Kind::SessionAffinity) => ScorerKind::SessionAffinity,
            Ok(Kind::Unspecified) | Err(_) => return Err(format!("scorer {} is not known here", config.kind)),
        };
        if !(config.weight.is_finite() && config.weight >= 0.0) {
            return Err(format!("{}: the weight {} is no number from 0 up", kind.name(), config.weight));
        }
        Ok(Scorer { kind, weight: config.weight as f32, threshold: config.threshold })
    }

    /// Scores all candidates into `out`.
    pub(super) fn score(&self, candidates: &[Candidate], blocks: u32, out: &mut Vec<f32>) {
        out.clear();
        match self.kind {
            ScorerKind::Queue => against_others(candidates, out, |c| c.waiting),
            ScorerKind::RunningRequestsSize => against_others(candidates, out, |c| c.running),
            ScorerKind::KvCacheUtilization => out.extend(candidates.iter().map(|c| trusted(c, 1.0 - c.kv_usage))),
            ScorerKind::PrefixCache => {
                let whole = blocks.max(1) as f32;
                out.extend(candidates.iter().map(|c| c.matched_blocks as f32 / whole));
            }
            ScorerKind::LoraAffinity => out.extend(candidates.iter().map(|c| match c.lora {
                Lora::Active => 1.0,
                Lora::HasRoom => 0.8,
                Lora::Waiting => 0.6,
                Lora::Full => 0.0,
            })),
            ScorerKind::LoadAware => {
                let threshold = self.threshold_or(LOAD_THRESHOLD);
                out.extend(candidates.iter().map(|c| trusted(c, 0.5 * (1.0 - c.waiting / threshold))));
            }
            ScorerKind::TokenLoad => {
                let threshold = self.threshold_or(TOKEN_THRESHOLD);
                out.extend(candidates.iter().map(|c| 1.0 - (c.tokens as f32 / threshold).min(1.0)));
            }
            ScorerKind::ActiveRequest => {
                let most = candidates.iter().map(|c| c.in_flight).max().unwrap_or_default().max(1) as f32;
                out.extend(candidates.iter().map(|c| 1.0 - c.in_flight as f32 / most));
            }
            ScorerKind::SessionAffinity => {
                out.extend(candidates.iter().map(|c| if c.has_session { 1.0 } else { 0.0 }));
            }
        }
    }

    fn threshold_or(&self, usual: u64) -> f32 {
        (if self.threshold == 0 { usual } else { self.threshold }) as f32
    }
}

/// Bounds a score, and halves that of an endpoint whose state is not known.
fn trusted(candidate: &Candidate, score: f32) -> f32 {
    // Also of what is no number.
    let score = if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) };
    if candidate.fresh { score } else { score / 2.0 }
}

/// 1 for the least, 0 for the most; 1 for all where all are equal.
fn against_others(candidates: &[Candidate], out: &mut Vec<f32>, of: impl Fn(&Candidate) -> f32) {
    let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
    for value in candidates.iter().map(&of).filter(|value| value.is_finite()) {
        (least, most) = (least.min(value), most.max(value));
    }
    out.extend(candidates.iter().map(|candidate| {
        let value = of(candidate);
        let score = match value.is_finite() {
            true if most > least => (most - value) / (most - least),
            true => 1.0,
            false => 0.0,
        };
        trusted(candidate, score)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(kind: ScorerKind, threshold: u64, candidates: &[Candidate]) -> Vec<f32> {
        let mut out = Vec::new();
        Scorer { kind, weight: 1.0, threshold }.score(candidates, 4, &mut out);
        out
    }

    fn with(change: impl Fn(&mut Candidate, f32), values: &[f32]) -> Vec<Candidate> {
        let one = |value: &f32| {
            let mut candidate = Candidate { fresh: true, ..Candidate::default() };
            change(&mut candidate, *value);
            candidate
        };
        values.iter().map(one).collect()
    }

    #[test]
    fn scores_are_those_of_llm_d() {
        let queues = with(|c, v| c.waiting = v, &[0.0, 5.0, 10.0]);
        assert_eq!(scores(ScorerKind::Queue, 0, &queues), [1.0, 0.5, 0.0]);
        assert_eq!(scores(ScorerKind::LoadAware, 10, &queues), [0.5, 0.25, 0.0]);
        assert_eq!(scores(ScorerKind::Queue, 0, &queues[1..2]), [1.0]);
        let usage = with(|c, v| c.kv_usage = v, &[0.0, 0.25, 1.0]);
        assert_eq!(scores(ScorerKind::KvCacheUtilization, 0, &usage), [1.0, 0.75, 0.0]);
        let running = with(|c, v| c.running = v, &[2.0, 4.0]);
        assert_eq!(scores(ScorerKind::RunningRequestsSize, 0, &running), [1.0, 0.0]);
        let matched = with(|c, v| c.matched_blocks = v as u32, &[0.0, 1.0, 4.0]);
        assert_eq!(scores(ScorerKind::PrefixCache, 0, &matched), [0.0, 0.25, 1.0]);
        let tokens = with(|c, v| c.tokens = v as u64, &[0.0, 50.0, 1000.0]);
        assert_eq!(scores(ScorerKind::TokenLoad, 100, &tokens), [1.0, 0.5, 0.0]);
        let active = with(|c, v| c.in_flight = v as u32, &[0.0, 1.0, 4.0]);
        assert_eq!(scores(ScorerKind::ActiveRequest, 0, &active), [1.0, 0.75, 0.0]);
        let mut adapters = with(|_, _| {}, &[0.0; 4]);
        for (candidate, lora) in adapters.iter_mut().zip([Lora::Active, Lora::HasRoom, Lora::Waiting, Lora::Full]) {
            candidate.lora = lora;
        }
        assert_eq!(scores(ScorerKind::LoraAffinity, 0, &adapters), [1.0, 0.8, 0.6, 0.0]);
        let sessions = with(|c, v| c.has_session = v > 0.0, &[0.0, 1.0]);
        assert_eq!(scores(ScorerKind::SessionAffinity, 0, &sessions), [0.0, 1.0]);
    }

    #[test]
    fn what_is_not_known_counts_half_and_nonsense_nothing() {
        let mut queues = with(|c, v| c.waiting = v, &[0.0, 0.0, f32::NAN, 4.0]);
        queues[1].fresh = false;
        assert_eq!(scores(ScorerKind::Queue, 0, &queues), [1.0, 0.5, 0.0, 0.0]);
        let usage = with(|c, v| c.kv_usage = v, &[-3.0, f32::INFINITY, f32::NAN]);
        assert_eq!(scores(ScorerKind::KvCacheUtilization, 0, &usage), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn weights_are_numbers_from_zero_up() {
        let config = |kind, weight| v1::inference_picker::Scorer { kind, weight, threshold: 0 };
        assert!(Scorer::compile(&config(1, 2.5)).is_ok());
        for bad in [config(0, 1.0), config(99, 1.0), config(1, -1.0), config(1, f64::NAN)] {
            assert!(Scorer::compile(&bad).is_err(), "{bad:?}");
        }
    }
}
