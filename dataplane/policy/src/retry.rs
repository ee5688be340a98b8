//! Retry: which exchanges with a backend are tried again, how often and after which pause (GEP-1731).

use std::time::Duration;

use agentgateway_proto::v1;
use http::{HeaderMap, StatusCode, header};

use crate::limits::{DEFAULT_RETRY_BACKOFF, MAX_RETRIES, MAX_RETRY_BACKOFF_DOUBLINGS};

/// A compiled policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    attempts: u32,
    /// Sorted.
    codes: Box<[u16]>,
    backoff: Duration,
}

impl Retry {
    pub(crate) fn compile(spec: &v1::Retry) -> Result<Retry, String> {
        let attempts = spec.attempts.unwrap_or(1);
        if attempts > MAX_RETRIES {
            return Err(format!("{attempts} attempts: at most {MAX_RETRIES} are allowed"));
        }
        let mut codes = Vec::with_capacity(spec.status_codes.len());
        for code in &spec.status_codes {
            match u16::try_from(*code) {
                Ok(code @ 400..=599) => codes.push(code),
                _ => return Err(format!("{code} is no status code of an error, which begin with 4 or 5")),
            }
        }
        codes.sort_unstable();
        let backoff = spec.backoff_milliseconds.map_or(DEFAULT_RETRY_BACKOFF, Duration::from_millis);
        Ok(Retry { attempts, codes: codes.into(), backoff })
    }

    /// Tries after the first.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether a response with this status is tried again.
    pub fn covers(&self, status: StatusCode) -> bool {
        self.codes.binary_search(&status.as_u16()).is_ok()
    }

    /// How long the backend asks to be left alone (`Retry-After` in seconds, RFC 9110 §10.2.3); a date is not looked at, since
    /// clocks differ. None where it asks for nothing.
    pub fn asked_pause(&self, headers: &HeaderMap) -> Option<Duration> {
        let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// The pause before the `nth` retry, from 1: doubled each time up to a limit, and up to as much again by `jitter`,
    /// which gives a number below its argument. Never shorter than what the user asked for, as the specification wants.
    pub fn pause(&self, nth: u32, jitter: impl FnOnce(u64) -> u64) -> Duration {
        let doublings = nth.saturating_sub(1).min(MAX_RETRY_BACKOFF_DOUBLINGS);
        let least = self.backoff.saturating_mul(1 << doublings);
        let nanoseconds = u64::try_from(least.as_nanos()).unwrap_or(u64::MAX);
        least.saturating_add(Duration::from_nanos(if nanoseconds == 0 { 0 } else { jitter(nanoseconds) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(attempts: Option<u32>, codes: &[u32], backoff: Option<u64>) -> Result<Retry, String> {
        Retry::compile(&v1::Retry { attempts, status_codes: codes.to_vec(), backoff_milliseconds: backoff })
    }

    #[test]
    fn one_attempt_unless_told_and_none_when_zero() {
        assert_eq!(compile(None, &[], None).expect("compiles").attempts(), 1);
        assert_eq!(compile(Some(0), &[503], None).expect("compiles").attempts(), 0);
        assert!(compile(Some(MAX_RETRIES + 1), &[], None).is_err());
    }

    #[test]
    fn only_listed_codes_are_tried_again() {
        let retry = compile(None, &[503, 429, 500], None).expect("compiles");
        let covered = |code: u16| retry.covers(StatusCode::from_u16(code).expect("a code"));
        assert!(covered(500) && covered(503) && covered(429) && !covered(502) && !covered(200));
        for bad in [200, 399, 600, 70_000] {
            assert!(compile(None, &[bad], None).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_backend_asks_for_a_pause_in_seconds() {
        let retry = compile(None, &[], None).expect("compiles");
        let asked = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static(value));
            retry.asked_pause(&headers)
        };
        assert_eq!((asked("2"), asked(" 0 ")), (Some(Duration::from_secs(2)), Some(Duration::ZERO)));
        assert_eq!((asked("soon"), asked("-1"), asked("Wed, 21 Oct 2026 07:28:00 GMT")), (None, None, None));
        assert_eq!(retry.asked_pause(&HeaderMap::new()), None);
    }

    #[test]
    fn pauses_double_with_jitter_and_are_never_shorter_than_asked() {
        let retry = compile(Some(5), &[], Some(100)).expect("compiles");
        let shortest: Vec<_> = (1..=3).map(|n| retry.pause(n, |_| 0).as_millis()).collect();
        assert_eq!(shortest, [100, 200, 400]);
        let longest = retry.pause(1, |below| below - 1);
        assert!(longest > Duration::from_millis(199) && longest < Duration::from_millis(200));
        assert_eq!(retry.pause(1000, |_| 0), retry.pause(1 + MAX_RETRY_BACKOFF_DOUBLINGS, |_| 0));
        assert_eq!(compile(None, &[], Some(0)).expect("compiles").pause(3, |_| 7), Duration::ZERO);
        assert_eq!(compile(None, &[], None).expect("compiles").pause(1, |_| 0), Duration::from_millis(25));
    }
}
