//! Authentication of callers by JSON Web Tokens (RFC 7519, RFC 7515), in the `Authorization` header (RFC 6750) where nothing
//! else is said.
//!
//! Which algorithms a token may use follows from the key, never from the token: an RSA key verifies RSA signatures only,
//! there are no symmetric keys, and `none` is no algorithm. Signatures are verified on the worker: with ring that takes
//! 18 µs for RS256 with 2048 bits, 67 µs with 4096 bits and 40 µs for ES256. Verified tokens are remembered.

mod cache;
mod claims;
mod keys;
mod remote;
mod token;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use agentgateway_proto::v1::{self, AuthenticationMode as Mode};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use prost::Message;
use ring::digest;
use serde_json::Value;

use self::claims::Provider;
pub use self::remote::RemoteKeys;
use self::token::Token;
use crate::credentials::{Locations, Scheme};
use crate::limits::{CLOCK_LEEWAY_SECONDS, MAX_TOKEN_BYTES, REFETCH_PATIENCE};
use crate::{Reason, Reply, RequestContext, State};

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct JwtAuthentication {
    providers: Box<[Provider]>,
    mode: Mode,
    locations: Locations,
    /// Hash of all that decides over a token: policies that agree in it share what they remember.
    fingerprint: [u8; 32],
}

/// What a request carries instead of a valid token.
#[derive(Debug)]
enum Failure {
    Absent,
    Invalid(&'static str),
    /// That of the token is not among the keys; it may be soon.
    NoKey(&'static str, Arc<RemoteKeys>),
    /// There are no keys, so that nobody can tell whether the token is valid.
    NoKeys(Arc<RemoteKeys>),
}

impl JwtAuthentication {
    pub(crate) fn compile(spec: &v1::JwtAuthentication, state: &State) -> Result<JwtAuthentication, String> {
        let mode = Mode::try_from(spec.mode).map_err(|_| "its mode is unknown to this proxy".to_owned())?;
        if spec.providers.is_empty() {
            return Err("it names no issuer".into());
        }
        let mut fingerprint = [0; 32];
        // Everything but the mode and the places, by its own encoding.
        let deciding = v1::JwtAuthentication { mode: 0, locations: Vec::new(), ..spec.clone() };
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, &deciding.encode_to_vec()).as_ref());
        let leeway = spec.clock_skew_milliseconds.map_or(CLOCK_LEEWAY_SECONDS, |ms| ms as f64 / 1000.0);
        let compile = |provider| Provider::compile(provider, leeway, state);
        let providers = spec.providers.iter().map(compile).collect::<Result<_, _>>()?;
        let usual = [(header::AUTHORIZATION, "Bearer ")];
        let locations = Locations::compile(Scheme::Jwt, &spec.locations, &usual)?;
        Ok(JwtAuthentication { providers, mode, locations, fingerprint })
    }

    /// Whether it may wait for keys; those that cannot need no future.
    pub(crate) fn may_wait(&self) -> bool {
        self.providers.iter().any(Provider::is_remote)
    }

    /// Without waiting for keys.
    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) fn on_request(&self, head: &mut Parts, context: &mut RequestContext) -> Result<(), Reply> {
        let verified = self.authenticate(head, context);
        self.conclude(verified)
    }

    /// Waits for keys that are not there, once.
    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) async fn on_request_or_wait(&self, head: &mut Parts, context: &mut RequestContext) -> Result<(), Reply> {
        let mut verified = self.authenticate(head, context);
        if let Err(Failure::NoKey(_, keys) | Failure::NoKeys(keys)) = &verified {
            let keys = Arc::clone(keys);
            if keys.refetched(REFETCH_PATIENCE).await {
                verified = self.authenticate(head, context);
            }
        }
        self.conclude(verified)
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    fn conclude(&self, verified: Result<(), Failure>) -> Result<(), Reply> {
        match (verified, self.mode) {
            (Ok(()), _) | (Err(_), Mode::Permissive) | (Err(Failure::Absent), Mode::Optional) => Ok(()),
            (Err(failure), Mode::Strict | Mode::Optional) => Err(self.refuse(&failure)),
        }
    }

    fn authenticate(&self, head: &mut Parts, context: &mut RequestContext) -> Result<(), Failure> {
        // A clock before 1970 is no clock: every token has expired.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(f64::MAX, |d| d.as_secs_f64());
        let found = self.locations.find(head, &context.credentials).map_err(Failure::Invalid)?;
        let found = found.ok_or(Failure::Absent)?;
        let (claims, at) = (self.verify(&found.text, now)?, found.at);
        self.locations.take(at, head, &mut context.credentials).map_err(Failure::Invalid)?;
        context.claims = Some(claims);
        Ok(())
    }

    /// The claims of a valid token, or what is wrong with it.
    fn verify(&self, text: &str, now: f64) -> Result<Arc<Value>, Failure> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Failure::Invalid("the token is too long"));
        }
        let holds = |source: cache::Source| {
            self.providers.get(source.provider).is_some_and(|p| p.version(now) == Some(source.version))
        };
        if let Some(claims) = cache::get(&self.fingerprint, text, now, holds) {
            return Ok(claims);
        }
        let token = Token::parse(text).map_err(Failure::Invalid)?;
        let mut failure = Failure::Invalid("no provider knows the token's issuer");
        for (index, provider) in self.providers.iter().enumerate().filter(|(_, p)| p.is_issuer_of(&token)) {
            match provider.verify(&token, now) {
                Ok(valid) => {
                    let claims = Arc::new(token.claims);
                    let source = cache::Source { provider: index, version: valid.version };
                    cache::put(&self.fingerprint, text, &claims, valid.expires, source);
                    return Ok(claims);
                }
                Err(reason) => failure = reason,
            }
        }
        Err(failure)
    }

    fn refuse(&self, failure: &Failure) -> Reply {
        // RFC 6750 §3: no error code where there was no token.
        let (status, challenge, reason) = match failure {
            Failure::Absent => {
                (StatusCode::UNAUTHORIZED, Some(HeaderValue::from_static("Bearer")), "there is no token")
            }
            Failure::Invalid(reason) | Failure::NoKey(reason, _) => {
                let challenge =
                    HeaderValue::try_from(format!("Bearer error=\"invalid_token\", error_description=\"{reason}\""));
                let challenge = challenge.unwrap_or(HeaderValue::from_static("Bearer error=\"invalid_token\""));
                (StatusCode::UNAUTHORIZED, Some(challenge), *reason)
            }
            Failure::NoKeys(_) => (StatusCode::SERVICE_UNAVAILABLE, None, "the issuer's keys could not be fetched"),
        };
        let mut reply = Reply::new(status, "authentication required", Reason::Unauthenticated(Scheme::Jwt, reason));
        if let Some(challenge) = challenge {
            reply.response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        reply
    }
}

#[cfg(test)]
mod tests;
