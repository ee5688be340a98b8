//! Authentication of callers by API keys.
//!
//! Keys are known by their SHA-256 alone, and looked up by it: how long that takes says nothing about a key, since nobody can
//! choose the hash of what he sends.

use std::collections::HashMap;
use std::sync::Arc;

use agentgateway_proto::v1::{self, AuthenticationMode as Mode};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use crate::credentials::{Locations, Scheme};
use crate::limits::MAX_TOKEN_BYTES;
use crate::{Reason, Reply, RequestContext};

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct ApiKeyAuthentication {
    /// What rules see, by the key's hash.
    keys: HashMap<[u8; 32], Arc<Value>, ahash::RandomState>,
    mode: Mode,
    locations: Locations,
}

impl ApiKeyAuthentication {
    pub(crate) fn compile(spec: &v1::ApiKeyAuthentication) -> Result<ApiKeyAuthentication, String> {
        let mode = Mode::try_from(spec.mode).map_err(|_| "its mode is unknown to this proxy".to_owned())?;
        if spec.keys.is_empty() {
            return Err("it has no keys".into());
        }
        let mut keys = HashMap::with_capacity_and_hasher(spec.keys.len(), ahash::RandomState::new());
        for key in &spec.keys {
            let hash = <[u8; 32]>::try_from(&*key.sha256).map_err(|_| format!("the hash of {} is none", key.name))?;
            let metadata = match key.metadata.as_str() {
                "" => Map::new(),
                text => serde_json::from_str(text).map_err(|e| format!("metadata of {}: {e}", key.name))?,
            };
            let seen = [("name".to_owned(), key.name.as_str().into()), ("metadata".to_owned(), metadata.into())];
            keys.insert(hash, Arc::new(Value::Object(Map::from_iter(seen))));
        }
        const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
        let usual = [(header::AUTHORIZATION, "Bearer "), (X_API_KEY, "")];
        Ok(ApiKeyAuthentication { keys, mode, locations: Locations::compile(Scheme::ApiKey, &spec.locations, &usual)? })
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) fn on_request(&self, head: &mut Parts, context: &mut RequestContext) -> Result<(), Reply> {
        let verified = match self.locations.find(head, &context.credentials) {
            Ok(None) => Err(None),
            Ok(Some(found)) => self.known(&found.text).map(|key| (key, found.at)).ok_or(Some("the key is not known")),
            Err(reason) => Err(Some(reason)),
        };
        let verified = verified.and_then(|(key, at)| {
            self.locations.take(at, head, &mut context.credentials).map_err(Some)?;
            Ok(key)
        });
        match (verified, self.mode) {
            (Ok(key), _) => {
                context.api_key = Some(key);
                Ok(())
            }
            (Err(_), Mode::Permissive) | (Err(None), Mode::Optional) => Ok(()),
            (Err(why), Mode::Strict | Mode::Optional) => Err(self.refuse(why.unwrap_or("there is no API key"))),
        }
    }

    fn known(&self, key: &str) -> Option<Arc<Value>> {
        if key.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let hash = digest(&SHA256, key.as_bytes());
        self.keys.get(hash.as_ref()).map(Arc::clone)
    }

    fn refuse(&self, why: &'static str) -> Reply {
        let reason = Reason::Unauthenticated(Scheme::ApiKey, why);
        let mut reply = Reply::new(StatusCode::UNAUTHORIZED, "authentication required", reason);
        let challenge = if self.locations.has_bearer() { "Bearer" } else { "ApiKey" };
        reply.response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, request};

    const KEY: &str = "sk-0123456789";

    fn policy(mode: Mode) -> ApiKeyAuthentication {
        let sha256 = digest(&SHA256, KEY.as_bytes()).as_ref().to_vec().into();
        let key = v1::ApiKey { sha256, name: "ada".into(), metadata: "{\"tier\":\"gold\"}".into() };
        let spec = v1::ApiKeyAuthentication { keys: vec![key], mode: mode.into(), locations: vec![] };
        ApiKeyAuthentication::compile(&spec).expect("compiles")
    }

    fn status(policy: &ApiKeyAuthentication, headers: &[(&str, &str)]) -> (u16, RequestContext, Parts) {
        let (mut head, mut context) = (request("GET", "/", headers), context());
        let status = policy.on_request(&mut head, &mut context).err().map_or(200, |r| r.response.status().as_u16());
        (status, context, head)
    }

    #[test]
    fn a_known_key_passes_says_whose_it_is_and_goes_no_further() {
        let strict = policy(Mode::Strict);
        for headers in [&[("authorization", "Bearer sk-0123456789")], &[("x-api-key", KEY)]] {
            let (found, context, head) = status(&strict, headers);
            assert_eq!(found, 200);
            let key = context.api_key.expect("a key");
            assert_eq!((&key["name"], &key["metadata"]["tier"]), (&"ada".into(), &"gold".into()));
            assert!(head.headers.is_empty());
        }
    }

    #[test]
    fn modes_differ_in_what_is_refused() {
        let long = "k".repeat(MAX_TOKEN_BYTES + 1);
        let absent: &[(&str, &str)] = &[];
        let wrong: &[(&str, &str)] = &[("x-api-key", "sk-9876543210")];
        let twice: &[(&str, &str)] = &[("x-api-key", KEY), ("x-api-key", KEY)];
        let huge: &[(&str, &str)] = &[("x-api-key", &long)];
        for (mode, expected) in [
            (Mode::Strict, [401, 401, 401, 401]),
            (Mode::Optional, [200, 401, 401, 401]),
            (Mode::Permissive, [200, 200, 200, 200]),
        ] {
            let found = [absent, wrong, twice, huge].map(|headers| {
                let (found, context, _) = status(&policy(mode), headers);
                assert!(context.api_key.is_none());
                found
            });
            assert_eq!(found, expected, "{mode:?}");
        }
    }

    #[test]
    fn what_is_no_policy_does_not_compile() {
        let key = |sha256: &[u8], metadata: &str| v1::ApiKey {
            sha256: sha256.to_vec().into(),
            name: "a".into(),
            metadata: metadata.into(),
        };
        for keys in [vec![], vec![key(&[0; 31], "")], vec![key(&[0; 32], "[]")]] {
            let spec = v1::ApiKeyAuthentication { keys, ..Default::default() };
            assert!(ApiKeyAuthentication::compile(&spec).is_err());
        }
    }
}
