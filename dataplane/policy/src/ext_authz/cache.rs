//! Decisions that this worker remembers for a while, bounded in number and size. Only what the service said is remembered, never
//! that it could not be asked.

use crate::rules::beyond_requests;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentgateway_expression::Expression;
use agentgateway_proto::v1;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use super::Decision;
use super::changes::{Changes, size_of};
use crate::limits::{DEFAULT_MAX_DECISIONS, MAX_CACHED_POLICIES, MAX_DECISION_BYTES};
use crate::{HttpInput, Reason, Reply};

/// How decisions are remembered.
#[derive(Debug)]
pub(super) struct Cache {
    key: Box<[Expression]>,
    ttl: Duration,
    max_entries: usize,
    /// Of the whole policy: another service's decisions are others.
    fingerprint: [u8; 32],
}

/// What tells requests with different decisions apart.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

#[derive(Clone)]
enum Remembered {
    Allowed(Arc<Changes>),
    Denied { status: StatusCode, headers: HeaderMap, body: Bytes, reason: Reason, metadata: Map<String, Value> },
}

struct Entry {
    decision: Remembered,
    expires: Instant,
}

type Decisions = HashMap<Key, Entry, ahash::RandomState>;

thread_local! {
    static DECISIONS: RefCell<HashMap<[u8; 32], Decisions, ahash::RandomState>> = RefCell::default();
}

impl Cache {
    pub(super) fn compile(spec: &v1::external_authorization::Cache, whole: &[u8]) -> Result<Cache, String> {
        let compile = |source: &String| {
            let expression = Expression::compile(source).map_err(|e| format!("cache key {source:?}: {e}"))?;
            if let Some(why) = beyond_requests(&expression) {
                return Err(format!("cache key {source:?}: {why}"));
            }
            Ok(expression)
        };
        if spec.key.is_empty() || spec.ttl_milliseconds == 0 {
            return Err("its cache has no key or no time".into());
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, whole).as_ref());
        let max_entries = usize::try_from(spec.max_entries).unwrap_or(usize::MAX);
        Ok(Cache {
            key: spec.key.iter().map(compile).collect::<Result<_, String>>()?,
            ttl: Duration::from_millis(spec.ttl_milliseconds),
            max_entries: if max_entries == 0 { DEFAULT_MAX_DECISIONS } else { max_entries },
            fingerprint,
        })
    }

    /// None: one of the expressions has no value, so the decision is not for any other request.
    pub(super) fn key(&self, input: &HttpInput<'_>) -> Option<Key> {
        let mut bytes = Vec::with_capacity(128);
        for expression in &self.key {
            expression.evaluate_key(input, &mut bytes).ok()?;
        }
        <[u8; 32]>::try_from(digest(&SHA256, &bytes).as_ref()).ok().map(Key)
    }

    pub(super) fn get(&self, key: &Key) -> Option<Decision> {
        let now = now();
        DECISIONS.with_borrow(|all| {
            let entry = all.get(&self.fingerprint)?.get(key).filter(|entry| now < entry.expires)?;
            Some(match entry.decision.clone() {
                Remembered::Allowed(changes) => Decision::Allowed(changes),
                Remembered::Denied { status, headers, body, reason, metadata } => {
                    let mut response = Response::new(body);
                    *response.status_mut() = status;
                    *response.headers_mut() = headers;
                    Decision::Denied(Box::new(Reply { response, reason }), metadata)
                }
            })
        })
    }

    pub(super) fn put(&self, key: Key, decision: &Decision) {
        let (decision, size) = match decision {
            Decision::Allowed(changes) => (Remembered::Allowed(Arc::clone(changes)), changes.size()),
            Decision::Denied(reply, metadata) => {
                let (headers, body) = (reply.response.headers().clone(), reply.response.body().clone());
                let size = size_of(metadata)
                    + body.len()
                    + headers.iter().map(|(n, v)| n.as_str().len() + v.len()).sum::<usize>();
                let (status, reason) = (reply.response.status(), reply.reason.clone());
                (Remembered::Denied { status, headers, body, reason, metadata: metadata.clone() }, size)
            }
        };
        if size > MAX_DECISION_BYTES {
            return;
        }
        let now = now();
        DECISIONS.with_borrow_mut(|all| {
            // Policies that are gone leave theirs behind.
            if all.len() >= MAX_CACHED_POLICIES && !all.contains_key(&self.fingerprint) {
                all.clear();
            }
            let decisions = all.entry(self.fingerprint).or_default();
            if decisions.len() >= self.max_entries {
                decisions.retain(|_, entry| now < entry.expires);
                if decisions.len() >= self.max_entries {
                    decisions.clear();
                }
            }
            decisions.insert(key, Entry { decision, expires: now + self.ttl });
        });
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, request};

    fn cache(max_entries: u32, whole: &[u8]) -> Cache {
        let key = vec!["request.path".to_owned(), "request.headers['x-user']".to_owned()];
        let spec = v1::external_authorization::Cache { key, ttl_milliseconds: 1000, max_entries };
        Cache::compile(&spec, whole).expect("compiles")
    }

    fn key(cache: &Cache, path: &str, user: Option<&str>) -> Option<Key> {
        let headers: Vec<_> = user.iter().map(|user| ("x-user", *user)).collect();
        let head = request("GET", path, &headers);
        cache.key(&context().input(&head))
    }

    fn allowed() -> Decision {
        Decision::Allowed(Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_decision_is_for_equal_requests_of_the_same_policy_and_for_a_while() {
        let (one, other) = (cache(0, b"one"), cache(0, b"other"));
        one.put(key(&one, "/a", Some("ada")).expect("a key"), &allowed());
        let found = |cache: &Cache, path, user| key(cache, path, Some(user)).and_then(|key| cache.get(&key)).is_some();
        assert!(found(&one, "/a", "ada"));
        assert!(!found(&one, "/b", "ada") && !found(&one, "/a", "bob") && !found(&other, "/a", "ada"));
        assert!(key(&one, "/a", None).is_none(), "without a value there is no key");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!found(&one, "/a", "ada"));
    }

    #[test]
    fn refusals_are_remembered_too_unless_they_are_large() {
        let cache = cache(0, b"refusals");
        for (body, remembered) in [("no".to_owned(), true), ("x".repeat(MAX_DECISION_BYTES + 1), false)] {
            let key = key(&cache, &format!("/{}", body.len()), Some("ada")).expect("a key");
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            let reply = Reply { response, reason: Reason::ExternallyDenied("p".into()) };
            cache.put(key.clone(), &Decision::Denied(Box::new(reply), Map::new()));
            match cache.get(&key) {
                Some(Decision::Denied(reply, _)) => assert_eq!(reply.response.status(), StatusCode::IM_A_TEAPOT),
                Some(Decision::Allowed(_)) => panic!("it was refused"),
                None => assert!(!remembered),
            }
        }
    }

    #[test]
    fn is_bounded() {
        let cache = cache(10, b"bounded");
        for i in 0..100 {
            cache.put(key(&cache, &format!("/{i}"), Some("ada")).expect("a key"), &allowed());
            assert!(DECISIONS.with_borrow(|all| all[&cache.fingerprint].len()) <= 10);
        }
        for i in 0..2 * MAX_CACHED_POLICIES {
            let cache = self::cache(10, &i.to_be_bytes());
            cache.put(key(&cache, "/", Some("ada")).expect("a key"), &allowed());
            assert!(DECISIONS.with_borrow(HashMap::len) <= MAX_CACHED_POLICIES);
        }
    }
}
