//! Session persistence: what names a session, and how long it lasts (GEP-1619).

use std::time::Duration;

use agentgateway_proto::v1::{self, session_persistence::Type};
use http::HeaderName;

/// A compiled policy.
#[derive(Debug)]
pub struct SessionPersistence {
    /// What carries the token.
    pub carrier: Carrier,
    /// The session ends this long after its first request.
    pub absolute_timeout: Option<Duration>,
    /// The session ends this long after its last request.
    pub idle_timeout: Option<Duration>,
}

/// What carries the token of a session.
#[derive(Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A cookie.
    Cookie {
        /// Its name.
        name: String,
        /// It outlives the client's own session, until the absolute timeout.
        permanent: bool,
    },
    /// A header, in responses and in the client's requests.
    Header(HeaderName),
}

impl SessionPersistence {
    /// `key` is the policy's identity on its target; two policies must not share a default name.
    pub(crate) fn compile(spec: &v1::SessionPersistence, key: &str) -> Result<SessionPersistence, String> {
        let kind = Type::try_from(spec.r#type).map_err(|_| "its type is unknown to this proxy".to_owned())?;
        let timeout = |milliseconds: Option<u64>| milliseconds.filter(|ms| *ms > 0).map(Duration::from_millis);
        let absolute_timeout = timeout(spec.absolute_timeout_milliseconds);
        if spec.permanent_cookie && absolute_timeout.is_none() {
            return Err("a permanent cookie needs an absoluteTimeout".into());
        }
        let name = match spec.session_name.as_str() {
            "" => format!("agw-session-{}", suffix(key)),
            name => name.to_owned(),
        };
        let parsed: HeaderName = name.parse().map_err(|_| format!("{name:?} is no name of a cookie or a header"))?;
        let carrier = match kind {
            Type::Cookie => Carrier::Cookie { name, permanent: spec.permanent_cookie },
            Type::Header => Carrier::Header(parsed),
        };
        Ok(SessionPersistence { carrier, absolute_timeout, idle_timeout: timeout(spec.idle_timeout_milliseconds) })
    }
}

/// Eight hex digits, the same for a key in every replica and after every restart.
fn suffix(key: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
    digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(spec: v1::SessionPersistence) -> Result<SessionPersistence, String> {
        SessionPersistence::compile(&spec, "HTTPRoute/ns/r/0#0")
    }

    #[test]
    fn a_session_without_a_name_gets_one_of_its_own() {
        let name = |key| match SessionPersistence::compile(&v1::SessionPersistence::default(), key) {
            Ok(SessionPersistence { carrier: Carrier::Cookie { name, .. }, .. }) => name,
            other => panic!("no cookie: {other:?}"),
        };
        assert!(name("a").starts_with("agw-session-") && name("a") == name("a") && name("a") != name("b"));
    }

    #[test]
    fn headers_and_cookies_have_names_that_are_tokens() {
        let named = |name: &str, r#type: Type| {
            let (session_name, r#type) = (name.to_owned(), r#type.into());
            compile(v1::SessionPersistence { session_name, r#type, ..Default::default() })
        };
        let header = named("X-Session", Type::Header).expect("compiles");
        assert_eq!(header.carrier, Carrier::Header(HeaderName::from_static("x-session")));
        let cookie = named("Session", Type::Cookie).expect("compiles");
        assert_eq!(cookie.carrier, Carrier::Cookie { name: "Session".into(), permanent: false });
        assert!(named("a b", Type::Cookie).is_err() && named("a=b", Type::Cookie).is_err());
    }

    #[test]
    fn a_permanent_cookie_has_an_end() {
        let mut spec = v1::SessionPersistence { permanent_cookie: true, ..Default::default() };
        assert!(compile(spec.clone()).is_err());
        spec.absolute_timeout_milliseconds = Some(1000);
        assert_eq!(compile(spec).expect("compiles").absolute_timeout, Some(Duration::from_secs(1)));
    }
}
