//! Key files: a JWK, a JWK set or PEM public keys, normalised to a JWK set of public keys (RFC 7517, RFC 5280 §4.1, RFC 8410).

mod der;
mod pem;

use serde_json::{Map, Value, json};

/// The keys in `text` as a JWK set.
///
/// Private and symmetric keys are refused: a file of a verifier must not hold what signs.
pub(crate) fn normalise(text: &str) -> Result<String, String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let keys = if text.starts_with('{') {
        from_json(text)?
    } else if text.contains("-----BEGIN ") {
        pem::keys(text)?
    } else {
        return Err("neither a JWK, nor a JWK set, nor PEM".into());
    };
    if keys.is_empty() {
        return Err("holds no key".into());
    }
    Ok(json!({ "keys": keys }).to_string())
}

fn from_json(text: &str) -> Result<Vec<Value>, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    let keys = match value {
        Value::Object(mut set) if set.contains_key("keys") => match set.remove("keys") {
            Some(Value::Array(keys)) => keys,
            _ => return Err("\"keys\" is not a list".into()),
        },
        key => vec![key],
    };
    keys.into_iter().map(public_key).collect()
}

/// Members that a public key has (RFC 7517 §4, RFC 7518 §6); others, such as certificates, are left out.
const PUBLIC: [&str; 10] = ["kty", "use", "key_ops", "alg", "kid", "crv", "n", "e", "x", "y"];

/// Members of private and symmetric keys.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

fn public_key(key: Value) -> Result<Value, String> {
    let Value::Object(key) = key else { return Err("a key is not a JSON object".into()) };
    match key.get("kty").and_then(Value::as_str) {
        None => return Err("a key has no \"kty\": neither a JWK nor a JWK set".into()),
        Some("oct") => return Err("holds a symmetric key; tokens are verified with public keys only".into()),
        Some(_) => {}
    }
    if PRIVATE.iter().any(|member| key.contains_key(*member)) {
        return Err("holds a private key; put only the public key there".into());
    }
    let public: Map<String, Value> = key.into_iter().filter(|(name, _)| PUBLIC.contains(&name.as_str())).collect();
    Ok(Value::Object(public))
}

#[cfg(test)]
mod tests;
