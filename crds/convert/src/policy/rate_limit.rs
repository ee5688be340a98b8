//! Rate limits.

use agentgateway_proto::v1::{self, local_rate_limit::Unit, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::policy::{LocalRateLimit, RateLimitHeaders, RateLimitUnit, TokenBucket};

use super::spec;
use crate::error::{Error, Within};

/// Buckets that each proxy fills by itself; a request takes from all or from none. There is at least one.
pub fn token_buckets(buckets: &[TokenBucket], headers: RateLimitHeaders) -> Result<v1::PolicySpec, Error> {
    let mut all = Vec::with_capacity(buckets.len());
    for (i, bucket) in buckets.iter().enumerate() {
        all.push(token_bucket(bucket).within(|| Path::root().index(i))?);
    }
    let mut all = all.into_iter();
    let first = all.next().ok_or(Error::Missing { path: Path::root() })?;
    let headers = headers == RateLimitHeaders::DraftVersion03;
    Ok(spec(Kind::LocalRateLimit(v1::LocalRateLimit { also: all.collect(), headers, ..first })))
}

/// A limit that each proxy counts by itself, as TrafficPolicy spells it.
pub fn local_rate_limit(limit: &LocalRateLimit) -> Result<v1::PolicySpec, Error> {
    let headers = limit.x_rate_limit_headers.unwrap_or_default();
    match (&limit.token_bucket, &limit.buckets) {
        (Some(bucket), None) => {
            let first = token_bucket(bucket).within(|| Path::of("tokenBucket"))?;
            let headers = headers == RateLimitHeaders::DraftVersion03;
            Ok(spec(Kind::LocalRateLimit(v1::LocalRateLimit { headers, ..first })))
        }
        (None, Some(buckets)) => token_buckets(buckets, headers).within(|| Path::of("buckets")),
        _ => Err(Error::NotOne { path: Path::root(), members: "tokenBucket and buckets" }),
    }
}

/// One bucket.
pub(super) fn token_bucket(bucket: &TokenBucket) -> Result<v1::LocalRateLimit, Error> {
    for (field, value) in [
        ("maxTokens", u64::from(bucket.max_tokens)),
        ("tokensPerFill", u64::from(bucket.tokens_per_fill)),
        ("fillInterval", bucket.fill_interval.milliseconds()),
    ] {
        if value == 0 {
            return Err(Error::invalid(Path::of(field), "must be more than 0"));
        }
    }
    if bucket.max_keys == Some(0) {
        return Err(Error::invalid(Path::of("maxKeys"), "must be more than 0"));
    }
    if bucket.max_keys.is_some() && bucket.key.is_empty() {
        return Err(Error::invalid(Path::of("maxKeys"), "needs a key"));
    }
    let unit = bucket.unit.unwrap_or_default();
    if bucket.cost.is_some() && unit == RateLimitUnit::Tokens {
        return Err(Error::invalid(Path::of("cost"), "is for requests: tokens are counted"));
    }
    Ok(v1::LocalRateLimit {
        max_tokens: bucket.max_tokens.into(),
        tokens_per_fill: bucket.tokens_per_fill.into(),
        fill_interval_milliseconds: bucket.fill_interval.milliseconds(),
        key: bucket.key.clone(),
        max_keys: bucket.max_keys.unwrap_or(0),
        unit: self::unit(unit).into(),
        cost: bucket.cost.clone().unwrap_or_default(),
        ..v1::LocalRateLimit::default()
    })
}

pub(super) fn unit(unit: RateLimitUnit) -> Unit {
    match unit {
        RateLimitUnit::Requests => Unit::Requests,
        RateLimitUnit::Tokens => Unit::Tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> TokenBucket {
        let fill_interval = "1s".parse().expect("a duration");
        TokenBucket { max_tokens: 5, tokens_per_fill: 1, fill_interval, ..TokenBucket::default() }
    }

    #[test]
    fn a_plain_bucket_is_what_it_always_was_so_that_older_proxies_know_it() {
        let Some(Kind::LocalRateLimit(made)) =
            token_buckets(&[bucket()], RateLimitHeaders::Off).expect("converts").kind
        else {
            panic!("no limit")
        };
        let plain = v1::LocalRateLimit {
            max_tokens: 5,
            tokens_per_fill: 1,
            fill_interval_milliseconds: 1000,
            ..Default::default()
        };
        assert_eq!(made, plain);
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let never = TokenBucket { fill_interval: "0s".parse().expect("a duration"), ..bucket() };
        let no_key = TokenBucket { max_keys: Some(5), ..bucket() };
        let cost = TokenBucket { cost: Some("2".into()), unit: Some(RateLimitUnit::Tokens), ..bucket() };
        let both = LocalRateLimit { token_bucket: Some(bucket()), buckets: Some(vec![bucket()]), ..Default::default() };
        let second = LocalRateLimit { buckets: Some(vec![bucket(), never.clone()]), ..Default::default() };
        let one = |bucket| LocalRateLimit { token_bucket: Some(bucket), ..Default::default() };
        for (limit, field) in [
            (one(never), "tokenBucket.fillInterval"),
            (one(no_key), "tokenBucket.maxKeys"),
            (one(cost), "tokenBucket.cost"),
            (second, "buckets[1].fillInterval"),
            (both, ""),
        ] {
            assert_eq!(local_rate_limit(&limit).expect_err(field).path().to_string(), field);
        }
    }
}
