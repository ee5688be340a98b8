//! Authentication of callers by name and password (RFC 7617).
//!
//! Hashing a password takes milliseconds, which no worker may spend: it is done by the threads of a [`Pool`], and what was found
//! right is remembered by each worker under a keyed hash for some minutes.

mod hash;
mod verified;

use std::collections::HashMap;
use std::sync::Arc;

use agentgateway_proto::v1::{self, AuthenticationMode as Mode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use self::hash::Hash;
use crate::credentials::{At, Locations, Scheme};
use crate::limits::MAX_PASSWORD_BYTES;
use crate::pool::Pool;
use crate::{Reason, Reply, RequestContext, State};

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct BasicAuthentication {
    users: HashMap<Box<str>, User, ahash::RandomState>,
    /// Hashed in the place of that of a name that is not known, so that both take as long.
    any: Hash,
    mode: Mode,
    challenge: HeaderValue,
    locations: Locations,
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct User {
    hash: Hash,
    /// What rules see.
    seen: Arc<Value>,
}

/// A name and a password, and where they were.
struct Claim {
    name: String,
    password: String,
    at: At,
}

/// What a request carries instead of a right password.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Absent,
    Wrong(&'static str),
    /// Too many passwords wait to be hashed.
    Busy,
}

impl BasicAuthentication {
    pub(crate) fn compile(spec: &v1::BasicAuthentication, state: &State) -> Result<BasicAuthentication, String> {
        let mode = Mode::try_from(spec.mode).map_err(|_| "its mode is unknown to this proxy".to_owned())?;
        let mut users = HashMap::with_capacity_and_hasher(spec.users.len(), ahash::RandomState::new());
        for user in &spec.users {
            let hash = Hash::compile(&user.hash).map_err(|e| format!("password of {:?}: {e}", user.name))?;
            let seen = Map::from_iter([("username".to_owned(), user.name.as_str().into())]);
            users.insert(user.name.as_str().into(), User { hash, seen: Arc::new(Value::Object(seen)) });
        }
        let any = users.values().map(|user| &user.hash).max_by_key(|hash| hash.is_slow()).cloned();
        let any = any.ok_or_else(|| "it names nobody".to_owned())?;
        let realm = if spec.realm.is_empty() { "restricted" } else { &spec.realm };
        let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        let challenge = HeaderValue::try_from(challenge).map_err(|_| "its realm is no header value".to_owned())?;
        let locations = Locations::compile(Scheme::Basic, &[], &[(header::AUTHORIZATION, "Basic ")])?;
        Ok(BasicAuthentication { users, any, mode, challenge, locations, pool: state.password_pool() })
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) async fn on_request(&self, head: &mut Parts, context: &mut RequestContext) -> Result<(), Reply> {
        let verified = match self.claim(head, context) {
            Ok(claim) => match self.verify(&claim).await {
                Ok(seen) => {
                    self.locations.take(claim.at, head, &mut context.credentials).map(|()| seen).map_err(Failure::Wrong)
                }
                Err(failure) => Err(failure),
            },
            Err(failure) => Err(failure),
        };
        match (verified, self.mode) {
            (Ok(seen), _) => {
                context.basic_auth = Some(seen);
                Ok(())
            }
            (Err(_), Mode::Permissive) | (Err(Failure::Absent), Mode::Optional) => Ok(()),
            (Err(failure), Mode::Strict | Mode::Optional) => Err(self.refuse(failure)),
        }
    }

    fn claim(&self, head: &Parts, context: &RequestContext) -> Result<Claim, Failure> {
        let found = self.locations.find(head, &context.credentials).map_err(Failure::Wrong)?.ok_or(Failure::Absent)?;
        if found.text.len() > 2 * MAX_PASSWORD_BYTES {
            return Err(Failure::Wrong("name and password are too long"));
        }
        let decoded = STANDARD.decode(found.text.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or(Failure::Wrong("name and password are not base64 of UTF-8"))?;
        let (name, password) = decoded.split_once(':').ok_or(Failure::Wrong("there is a name without a password"))?;
        Ok(Claim { name: name.to_owned(), password: password.to_owned(), at: found.at })
    }

    /// What rules see of the user, where the password is right.
    async fn verify(&self, claim: &Claim) -> Result<Arc<Value>, Failure> {
        const WRONG: Failure = Failure::Wrong("the name is not known, or the password is wrong");
        let user = self.users.get(claim.name.as_str());
        let hash = user.map_or(&self.any, |user| &user.hash);
        let key = verified::key(hash.text(), &claim.name, &claim.password);
        if let (Some(user), true) = (user, verified::is_known(&key)) {
            return Ok(Arc::clone(&user.seen));
        }
        let right = if hash.is_slow() {
            let (hash, password) = (hash.clone(), claim.password.clone());
            self.pool.run(move || hash.verify(&password)).await.ok_or(Failure::Busy)?
        } else {
            hash.verify(&claim.password)
        };
        match user {
            Some(user) if right => {
                verified::remember(key);
                Ok(Arc::clone(&user.seen))
            }
            _ => Err(WRONG),
        }
    }

    fn refuse(&self, failure: Failure) -> Reply {
        let (status, why) = match failure {
            Failure::Absent => (StatusCode::UNAUTHORIZED, "there are no name and password"),
            Failure::Wrong(why) => (StatusCode::UNAUTHORIZED, why),
            Failure::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many passwords wait to be checked"),
        };
        let mut reply = Reply::new(status, "authentication required", Reason::Unauthenticated(Scheme::Basic, why));
        if status == StatusCode::UNAUTHORIZED {
            reply.response.headers_mut().insert(header::WWW_AUTHENTICATE, self.challenge.clone());
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, request};

    /// `htpasswd -nbB ada secret`, with the least cost.
    const BCRYPT: &str = "$2y$04$QyRa8GIJh0wFdtBgVVSYUO0CHAfqLeuHJaTdiZ0CymSr6MjU2rRjO";

    fn compile(mode: Mode, hash: &str) -> Result<BasicAuthentication, String> {
        let users = vec![v1::BasicUser { name: "ada".into(), hash: hash.into() }];
        BasicAuthentication::compile(
            &v1::BasicAuthentication { users, mode: mode.into(), realm: String::new() },
            &State::new(),
        )
    }

    async fn ask(policy: &BasicAuthentication, credentials: Option<&str>) -> (u16, RequestContext, Parts) {
        let value = credentials.map(|text| format!("Basic {}", STANDARD.encode(text)));
        let headers: Vec<_> = value.iter().map(|value| ("authorization", value.as_str())).collect();
        let (mut head, mut context) = (request("GET", "/", &headers), context());
        let answer = policy.on_request(&mut head, &mut context).await;
        (answer.err().map_or(200, |reply| reply.response.status().as_u16()), context, head)
    }

    #[tokio::test]
    async fn a_right_password_passes_each_time_and_a_wrong_one_never() {
        let hash = bcrypt::hash("secret", 4).expect("hashes");
        let policy = compile(Mode::Strict, &hash).expect("compiles");
        for _ in 0..2 {
            let (status, context, head) = ask(&policy, Some("ada:secret")).await;
            assert_eq!(status, 200);
            assert_eq!(context.basic_auth.expect("a user")["username"], "ada");
            assert!(head.headers.is_empty(), "the password goes no further");
            for wrong in ["ada:Secret", "ada:", "ada", "bob:secret", ":secret", "ada:secret:"] {
                assert_eq!(ask(&policy, Some(wrong)).await.0, 401, "{wrong}");
            }
            assert_eq!(ask(&policy, None).await.0, 401);
        }
    }

    #[tokio::test]
    async fn modes_differ_in_what_is_refused() {
        for (mode, expected) in [(Mode::Optional, [200, 401]), (Mode::Permissive, [200, 200])] {
            let policy = compile(mode, "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=").expect("compiles");
            assert_eq!([ask(&policy, None).await.0, ask(&policy, Some("ada:x")).await.0], expected, "{mode:?}");
            assert_eq!(ask(&policy, Some("ada:secret")).await.0, 200);
        }
    }

    #[tokio::test]
    async fn a_changed_password_is_not_remembered() {
        let before = compile(Mode::Strict, &bcrypt::hash("before", 4).expect("hashes")).expect("compiles");
        assert_eq!(ask(&before, Some("ada:before")).await.0, 200);
        let after = compile(Mode::Strict, &bcrypt::hash("after", 4).expect("hashes")).expect("compiles");
        assert_eq!(ask(&after, Some("ada:before")).await.0, 401);
    }

    #[test]
    fn the_challenge_names_the_realm() {
        let policy = compile(Mode::Strict, BCRYPT).expect("compiles");
        let reply = policy.refuse(Failure::Absent);
        assert_eq!(reply.response.headers()["www-authenticate"], "Basic realm=\"restricted\", charset=\"UTF-8\"");
        assert!(!policy.refuse(Failure::Busy).response.headers().contains_key("www-authenticate"));
    }
}
