//! JSON Web Tokens.

use agentgateway_proto::v1::{self, policy_spec::Kind};
use agentgateway_types::policy::{JwtAuth, KeySet, RequiredClaim};
use agentgateway_types::{Duration, Path};

use super::{Lookup, credentials, spec};
use crate::error::{Error, Within};
use crate::{check, jwks};

const MOST_CLOCK_SKEW_MILLISECONDS: u64 = 300_000;
/// Milliseconds from 10 s to 24 h.
const REFRESH: std::ops::RangeInclusive<u64> = 10_000..=86_400_000;

/// Where the keys of an issuer are.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Here: a JWK set as JSON.
    Set(String),
    /// To be fetched.
    Remote(v1::RemoteJwks),
}

impl Keys {
    /// A JWK, a JWK set or PEM as the set of its public keys.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(text: &str) -> Result<Keys, String> {
        jwks::normalise(text).map(Keys::Set)
    }
}

/// Authentication by JSON Web Tokens; `keys` converts what is under `jwks`.
pub fn jwt<K>(policy: &JwtAuth<K>, keys: &mut dyn FnMut(&K) -> Result<Keys, Error>) -> Result<v1::PolicySpec, Error> {
    let mut provider = |at: Path, issuer: &str, audiences: &[String], claims: &[RequiredClaim], set: &K| {
        if issuer.is_empty() {
            return Err(Error::Missing { path: at.key("issuer") });
        }
        let required_claims = required(claims, &at)?;
        let (jwks, remote_jwks) = match keys(set).within(|| at.key("jwks"))? {
            Keys::Set(jwks) => (jwks, None),
            Keys::Remote(remote) => (String::new(), Some(remote)),
        };
        let (issuer, audiences) = (issuer.to_owned(), audiences.to_vec());
        Ok(v1::JwtProvider { issuer, audiences, jwks, required_claims, remote_jwks })
    };
    let single = policy.issuer.is_some()
        || policy.jwks.is_some()
        || !policy.audiences.is_empty()
        || !policy.required_claims.is_empty();
    let providers = if single {
        if !policy.providers.is_empty() {
            return Err(Error::NotOne { path: Path::root(), members: "issuer with jwks, and providers," });
        }
        let issuer = policy.issuer.as_deref().ok_or(Error::Missing { path: Path::of("issuer") })?;
        let jwks = policy.jwks.as_ref().ok_or(Error::Missing { path: Path::of("jwks") })?;
        vec![provider(Path::root(), issuer, &policy.audiences, &policy.required_claims, jwks)?]
    } else {
        let each = policy.providers.iter().enumerate();
        each.map(|(i, p)| {
            provider(Path::of("providers").index(i), &p.issuer, &p.audiences, &p.required_claims, &p.jwks)
        })
        .collect::<Result<Vec<_>, _>>()?
    };
    if providers.is_empty() {
        return Err(Error::Missing { path: Path::of("issuer") });
    }
    let clock_skew_milliseconds = policy.clock_skew.map(Duration::milliseconds);
    if clock_skew_milliseconds.is_some_and(|skew| skew > MOST_CLOCK_SKEW_MILLISECONDS) {
        return Err(Error::invalid(Path::of("clockSkew"), "must not be more than 5m"));
    }
    Ok(spec(Kind::Jwt(v1::JwtAuthentication {
        providers,
        mode: credentials::mode(policy.mode),
        locations: credentials::locations(&policy.locations)?,
        clock_skew_milliseconds,
    })))
}

fn required(claims: &[RequiredClaim], at: &Path) -> Result<Vec<v1::RequiredClaim>, Error> {
    let one = |(i, claim): (usize, &RequiredClaim)| {
        if claim.name.is_empty() || claim.name.split('.').any(str::is_empty) {
            let at = at.clone().key("requiredClaims").index(i).key("name");
            return Err(Error::invalid(at, format!("{:?} is not the name of a claim", claim.name)));
        }
        Ok(v1::RequiredClaim { name: claim.name.clone(), values: claim.values.clone() })
    };
    claims.iter().enumerate().map(one).collect()
}

/// Keys of the YAML file.
pub fn key_set(set: &KeySet, lookup: &mut dyn Lookup) -> Result<Keys, Error> {
    let at = |field: &'static str, reason: String| Error::invalid(Path::of(field), reason);
    let of_url = [("refreshInterval", set.refresh_interval.is_some()), ("caFile", set.ca_file.is_some())];
    if let (None, Some((field, _))) = (&set.url, of_url.iter().find(|(_, is_set)| *is_set)) {
        return Err(at(field, "is for url only".into()));
    }
    match (&set.file, &set.inline, &set.url) {
        (Some(file), None, None) => {
            let content = lookup.file(file).map_err(|reason| at("file", reason))?;
            let text = String::from_utf8(content).map_err(|_| at("file", format!("{file} is not UTF-8")))?;
            Keys::of(&text).map_err(|reason| at("file", format!("{file} {reason}")))
        }
        (None, Some(text), None) => Keys::of(text).map_err(|reason| at("inline", reason)),
        (None, None, Some(url)) => {
            let authorities = match &set.ca_file {
                Some(file) => lookup.file(file).map_err(|reason| at("caFile", reason))?,
                None => Vec::new(),
            };
            remote_keys(url, set.refresh_interval, authorities)
        }
        _ => Err(Error::NotOne { path: Path::root(), members: "file, inline and url" }),
    }
}

/// Keys that are fetched; `authorities` as PEM, empty for those of the machine.
pub fn remote_keys(url: &str, refresh: Option<Duration>, authorities: Vec<u8>) -> Result<Keys, Error> {
    let refresh_milliseconds = refresh.map(Duration::milliseconds);
    if refresh_milliseconds.is_some_and(|refresh| !REFRESH.contains(&refresh)) {
        return Err(Error::invalid(Path::of("refreshInterval"), "must be from 10s to 24h"));
    }
    let url = check::http_url(Path::of("url"), url)?;
    if !authorities.is_empty() && !url.starts_with("https:") {
        return Err(Error::invalid(Path::of("url"), "must start with https:// where authorities are named"));
    }
    Ok(Keys::Remote(v1::RemoteJwks { url, refresh_milliseconds, authorities: authorities.into() }))
}
