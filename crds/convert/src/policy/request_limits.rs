//! Limits of requests themselves, and of how many are served at a time.

use agentgateway_proto::v1::{self, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::policy::{ConcurrencyLimit, RequestLimits};

use super::spec;
use crate::error::Error;

/// How many requests are served at a time.
pub fn concurrency_limit(policy: &ConcurrencyLimit) -> Result<v1::PolicySpec, Error> {
    if policy.max_requests == 0 {
        return Err(Error::invalid(Path::of("maxRequests"), "must be more than 0"));
    }
    let status = policy.status_code.unwrap_or(503);
    if !matches!(status, 429 | 503) {
        return Err(Error::invalid(Path::of("statusCode"), format!("{status} is neither 429 nor 503")));
    }
    if policy.retry_after_seconds == Some(0) {
        return Err(Error::invalid(Path::of("retryAfterSeconds"), "must be more than 0"));
    }
    Ok(spec(Kind::ConcurrencyLimit(v1::ConcurrencyLimit {
        max_requests: policy.max_requests,
        key: policy.key.clone(),
        status_code: status.into(),
        retry_after_seconds: policy.retry_after_seconds.unwrap_or(0),
    })))
}

/// Sizes of bodies and headers.
pub fn request_limits(policy: &RequestLimits) -> Result<v1::PolicySpec, Error> {
    let RequestLimits { max_body_bytes, max_header_bytes, max_headers } = *policy;
    let zero = [
        ("maxBodyBytes", max_body_bytes == Some(0)),
        ("maxHeaderBytes", max_header_bytes == Some(0)),
        ("maxHeaders", max_headers == Some(0)),
    ];
    if let Some((field, _)) = zero.into_iter().find(|(_, is_zero)| *is_zero) {
        return Err(Error::invalid(Path::of(field), "must be more than 0"));
    }
    if *policy == RequestLimits::default() {
        return Err(Error::invalid(Path::root(), "at least one limit must be set"));
    }
    Ok(spec(Kind::RequestLimits(v1::RequestLimits {
        max_body_bytes: max_body_bytes.unwrap_or(0),
        max_header_bytes: max_header_bytes.unwrap_or(0),
        max_headers: max_headers.unwrap_or(0),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_more_than_nothing() {
        let limits = |max_body_bytes, max_headers| RequestLimits { max_body_bytes, max_headers, ..Default::default() };
        assert!(request_limits(&limits(Some(1), None)).is_ok());
        assert_eq!(request_limits(&limits(Some(1), Some(0))).expect_err("0").path().to_string(), "maxHeaders");
        assert!(request_limits(&limits(None, None)).is_err());
        let concurrency = |max_requests, status_code| {
            concurrency_limit(&ConcurrencyLimit { max_requests, status_code, ..Default::default() })
        };
        assert!(concurrency(1, None).is_ok() && concurrency(1, Some(429)).is_ok());
        assert_eq!(concurrency(0, None).expect_err("0").path().to_string(), "maxRequests");
        assert_eq!(concurrency(1, Some(500)).expect_err("500").path().to_string(), "statusCode");
    }
}
