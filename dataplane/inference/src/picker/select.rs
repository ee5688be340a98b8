//! From scores to an order: llm-d's `max-score-picker`, `weighted-random-picker` and `random-picker`.

use agentgateway_proto::v1::inference_picker;
use smallvec::SmallVec;

/// How scores become an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// The best; among equals any.
    MaxScore,
    /// Any, the better the more often.
    WeightedRandom,
    /// Any.
    Random,
}

impl Select {
    pub(super) fn compile(choice: i32) -> Result<Select, String> {
        match inference_picker::Choice::try_from(choice) {
            Ok(inference_picker::Choice::MaxScore) => Ok(Select::MaxScore),
            Ok(inference_picker::Choice::WeightedRandom) => Ok(Select::WeightedRandom),
            Ok(inference_picker::Choice::Random) => Ok(Select::Random),
            Err(_) => Err(format!("picker {choice} is not known here")),
        }
    }

    /// The first `most` of the candidates with these scores.
    pub(super) fn order(self, scores: &[f32], most: usize, random: &mut dyn FnMut() -> u64) -> SmallVec<[usize; 4]> {
        let mut order: SmallVec<[usize; 4]> = SmallVec::new();
        match self {
            Select::MaxScore => {
                // Beginning anywhere makes any of those with equal scores the first.
                let start = below(random(), scores.len());
                let all = scores.iter().enumerate();
                top(all.clone().skip(start).chain(all.take(start)).map(|(at, score)| (at, *score)), most, &mut order);
            }
            Select::Random => {
                let keys = scores.iter().enumerate().map(|(at, _)| (at, unit(random())));
                top(keys, most, &mut order);
            }
            Select::WeightedRandom => {
                // Weighted sampling without replacement: the largest keys U^(1/w) (Efraimidis and Spirakis, "A-Res"); compared by
                // their logarithms, which keep small weights apart.
                let keys = scores.iter().enumerate().map(|(at, score)| {
                    let key = if *score > 0.0 { unit(random()).ln() / score } else { f32::NEG_INFINITY };
                    (at, key)
                });
                top(keys, most, &mut order);
            }
        }
        order
    }
}

/// The `most` largest, the largest first; of equal ones the first. There are few.
fn top(keys: impl Iterator<Item = (usize, f32)>, most: usize, order: &mut SmallVec<[usize; 4]>) {
    let mut best: SmallVec<[(usize, f32); 4]> = SmallVec::new();
    for (at, key) in keys {
        let place = best.iter().position(|(_, other)| key > *other).unwrap_or(best.len());
        if place < most {
            best.insert(place, (at, key));
            best.truncate(most);
        }
    }
    order.extend(best.into_iter().map(|(at, _)| at));
}

fn below(random: u64, n: usize) -> usize {
    usize::try_from((u128::from(random) * n as u128) >> 64).unwrap_or_default()
}

/// From above 0 to 1.
fn unit(random: u64) -> f32 {
    ((random >> 40) + 1) as f32 / (1_u64 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(select: Select, scores: &[f32]) -> Vec<usize> {
        let (mut counts, mut state) = (vec![0; scores.len()], 1_u64);
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ (state >> 33)
        };
        for _ in 0..10_000 {
            counts[select.order(scores, 1, &mut random)[0]] += 1;
        }
        counts
    }

    #[test]
    fn the_best_is_first_and_equals_share() {
        let order = Select::MaxScore.order(&[1.0, 3.0, 2.0, 0.5], 3, &mut || u64::MAX / 2);
        assert_eq!(order.to_vec(), [1, 2, 0]);
        let counts = counts(Select::MaxScore, &[1.0, 1.0, 0.5, 1.0]);
        assert!(counts[2] == 0 && [0, 1, 3].iter().all(|at| counts[*at] > 2000), "{counts:?}");
    }

    #[test]
    fn chances_follow_scores() {
        let weighted = counts(Select::WeightedRandom, &[1.0, 3.0, 0.0]);
        assert!((2200..2800).contains(&weighted[0]) && weighted[2] == 0, "{weighted:?}");
        assert!(counts(Select::Random, &[0.0, 9.0]).iter().all(|n| (4700..5300).contains(n)));
        let all = Select::WeightedRandom.order(&[0.0, 0.0], 2, &mut || 7);
        assert_eq!(all.len(), 2, "no score at all is no reason to serve nobody");
    }
}
