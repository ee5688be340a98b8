//! Envoy's rate limit service, `envoy.service.ratelimit.v3.RateLimitService`.

use std::time::Duration;

use agentgateway_callout::rate_limit::{
    HeaderValue as Header, RateLimitDescriptor, RateLimitRequest, RateLimitResponse, SHOULD_RATE_LIMIT, UInt64Value,
    rate_limit_descriptor::Entry,
    rate_limit_response::{Code, DescriptorStatus, rate_limit::Unit},
};
use agentgateway_callout::{Error, unary};
use agentgateway_expression::Expression;
use agentgateway_proto::v1::{self, global_rate_limit as global};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::{Asked, Changes, Verdict, no_cost, over_limit};
use crate::HttpInput;
use crate::ext_authz::is_framing;
use crate::rate_limit::{Quota, expression};

/// A compiled service.
#[derive(Debug)]
pub(super) struct Envoy {
    domain: String,
    descriptors: Box<[Descriptor]>,
    /// None: the name of the service's backend.
    authority: Option<HeaderValue>,
}

#[derive(Debug)]
struct Descriptor {
    entries: Box<[(String, Value)]>,
    of_tokens: bool,
    cost: Option<Expression>,
}

#[derive(Debug)]
enum Value {
    Fixed(String),
    Of(Expression),
}

/// What the tokens of one request count against.
#[derive(Debug)]
pub(super) struct Charge {
    question: RateLimitRequest,
    authority: Option<HeaderValue>,
}

impl Envoy {
    pub(super) fn compile(spec: &global::Envoy) -> Result<Envoy, String> {
        if spec.domain.is_empty() || spec.descriptors.is_empty() {
            return Err("it has no domain or no descriptors".into());
        }
        let authority = match spec.authority.as_str() {
            "" => None,
            name => {
                let parsed = name.parse::<http::uri::Authority>().ok().and_then(|_| HeaderValue::from_str(name).ok());
                Some(parsed.ok_or_else(|| format!("{name:?} is not a host name"))?)
            }
        };
        let descriptors = spec.descriptors.iter().map(Descriptor::compile).collect::<Result<_, _>>()?;
        Ok(Envoy { domain: spec.domain.clone(), descriptors, authority })
    }

    pub(super) fn limits_tokens(&self) -> bool {
        self.descriptors.iter().any(|d| d.of_tokens)
    }

    pub(super) async fn ask(&self, asked: &Asked<'_>, input: &HttpInput<'_>) -> Result<Verdict, Error> {
        let mut descriptors = Vec::with_capacity(self.descriptors.len());
        for descriptor in self.descriptors.iter().filter(|d| !d.of_tokens) {
            let cost = match descriptor.cost.as_ref().map(|cost| cost.evaluate_number(input)) {
                None => None,
                Some(Ok(cost)) => Some(cost),
                Some(Err(error)) => return Ok(no_cost(&error)),
            };
            descriptors.extend(descriptor.of(input, cost));
        }
        self.charge_of(descriptors).ask(asked).await
    }

    /// The protocol takes and does not give back, so nothing is taken before the usage is known: the service only tells
    /// whether anything is left.
    pub(super) fn charge(&self, input: &HttpInput<'_>) -> Charge {
        self.charge_of(self.descriptors.iter().filter(|d| d.of_tokens).filter_map(|d| d.of(input, Some(0))).collect())
    }

    fn charge_of(&self, descriptors: Vec<RateLimitDescriptor>) -> Charge {
        let question = RateLimitRequest { domain: self.domain.clone(), descriptors, hits_addend: 1 };
        Charge { question, authority: self.authority.clone() }
    }
}

impl Descriptor {
    fn compile(spec: &global::Descriptor) -> Result<Descriptor, String> {
        use global::entry::Kind;
        let one = |entry: &global::Entry| {
            let value = match &entry.kind {
                Some(Kind::Value(value)) => Value::Fixed(value.clone()),
                Some(Kind::Expression(source)) => Value::Of(expression(&format!("entry {}", entry.key), source)?),
                None => return Err(format!("entry {} has no value that this proxy knows", entry.key)),
            };
            Ok((entry.key.clone(), value))
        };
        let of_tokens = spec.unit() == v1::local_rate_limit::Unit::Tokens;
        let cost = match spec.cost.as_str() {
            "" => None,
            _ if of_tokens => return Err("tokens of language models are counted, so cost must not be set".into()),
            source => Some(expression("cost", source)?),
        };
        let entries = spec.entries.iter().map(one).collect::<Result<Box<[_]>, String>>()?;
        if entries.is_empty() {
            return Err("a descriptor has no entries".into());
        }
        Ok(Descriptor { entries, of_tokens, cost })
    }

    /// None: an entry has no value.
    fn of(&self, input: &HttpInput<'_>, cost: Option<u64>) -> Option<RateLimitDescriptor> {
        let entry = |(key, value): &(String, Value)| {
            let value = match value {
                Value::Fixed(value) => value.clone(),
                Value::Of(expression) => expression.evaluate_text(input).ok()?,
            };
            Some(Entry { key: key.clone(), value })
        };
        let entries = self.entries.iter().map(entry).collect::<Option<Vec<_>>>()?;
        Some(RateLimitDescriptor { entries, hits_addend: cost.map(|value| UInt64Value { value }) })
    }
}

impl Charge {
    pub(super) async fn ask(&self, asked: &Asked<'_>) -> Result<Verdict, Error> {
        if self.question.descriptors.is_empty() {
            return Ok(Verdict { refusal: None, quota: None, changes: Changes::default() });
        }
        let (authority, question) = (self.authority.as_ref(), &self.question);
        let answer: RateLimitResponse =
            unary(asked.upstream, asked.cluster, SHOULD_RATE_LIMIT, authority, question, asked.limit).await?;
        verdict(answer)
    }

    pub(super) async fn settle(&self, asked: &Asked<'_>, used: u64) -> Result<(), Error> {
        if used == 0 || self.question.descriptors.is_empty() {
            return Ok(());
        }
        let mut question = self.question.clone();
        for descriptor in &mut question.descriptors {
            descriptor.hits_addend = Some(UInt64Value { value: used });
        }
        let authority = self.authority.as_ref();
        // Whether it is over the limit now is for the next request.
        let _counted: RateLimitResponse =
            unary(asked.upstream, asked.cluster, SHOULD_RATE_LIMIT, authority, &question, asked.limit).await?;
        Ok(())
    }
}

fn verdict(answer: RateLimitResponse) -> Result<Verdict, Error> {
    let quota = answer.statuses.iter().filter_map(quota).min_by_key(|quota| quota.remaining);
    let changes = Changes {
        request: headers(&answer.request_headers_to_add),
        response: headers(&answer.response_headers_to_add),
    };
    let refusal = match answer.overall_code() {
        Code::Ok => None,
        Code::OverLimit => {
            let mut reply = over_limit();
            if !answer.raw_body.is_empty() {
                *reply.response.body_mut() = Bytes::clone(&answer.raw_body);
            }
            Some(Box::new(reply))
        }
        Code::Unknown => return Err(Error::Answer("it says neither that the request is over a limit nor not".into())),
    };
    Ok(Verdict { refusal, quota, changes })
}

fn quota(status: &DescriptorStatus) -> Option<Quota> {
    let limit = status.current_limit.as_ref()?;
    let reset = status.duration_until_reset.as_ref();
    let window = match limit.unit() {
        Unit::Unknown => return None,
        Unit::Second => 1,
        Unit::Minute => 60,
        Unit::Hour => 3600,
        Unit::Day => 86_400,
        Unit::Week => 7 * 86_400,
        Unit::Month => 30 * 86_400,
        Unit::Year => 365 * 86_400,
    };
    Some(Quota {
        limit: limit.requests_per_unit.into(),
        remaining: if status.code() == Code::OverLimit { 0 } else { status.limit_remaining.into() },
        reset: Duration::from_secs(reset.and_then(|r| u64::try_from(r.seconds).ok()).unwrap_or(window)),
        rate: (limit.requests_per_unit.into(), window),
    })
}

fn headers(headers: &[Header]) -> Vec<(HeaderName, HeaderValue)> {
    let one = |header: &Header| {
        let name: HeaderName = header.key.parse().ok().filter(|name| !is_framing(name))?;
        let value = if header.value.is_empty() { &header.raw_value[..] } else { header.value.as_bytes() };
        Some((name, HeaderValue::from_bytes(value).ok()?))
    };
    headers.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use agentgateway_callout::rate_limit::rate_limit_response::RateLimit;

    use super::*;

    fn status(code: Code, remaining: u32) -> DescriptorStatus {
        let limit = RateLimit { requests_per_unit: 10, unit: Unit::Minute.into() };
        DescriptorStatus {
            code: code.into(),
            current_limit: Some(limit),
            limit_remaining: remaining,
            duration_until_reset: Some(agentgateway_callout::rate_limit::Duration { seconds: 17, nanos: 0 }),
        }
    }

    #[test]
    fn the_limit_with_the_least_left_is_told_and_a_refusal_carries_the_services_body() {
        let answer = RateLimitResponse {
            overall_code: Code::OverLimit.into(),
            statuses: vec![status(Code::Ok, 4), DescriptorStatus::default(), status(Code::OverLimit, 0)],
            raw_body: Bytes::from_static(b"slow down"),
            response_headers_to_add: vec![
                Header { key: "x-plan".into(), value: "free".into(), ..Default::default() },
                Header { key: "content-length".into(), value: "9".into(), ..Default::default() },
            ],
            ..Default::default()
        };
        let verdict = verdict(answer).expect("is understood");
        let quota = verdict.quota.expect("some");
        assert_eq!((quota.limit, quota.remaining, quota.reset.as_secs(), quota.rate), (10, 0, 17, (10, 60)));
        let reply = verdict.refusal.expect("refuses");
        assert_eq!((reply.response.status().as_u16(), &reply.response.body()[..]), (429, &b"slow down"[..]));
        assert_eq!(verdict.changes.response.len(), 1, "the length is the body's own");
    }

    #[test]
    fn an_answer_that_decides_nothing_is_none() {
        assert!(verdict(RateLimitResponse::default()).is_err());
        let passes = verdict(RateLimitResponse { overall_code: Code::Ok.into(), ..Default::default() });
        assert!(passes.expect("is understood").refusal.is_none());
    }
}
