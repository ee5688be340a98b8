//! Token buckets in Redis: a script takes from all of a request's buckets, or from none, in one step.
//!
//! A bucket is a hash with its level and the time of its last fill, by the server's clock, so the proxies' clocks do not
//! matter. It expires when it would be full, so Redis holds no more keys than were used of late.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use agentgateway_callout::Error;
use agentgateway_callout::redis::{Login, Value, ask};
use agentgateway_expression::Expression;
use agentgateway_proto::v1::{self, global_rate_limit as global};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::{Asked, Changes, Verdict, no_cost, over_limit};
use crate::HttpInput;
use crate::rate_limit::{Keys, Parameters, Quota, cost, parameters};

/// Arguments of each key: size, tokens and milliseconds of a fill, tokens to take, tokens that must be there ("" for none).
/// Answers with 1 or 0, and of each key its level (0 in debt), the milliseconds until the next fill, and until enough is
/// there.
const SCRIPT: &str = include_str!("buckets.lua");

/// As Redis names scripts that it knows.
static SCRIPT_HASH: LazyLock<String> =
    LazyLock::new(|| hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, SCRIPT.as_bytes()).as_ref()));

/// A compiled service.
#[derive(Debug)]
pub(super) struct Redis {
    login: Arc<Login>,
    buckets: Box<[Bucket]>,
}

#[derive(Debug)]
struct Bucket {
    parameters: Parameters,
    key: Keys,
    /// What stands before the hash of the key's values.
    name: String,
    cost: Option<Expression>,
    of_tokens: bool,
}

/// The buckets of the tokens of one request.
#[derive(Debug)]
pub(super) struct Charge {
    login: Arc<Login>,
    buckets: Vec<(String, Parameters)>,
}

/// What is taken from one bucket.
struct Take<'a> {
    name: &'a str,
    parameters: &'a Parameters,
    cost: i128,
    /// None: it is taken in any case.
    needed: Option<u64>,
}

impl Redis {
    pub(super) fn compile(spec: &global::Redis) -> Result<Redis, String> {
        if spec.buckets.is_empty() {
            return Err("it has no buckets".into());
        }
        let one = |(i, bucket): (usize, &v1::LocalRateLimit)| {
            // With another key the levels mean something else.
            let key = hex(&digest(&SHA256, bucket.key.join("\n").as_bytes()).as_ref()[..8]);
            Ok(Bucket {
                parameters: parameters(bucket)?,
                key: Keys::compile(&bucket.key)?,
                name: format!("agentgateway:limit:{{{}}}:{i}:{key}:", spec.prefix),
                cost: cost(bucket)?,
                of_tokens: bucket.unit() == v1::local_rate_limit::Unit::Tokens,
            })
        };
        let buckets = spec.buckets.iter().enumerate().map(one).collect::<Result<_, String>>()?;
        let login = Login { username: spec.username.clone(), password: spec.password.clone(), database: spec.database };
        Ok(Redis { login: Arc::new(login), buckets })
    }

    pub(super) fn limits_tokens(&self) -> bool {
        self.buckets.iter().any(|bucket| bucket.of_tokens)
    }

    pub(super) async fn ask(&self, asked: &Asked<'_>, input: &HttpInput<'_>) -> Result<Verdict, Error> {
        let mut buckets = Vec::with_capacity(self.buckets.len());
        for bucket in self.buckets.iter().filter(|bucket| !bucket.of_tokens) {
            let cost = match bucket.cost.as_ref().map(|cost| cost.evaluate_number(input)) {
                None => 1,
                Some(Ok(cost)) => cost,
                Some(Err(error)) => return Ok(no_cost(&error)),
            };
            buckets.push((bucket.of(input), &bucket.parameters, cost));
        }
        let takes: Vec<_> = buckets
            .iter()
            .map(|(name, parameters, cost)| Take { name, parameters, cost: (*cost).into(), needed: Some(*cost) })
            .collect();
        run(asked, &self.login, &takes).await
    }

    pub(super) fn charge(&self, input: &HttpInput<'_>) -> Charge {
        let of_tokens = self.buckets.iter().filter(|bucket| bucket.of_tokens);
        let buckets = of_tokens.map(|bucket| (bucket.of(input), bucket.parameters)).collect();
        Charge { login: Arc::clone(&self.login), buckets }
    }
}

impl Bucket {
    /// The name of a request's bucket, of constant length.
    fn of(&self, input: &HttpInput<'_>) -> String {
        let values = self.key.bytes(input);
        format!("{}{}", self.name, hex(&digest(&SHA256, &values).as_ref()[..16]))
    }
}

impl Charge {
    /// Takes an estimate; one of nothing needs a token to be there, too.
    pub(super) async fn take(&self, asked: &Asked<'_>, estimate: u64) -> Result<Verdict, Error> {
        run(asked, &self.login, &self.takes(estimate.into(), Some(estimate.max(1)))).await
    }

    pub(super) async fn settle(&self, asked: &Asked<'_>, estimate: u64, used: u64) -> Result<(), Error> {
        if estimate != used {
            run(asked, &self.login, &self.takes(i128::from(used) - i128::from(estimate), None)).await?;
        }
        Ok(())
    }

    fn takes(&self, cost: i128, needed: Option<u64>) -> Vec<Take<'_>> {
        self.buckets.iter().map(|(name, parameters)| Take { name, parameters, cost, needed }).collect()
    }
}

async fn run(asked: &Asked<'_>, login: &Arc<Login>, takes: &[Take<'_>]) -> Result<Verdict, Error> {
    if takes.is_empty() {
        return Ok(Verdict { refusal: None, quota: None, changes: Changes::default() });
    }
    let mut arguments = vec![takes.len().to_string()];
    arguments.extend(takes.iter().map(|take| take.name.to_owned()));
    for take in takes {
        let parameters = take.parameters;
        arguments.extend([
            parameters.max_tokens.to_string(),
            parameters.tokens_per_fill.to_string(),
            parameters.fill_interval.as_millis().to_string(),
            take.cost.to_string(),
            take.needed.map(|needed| needed.to_string()).unwrap_or_default(),
        ]);
    }
    let command = |verb: &'static str, script: &'static str| {
        let words = [verb.as_bytes(), script.as_bytes()];
        words.into_iter().chain(arguments.iter().map(|argument| argument.as_bytes())).collect::<Vec<_>>()
    };
    let all = async {
        match ask(asked.upstream, asked.cluster, login, &command("EVALSHA", SCRIPT_HASH.as_str())).await {
            // A server that was started anew does not know it yet.
            Err(Error::Answer(message)) if message.starts_with("NOSCRIPT") => {
                ask(asked.upstream, asked.cluster, login, &command("EVAL", SCRIPT)).await
            }
            answer => answer,
        }
    };
    let answer = tokio::time::timeout(asked.limit, all).await.unwrap_or(Err(Error::Timeout(asked.limit)))?;
    verdict(takes, &answer).ok_or_else(|| Error::Answer("it is not that of the script".into()))
}

fn verdict(takes: &[Take<'_>], answer: &Value) -> Option<Verdict> {
    let Value::Array(values) = answer else { return None };
    let number = |value: &Value| match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    let (passed, rest) = values.split_first()?;
    let passed = number(passed)? == 1;
    let mut least = None;
    let mut of_buckets = rest.chunks_exact(3);
    for take in takes {
        let [level, next, wait] = of_buckets.next()? else { return None };
        let (level, next, wait) = (number(level)?, number(next)?, number(wait)?);
        // Of a refusal the bucket that refuses is told.
        if passed || wait > 0 {
            let reset = Duration::from_millis(if passed { next } else { wait });
            Quota::of(take.parameters, level, reset).keep_least(&mut least);
        }
    }
    let refusal = (!passed).then(|| Box::new(over_limit()));
    Some(Verdict { refusal, quota: least, changes: Changes::default() })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_bucket_by_bucket() {
        let parameters = Parameters { max_tokens: 10, tokens_per_fill: 1, fill_interval: Duration::from_secs(1) };
        let take = || Take { name: "a", parameters: &parameters, cost: 1, needed: Some(1) };
        let answer = |numbers: &[i64]| Value::Array(numbers.iter().copied().map(Value::Integer).collect());
        let passes = verdict(&[take(), take()], &answer(&[1, 5, 300, 0, 3, 700, 0])).expect("is read");
        assert!(passes.refusal.is_none());
        assert_eq!(passes.quota.map(|q| (q.remaining, q.reset.as_millis())), Some((3, 700)));
        let refused = verdict(&[take(), take()], &answer(&[0, 0, 300, 0, 2, 700, 2700])).expect("is read");
        assert!(refused.refusal.is_some());
        assert_eq!(refused.quota.map(|q| (q.remaining, q.reset.as_millis())), Some((2, 2700)));
        for wrong in [answer(&[]), answer(&[1, 5, 300]), answer(&[1, -5, 300, 0]), Value::Integer(1)] {
            assert!(verdict(&[take()], &wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_bucket_is_named_by_its_key_and_never_by_what_a_request_says() {
        let bucket = |key: &str| v1::LocalRateLimit {
            key: vec![key.into()],
            max_tokens: 1,
            tokens_per_fill: 1,
            fill_interval_milliseconds: 1,
            ..Default::default()
        };
        let name = |key: &str, user: &str| {
            let spec = global::Redis { buckets: vec![bucket(key)], prefix: "p".into(), ..Default::default() };
            let head = crate::testing::request("GET", "/", &[("x-user", user)]);
            Redis::compile(&spec).expect("compiles").buckets[0].of(&crate::testing::context().input(&head))
        };
        let key = "request.headers['x-user']";
        assert_eq!(name(key, "ada"), name(key, "ada"));
        assert_ne!(name(key, "ada"), name(key, "bob"));
        assert_ne!(name(key, "ada"), name("request.headers['x-user'] + ''", "ada"));
        assert!(name(key, &"x".repeat(10_000)).len() < 100);
    }
}
