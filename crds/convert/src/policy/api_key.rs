//! API keys. The keys themselves end here: what travels is their hash.

use agentgateway_proto::v1::{self, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::policy::{ApiKey, ApiKeyAuth, AuthMode, CredentialLocation};
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::{Lookup, credentials, spec};
use crate::error::Error;

const HASH_PREFIX: &str = "sha256:";
const LEAST_BYTES: usize = 8;
const MOST_BYTES: usize = 4096;
const MOST_KEYS: usize = 4096;
const MOST_METADATA_BYTES: usize = 4096;

/// Keys of the YAML file.
pub fn api_key(policy: &ApiKeyAuth, lookup: &mut dyn Lookup) -> Result<v1::PolicySpec, Error> {
    let mut keys = Vec::with_capacity(policy.keys.len());
    for (i, key) in policy.keys.iter().enumerate() {
        let at = Path::of("keys").index(i);
        let name = key.name.clone().unwrap_or_else(|| format!("key{i}"));
        let hash = hash(key, &at, lookup)?;
        let metadata = metadata(key.metadata.clone().into_iter().collect());
        let metadata = metadata.map_err(|reason| Error::invalid(at.key("metadata"), reason))?;
        keys.push(v1::ApiKey { sha256: hash.into(), name, metadata });
    }
    api_keys(policy.mode, &policy.locations, keys)
}

/// The policy of these keys.
pub fn api_keys(
    mode: Option<AuthMode>,
    locations: &[CredentialLocation],
    keys: Vec<v1::ApiKey>,
) -> Result<v1::PolicySpec, Error> {
    let at = || Path::of("keys");
    if keys.is_empty() {
        return Err(Error::Missing { path: at() });
    }
    if keys.len() > MOST_KEYS {
        return Err(Error::invalid(at(), format!("{} keys; at most {MOST_KEYS} are allowed", keys.len())));
    }
    let mut by_hash: Vec<_> = keys.iter().map(|key| (&key.sha256, &key.name)).collect();
    by_hash.sort_unstable();
    for pair in by_hash.windows(2) {
        if let [(first, a), (second, b)] = pair
            && first == second
        {
            return Err(Error::invalid(at(), format!("{a} and {b} are the same key")));
        }
    }
    Ok(spec(Kind::ApiKey(v1::ApiKeyAuthentication {
        keys,
        mode: credentials::mode(mode),
        locations: credentials::locations(locations)?,
    })))
}

/// The key in an entry of a Secret: the key itself, its hash, or a JSON object with one of both and metadata.
///
/// # Errors
/// What is wrong with it, without a part of it.
pub fn api_key_entry(name: &str, value: &[u8]) -> Result<v1::ApiKey, String> {
    let text = std::str::from_utf8(value).map_err(|_| "it is not UTF-8".to_owned())?.trim_end_matches(['\r', '\n']);
    let name = name.to_owned();
    if text.starts_with('{') {
        // The reader's own message would quote what it stumbled over.
        let Ok(Value::Object(mut object)) = serde_json::from_str(text) else {
            return Err("it begins as JSON and is none".into());
        };
        let (key, key_hash, about) = (object.remove("key"), object.remove("keyHash"), object.remove("metadata"));
        if !object.is_empty() {
            return Err("a JSON entry has key or keyHash, and metadata".into());
        }
        let hash = match (key, key_hash) {
            (Some(Value::String(key)), None) => sha256(key.as_bytes())?,
            (None, Some(Value::String(hash))) => parse_hash(&hash)?,
            _ => return Err("a JSON entry has exactly one of key and keyHash, as text".into()),
        };
        let metadata = match about {
            None => String::new(),
            Some(Value::Object(about)) => metadata(about)?,
            Some(_) => return Err("metadata is not a JSON object".into()),
        };
        return Ok(v1::ApiKey { sha256: hash.into(), name, metadata });
    }
    let hash = if text.starts_with(HASH_PREFIX) { parse_hash(text)? } else { sha256(text.as_bytes())? };
    Ok(v1::ApiKey { sha256: hash.into(), name, metadata: String::new() })
}

fn hash(key: &ApiKey, at: &Path, lookup: &mut dyn Lookup) -> Result<Vec<u8>, Error> {
    let (field, hash) = match (&key.key, &key.key_hash, &key.file) {
        (Some(key), None, None) => ("key", lookup.expand(key).and_then(|key| sha256(key.as_bytes()))),
        (None, Some(hash), None) => ("keyHash", parse_hash(hash)),
        (None, None, Some(file)) => {
            let content = lookup.file(file);
            ("file", content.and_then(|content| sha256(content.trim_ascii_end()).map_err(|e| format!("{file}: {e}"))))
        }
        _ => return Err(Error::NotOne { path: at.clone(), members: "key, keyHash and file" }),
    };
    hash.map_err(|reason| Error::invalid(at.clone().key(field), reason))
}

fn sha256(key: &[u8]) -> Result<Vec<u8>, String> {
    if !(LEAST_BYTES..=MOST_BYTES).contains(&key.len()) {
        return Err(format!("a key has {LEAST_BYTES} to {MOST_BYTES} characters"));
    }
    if !key.iter().all(u8::is_ascii_graphic) {
        return Err("a key is made of visible ASCII characters, without spaces".into());
    }
    Ok(digest(&SHA256, key).as_ref().to_vec())
}

fn parse_hash(text: &str) -> Result<Vec<u8>, String> {
    let refuse = || format!("a hash is written {HASH_PREFIX} and 64 hexadecimal digits");
    let digits = text.strip_prefix(HASH_PREFIX).filter(|digits| digits.len() == 64).ok_or_else(refuse)?;
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pair = |pair: &[u8]| Some((nibble(*pair.first()?)? << 4) | nibble(*pair.get(1)?)?);
    digits.as_bytes().chunks(2).map(pair).collect::<Option<Vec<u8>>>().ok_or_else(refuse)
}

fn metadata(object: serde_json::Map<String, Value>) -> Result<String, String> {
    if object.is_empty() {
        return Ok(String::new());
    }
    let text = Value::Object(object).to_string();
    if text.len() > MOST_METADATA_BYTES {
        return Err(format!("it has {} bytes as JSON; at most {MOST_METADATA_BYTES} are allowed", text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-0123456789";
    // By `printf sk-0123456789 | sha256sum`.
    const HASH: &str = "sha256:c9d571e24d47e4b7dba9c9bb5bd5a3e8e9a2c1d1d9ad7d80fcd4c2d1f1a4d1b0";

    #[test]
    fn an_entry_is_a_key_a_hash_or_an_object() {
        let plain = api_key_entry("a", format!("{KEY}\n").as_bytes()).expect("a key");
        assert_eq!(plain.sha256.len(), 32);
        let hex: String = plain.sha256.iter().map(|b| format!("{b:02x}")).collect();
        for same in [
            format!("sha256:{hex}"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("{{\"key\":\"{KEY}\"}}"),
            format!("{{\"keyHash\":\"sha256:{hex}\"}}"),
        ] {
            assert_eq!(api_key_entry("a", same.as_bytes()).expect("a key"), plain, "{same}");
        }
        let about = format!("{{\"key\":\"{KEY}\",\"metadata\":{{\"tier\":\"gold\"}}}}");
        assert_eq!(api_key_entry("a", about.as_bytes()).expect("a key").metadata, "{\"tier\":\"gold\"}");
        assert!(api_key_entry("a", HASH.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_told() {
        let two = format!("{{\"key\":\"{KEY}\",\"keyHash\":\"{HASH}\"}}");
        for wrong in [
            "",
            "short",
            "with a space in it",
            "sha256:00",
            "{\"key\":",
            "{}",
            "{\"key\":1}",
            two.as_str(),
            "{\"key\":\"sk-0123456789\",\"other\":1}",
            "{\"key\":\"sk-0123456789\",\"metadata\":1}",
            "ümlaute-überall",
        ] {
            let error = api_key_entry("a", wrong.as_bytes()).expect_err(wrong);
            assert!(!error.contains("sk-0123456789"), "{error}");
        }
    }

    #[test]
    fn one_key_has_one_name() {
        let key = |name: &str| api_key_entry(name, KEY.as_bytes()).expect("a key");
        let error = api_keys(None, &[], vec![key("a"), key("b")]).expect_err("twice");
        assert_eq!(error.to_string(), "keys: a and b are the same key");
        assert!(api_keys(None, &[], vec![]).is_err());
    }
}
