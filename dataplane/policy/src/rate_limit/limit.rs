//! One limit: a bucket, or a bucket for each key, and what a request costs.

use crate::rules::beyond_requests;
use std::sync::Arc;
use std::time::Duration;

use agentgateway_expression::Expression;
use agentgateway_proto::v1::{self, local_rate_limit::Unit};
use tokio::time::Instant;

use super::bucket::{Bucket, Parameters, Taken};
use super::keyed::{Key, Table};
use super::quota::Quota;
use crate::limits::{DEFAULT_MAX_KEYS, MAX_MAX_KEYS};
use crate::{HttpInput, State};

/// A compiled limit.
#[derive(Debug)]
pub(super) struct Limit {
    store: Store,
    key: Keys,
    cost: Option<Expression>,
    pub(super) parameters: Parameters,
    /// Of language models.
    pub(super) of_tokens: bool,
}

/// Where levels are kept.
#[derive(Clone, Debug)]
enum Store {
    One(Arc<Bucket>),
    Keyed(Arc<Table>),
}

/// A request's bucket.
#[derive(Clone, Debug)]
pub(super) struct Place {
    store: Store,
    key: Option<Key>,
}

/// The expressions of a key.
#[derive(Debug)]
pub(crate) struct Keys(Box<[Expression]>);

impl Keys {
    pub(crate) fn compile(sources: &[String]) -> Result<Keys, String> {
        sources.iter().map(|source| expression("key", source)).collect::<Result<_, String>>().map(Keys)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Equal for requests with the same values. An expression without a value counts as one: who leaves a header out gets
    /// the bucket of all who do.
    pub(crate) fn bytes(&self, input: &HttpInput<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        for expression in &self.0 {
            let begin = bytes.len();
            if expression.evaluate_key(input, &mut bytes).is_err() {
                bytes.truncate(begin);
                bytes.push(b'-');
            }
        }
        bytes
    }
}

/// An expression over requests.
pub(crate) fn expression(what: &str, source: &str) -> Result<Expression, String> {
    let expression = Expression::compile(source).map_err(|e| format!("{what} {source:?}: {e}"))?;
    if let Some(why) = beyond_requests(&expression) {
        return Err(format!("{what} {source:?}: {why}"));
    }
    Ok(expression)
}

pub(crate) fn parameters(spec: &v1::LocalRateLimit) -> Result<Parameters, String> {
    if spec.max_tokens == 0 || spec.tokens_per_fill == 0 || spec.fill_interval_milliseconds == 0 {
        return Err("maxTokens, tokensPerFill and fillInterval must be more than 0".into());
    }
    Ok(Parameters {
        max_tokens: spec.max_tokens,
        tokens_per_fill: spec.tokens_per_fill,
        fill_interval: Duration::from_millis(spec.fill_interval_milliseconds),
    })
}

/// What a request costs; None where the expression does not apply.
pub(crate) fn cost(spec: &v1::LocalRateLimit) -> Result<Option<Expression>, String> {
    match (spec.cost.as_str(), spec.unit()) {
        ("", _) => Ok(None),
        (_, Unit::Tokens) => Err("tokens of language models are counted, so cost must not be set".into()),
        (source, Unit::Requests) => expression("cost", source).map(Some),
    }
}

impl Limit {
    /// Its levels are those that `state` keeps under `name`.
    pub(super) fn compile(spec: &v1::LocalRateLimit, name: &str, state: &State) -> Result<Limit, String> {
        let parameters = parameters(spec)?;
        let key = Keys::compile(&spec.key)?;
        let max_keys = match usize::try_from(spec.max_keys).unwrap_or(usize::MAX) {
            0 => DEFAULT_MAX_KEYS,
            more if more > MAX_MAX_KEYS => return Err(format!("maxKeys must not be more than {MAX_MAX_KEYS}")),
            some => some,
        };
        let store = match key.is_empty() {
            true => Store::One(state.bucket(name, parameters)),
            // With another key the levels mean something else.
            false => Store::Keyed(state.table(&format!("{name} {:?}", spec.key), parameters, max_keys)),
        };
        Ok(Limit { store, key, cost: cost(spec)?, parameters, of_tokens: spec.unit() == Unit::Tokens })
    }

    /// Whether it looks at requests at all.
    pub(super) fn reads_requests(&self) -> bool {
        self.cost.is_some() || !self.key.is_empty()
    }

    /// What the request costs.
    pub(super) fn cost(&self, input: Option<&HttpInput<'_>>) -> Result<u64, String> {
        match (&self.cost, input) {
            (Some(cost), Some(input)) => cost.evaluate_number(input).map_err(|e| format!("cost: {e}")),
            _ => Ok(1),
        }
    }

    fn key(&self, input: Option<&HttpInput<'_>>) -> Option<Key> {
        match (&self.store, input) {
            (Store::Keyed(table), Some(input)) => Some(table.key(&self.key.bytes(input))),
            _ => None,
        }
    }

    /// The bucket of a request, for later.
    pub(super) fn place(&self, input: Option<&HttpInput<'_>>) -> Place {
        Place { store: self.store.clone(), key: self.key(input) }
    }

    pub(super) fn take(&self, input: Option<&HttpInput<'_>>, now: Instant, cost: u64) -> Taken {
        self.store.take(self.key(input), now, cost, cost)
    }

    pub(super) fn give_back(&self, input: Option<&HttpInput<'_>>, now: Instant, cost: u64) {
        self.store.correct(self.key(input), now, 0, cost);
    }

    pub(super) fn quota(&self, left: u64, reset: Duration) -> Quota {
        Quota::of(&self.parameters, left, reset)
    }
}

impl Store {
    fn take(&self, key: Option<Key>, now: Instant, cost: u64, needed: u64) -> Taken {
        match (self, key) {
            (Store::One(bucket), _) => bucket.take(now, cost, needed),
            (Store::Keyed(table), Some(key)) => table.take(key, now, cost, needed),
            // Whoever has a table has read the request.
            (Store::Keyed(_), None) => Taken::No { left: 0, wait: Duration::ZERO },
        }
    }

    fn correct(&self, key: Option<Key>, now: Instant, more: u64, less: u64) {
        match (self, key) {
            (Store::One(bucket), _) => bucket.correct(now, more, less),
            (Store::Keyed(table), Some(key)) => table.correct(key, now, more, less),
            (Store::Keyed(_), None) => {}
        }
    }
}

impl Place {
    /// Takes an estimate; one of nothing needs a token to be there, too.
    pub(super) fn take(&self, now: Instant, estimate: u64) -> Taken {
        self.store.take(self.key, now, estimate, estimate.max(1))
    }

    /// Puts what was used in the place of the estimate.
    pub(super) fn correct(&self, now: Instant, estimate: u64, used: u64) {
        self.store.correct(self.key, now, used.saturating_sub(estimate), estimate.saturating_sub(used));
    }
}
