//! Authentication of callers by JSON Web Tokens (RFC 7519, RFC 7515) in the `Authorization` header (RFC 6750).
//!
//! Which algorithms a token may use follows from the key, never from the token: an RSA key verifies RSA signatures only,
//! there are no symmetric keys, and `none` is no algorithm. Signatures are verified on the worker: with ring that takes
//! 18 µs for RS256 with 2048 bits, 67 µs with 4096 bits and 40 µs for ES256. Verified tokens are remembered.

mod cache;
mod claims;
mod keys;
mod token;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use agentgateway_proto::v1::{self, jwt_authentication::Mode};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use ring::digest;
use serde_json::Value;

use self::claims::Provider;
use self::token::Token;
use crate::limits::MAX_TOKEN_BYTES;
use crate::{Reason, Reply, RequestContext};

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct JwtAuthentication {
    providers: Box<[Provider]>,
    mode: Mode,
    /// Hash of issuers, audiences and keys: policies that agree in them share what they remember.
    fingerprint: [u8; 32],
}

/// What a request carries instead of a valid token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Absent,
    Invalid(&'static str),
}

impl JwtAuthentication {
    pub(crate) fn compile(spec: &v1::JwtAuthentication) -> Result<JwtAuthentication, String> {
        let mode = Mode::try_from(spec.mode).map_err(|_| "its mode is unknown to this proxy".to_owned())?;
        if spec.providers.is_empty() {
            return Err("it names no issuer".into());
        }
        let mut context = digest::Context::new(&digest::SHA256);
        for provider in &spec.providers {
            for text in std::iter::once(&provider.issuer).chain(&provider.audiences).chain([&provider.jwks]) {
                context.update(&(text.len() as u64).to_be_bytes());
                context.update(text.as_bytes());
            }
            context.update(&[0xff; 8]);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref());
        let providers = spec.providers.iter().map(Provider::compile).collect::<Result<_, _>>()?;
        Ok(JwtAuthentication { providers, mode, fingerprint })
    }

    #[allow(clippy::result_large_err, reason = "the answer is moved once, to the connection that sends it")]
    pub(crate) fn on_request(&self, head: &mut Parts, context: &mut RequestContext) -> Result<(), Reply> {
        // A clock before 1970 is no clock: every token has expired.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(f64::MAX, |d| d.as_secs_f64());
        let verified = bearer(head, context).and_then(|(credentials, text)| {
            let claims = self.verify(text, now).map_err(Failure::Invalid)?;
            Ok((credentials.clone(), claims))
        });
        match (verified, self.mode) {
            (Ok((mut credentials, claims)), _) => {
                credentials.set_sensitive(true);
                head.headers.remove(header::AUTHORIZATION);
                context.credentials = Some(credentials);
                context.claims = Some(claims);
                Ok(())
            }
            (Err(_), Mode::Permissive) | (Err(Failure::Absent), Mode::Optional) => Ok(()),
            (Err(failure), Mode::Strict | Mode::Optional) => Err(refuse(failure)),
        }
    }

    /// The claims of a valid token, or what is wrong with it.
    fn verify(&self, text: &str, now: f64) -> Result<Arc<Value>, &'static str> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err("the token is too long");
        }
        if let Some(claims) = cache::get(&self.fingerprint, text, now) {
            return Ok(claims);
        }
        let token = Token::parse(text)?;
        let mut failure = "no provider knows the token's issuer";
        for provider in self.providers.iter().filter(|p| p.is_issuer_of(&token)) {
            match provider.verify(&token, now) {
                Ok(expires) => {
                    let claims = Arc::new(token.claims);
                    cache::put(&self.fingerprint, text, &claims, expires);
                    return Ok(claims);
                }
                Err(reason) => failure = reason,
            }
        }
        Err(failure)
    }
}

/// The bearer token of the request, or of an earlier policy that took it off.
fn bearer<'a>(head: &'a Parts, context: &'a RequestContext) -> Result<(&'a HeaderValue, &'a str), Failure> {
    let mut values = head.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next().or(context.credentials.as_ref()) else { return Err(Failure::Absent) };
    if values.next().is_some() {
        return Err(Failure::Invalid("there are several Authorization headers"));
    }
    let text = value.to_str().map_err(|_| Failure::Invalid("the Authorization header is not text"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok((value, token.trim())),
        _ => Err(Failure::Absent),
    }
}

fn refuse(failure: Failure) -> Reply {
    // RFC 6750 §3: no error code where there was no token.
    let (challenge, reason) = match failure {
        Failure::Absent => (HeaderValue::from_static("Bearer"), "there is no bearer token"),
        Failure::Invalid(reason) => {
            let challenge =
                HeaderValue::try_from(format!("Bearer error=\"invalid_token\", error_description=\"{reason}\""));
            (challenge.unwrap_or(HeaderValue::from_static("Bearer error=\"invalid_token\"")), reason)
        }
    };
    let mut reply = Reply::new(StatusCode::UNAUTHORIZED, "authentication required", Reason::Unauthenticated(reason));
    reply.response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    reply
}

#[cfg(test)]
mod tests;
