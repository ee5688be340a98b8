//! What is set for the exchange with the backend: timeouts, retries, mirrors, session persistence.

use agentgateway_proto::v1::{self, policy_spec::Kind, session_persistence::Type};
use agentgateway_types::policy::{CookieLifetime, RequestMirror, Retry, SessionPersistence, SessionType, Timeout};
use agentgateway_types::{Duration, Path};

use super::spec;
use crate::check;
use crate::error::{Error, Within};

/// How long requests may take.
pub fn timeout(policy: &Timeout) -> Result<v1::PolicySpec, Error> {
    let milliseconds = |duration: Option<Duration>| duration.map(Duration::milliseconds);
    let (request, backend) = (milliseconds(policy.request_timeout), milliseconds(policy.backend_request_timeout));
    let idle = milliseconds(policy.stream_idle_timeout);
    match (request, backend) {
        (None, None) if idle.is_none() => return Err(Error::Missing { path: Path::of("requestTimeout") }),
        (Some(request), Some(backend)) if request > 0 && backend > request => {
            return Err(Error::invalid(Path::of("backendRequestTimeout"), "must not be more than requestTimeout"));
        }
        _ => {}
    }
    Ok(spec(Kind::Timeouts(v1::Timeouts {
        request_milliseconds: request,
        backend_request_milliseconds: backend,
        stream_idle_milliseconds: idle,
    })))
}

/// Which requests are sent again.
pub fn retry(policy: &Retry) -> Result<v1::PolicySpec, Error> {
    for (i, code) in policy.codes.iter().enumerate() {
        if !(400..=599).contains(code) {
            let reason = format!("{code} is no status code of an error, which are 400 to 599");
            return Err(Error::invalid(Path::of("codes").index(i), reason));
        }
    }
    Ok(spec(Kind::Retry(v1::Retry {
        attempts: policy.attempts,
        status_codes: policy.codes.iter().map(|code| u32::from(*code)).collect(),
        backoff_milliseconds: policy.backoff.map(Duration::milliseconds),
    })))
}

/// Copies of requests; `backend` gives the key of the backend of this host.
pub fn request_mirror(
    policy: &RequestMirror,
    backend: &mut dyn FnMut(v1::HostBackend) -> Result<String, Error>,
) -> Result<v1::PolicySpec, Error> {
    let (numerator, denominator) = match (policy.percent, policy.fraction) {
        (Some(_), Some(_)) => return Err(Error::NotOne { path: Path::root(), members: "percent and fraction" }),
        (Some(percent), None) if percent > 100 => {
            return Err(Error::invalid(Path::of("percent"), format!("{percent} is more than 100")));
        }
        (Some(percent), None) => (percent, 100),
        (None, Some(fraction)) if fraction.denominator == 0 || fraction.numerator > fraction.denominator => {
            return Err(Error::invalid(Path::of("fraction"), "must be from 0 to 1"));
        }
        (None, Some(fraction)) => (fraction.numerator, fraction.denominator),
        (None, None) => (1, 1),
    };
    let host = crate::backend::one_host_of(&policy.backend).within(|| Path::of("backend"))?;
    let backend_key = backend(host).within(|| Path::of("backend.host"))?;
    Ok(spec(Kind::RequestMirror(v1::RequestMirror { backend_key, numerator, denominator })))
}

/// Sessions that stay with one endpoint.
pub fn session_persistence(policy: &SessionPersistence) -> Result<v1::PolicySpec, Error> {
    let lifetime = policy.cookie_config.as_ref().and_then(|c| c.lifetime_type).unwrap_or_default();
    let permanent_cookie = lifetime == CookieLifetime::Permanent;
    let kind = policy.kind.unwrap_or_default();
    if permanent_cookie && policy.absolute_timeout.is_none_or(|t| t.milliseconds() == 0) {
        return Err(Error::invalid(Path::of("absoluteTimeout"), "must be set where the cookie is permanent"));
    }
    if kind == SessionType::Header && policy.cookie_config.is_some() {
        return Err(Error::invalid(Path::of("cookieConfig"), "a header is no cookie"));
    }
    let name = policy.session_name.as_deref();
    Ok(spec(Kind::SessionPersistence(v1::SessionPersistence {
        session_name: name.map_or(Ok(String::new()), |n| check::header_name(Path::of("sessionName"), n))?,
        r#type: match kind {
            SessionType::Cookie => Type::Cookie.into(),
            SessionType::Header => Type::Header.into(),
        },
        absolute_timeout_milliseconds: policy.absolute_timeout.map(Duration::milliseconds),
        idle_timeout_milliseconds: policy.idle_timeout.map(Duration::milliseconds),
        permanent_cookie,
    })))
}

#[cfg(test)]
mod tests {
    use agentgateway_types::backend::HostBackend;
    use agentgateway_types::policy::{CookieConfig, Fraction};

    use super::*;

    fn duration(text: &str) -> Option<Duration> {
        Some(text.parse().expect("a duration"))
    }

    #[test]
    fn a_try_lasts_no_longer_than_the_request() {
        let of = |request_timeout, backend_request_timeout| {
            timeout(&Timeout { request_timeout, backend_request_timeout, ..Timeout::default() })
        };
        assert!(of(duration("1s"), duration("500ms")).is_ok());
        assert!(of(duration("0s"), duration("500ms")).is_ok(), "no limit is longer than any");
        assert!(of(None, duration("1s")).is_ok());
        let error = of(duration("1s"), duration("2s")).expect_err("longer");
        assert_eq!(error.path().to_string(), "backendRequestTimeout");
        assert!(of(None, None).is_err());
        assert!(timeout(&Timeout { stream_idle_timeout: duration("1s"), ..Timeout::default() }).is_ok());
    }

    #[test]
    fn only_errors_are_tried_again() {
        assert!(retry(&Retry { codes: vec![429, 503], ..Retry::default() }).is_ok());
        let error = retry(&Retry { codes: vec![503, 200], ..Retry::default() }).expect_err("no error");
        assert_eq!(error.path().to_string(), "codes[1]");
    }

    #[test]
    fn a_mirror_has_one_share_and_a_backend() {
        let convert = |percent, fraction, host: &str| {
            let backend = HostBackend { host: host.into(), app_protocol: None };
            let policy = RequestMirror { backend, percent, fraction };
            request_mirror(&policy, &mut |host| Ok(format!("key of {}", host.hosts[0].host)))
        };
        let Some(Kind::RequestMirror(mirror)) = convert(Some(20), None, "a:80").expect("converts").kind else {
            panic!("no mirror")
        };
        assert_eq!((mirror.numerator, mirror.denominator, mirror.backend_key.as_str()), (20, 100, "key of a"));
        let fraction = |numerator, denominator| Some(Fraction { numerator, denominator });
        assert!(convert(None, fraction(1, 1000), "a:80").is_ok());
        assert!(convert(None, fraction(2, 1), "a:80").is_err());
        assert!(convert(Some(101), None, "a:80").is_err());
        assert!(convert(Some(1), fraction(1, 2), "a:80").is_err());
        assert_eq!(convert(None, None, "a").expect_err("no port").path().to_string(), "backend.host");
    }

    #[test]
    fn permanent_cookies_have_an_end() {
        let cookie_config = Some(CookieConfig { lifetime_type: Some(CookieLifetime::Permanent) });
        let mut policy = SessionPersistence { cookie_config, ..SessionPersistence::default() };
        assert_eq!(session_persistence(&policy).expect_err("no end").path().to_string(), "absoluteTimeout");
        policy.absolute_timeout = duration("1h");
        assert!(session_persistence(&policy).is_ok());
        policy.kind = Some(SessionType::Header);
        assert!(session_persistence(&policy).is_err());
        let spaced = SessionPersistence { session_name: Some("a b".into()), ..SessionPersistence::default() };
        assert_eq!(session_persistence(&spaced).expect_err("a space").path().to_string(), "sessionName");
    }
}
