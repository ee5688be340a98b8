//! What is left of a limit, as draft-ietf-httpapi-ratelimit-headers-03 writes it in responses.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::bucket::Parameters;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    /// Until there is more.
    pub(crate) reset: Duration,
    /// So many come in so many seconds.
    pub(crate) rate: (u64, u64),
}

impl Quota {
    pub(crate) fn of(parameters: &Parameters, remaining: u64, reset: Duration) -> Quota {
        let rate = (parameters.tokens_per_fill, seconds(parameters.fill_interval));
        Quota { limit: parameters.max_tokens, remaining, reset, rate }
    }

    /// Keeps the one that has less left: of several limits that is the one that will refuse first.
    pub(crate) fn keep_least(self, least: &mut Option<Quota>) {
        if least.is_none_or(|least| self.remaining < least.remaining) {
            *least = Some(self);
        }
    }

    /// For a response to a request that passed, or did not.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let mut limit = self.limit.to_string();
        let (amount, window) = self.rate;
        // Writing to a String does not fail.
        let _written = write!(limit, ", {amount};w={window}");
        headers.extend(HeaderValue::try_from(limit).ok().map(|limit| (LIMIT, limit)));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(seconds(self.reset)));
    }

    /// For a refusal by a limit that says nothing more.
    pub(crate) fn write_refusal(&self, headers: &mut HeaderMap) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(self.reset)));
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(seconds(self.reset)));
    }
}

/// Rounded up: whoever comes back after that many seconds finds what was promised.
fn seconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_with_the_least_left_is_told() {
        let parameters = Parameters { max_tokens: 10, tokens_per_fill: 5, fill_interval: Duration::from_secs(60) };
        let mut least = None;
        for remaining in [7, 3, 9] {
            Quota::of(&parameters, remaining, Duration::from_millis(1500)).keep_least(&mut least);
        }
        let mut headers = HeaderMap::new();
        least.expect("some").write(&mut headers);
        let text = |name: &HeaderName| headers[name].to_str().expect("text").to_owned();
        assert_eq!([&LIMIT, &REMAINING, &RESET].map(text), ["10, 5;w=60", "3", "2"]);
    }
}
