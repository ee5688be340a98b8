//! jwtAuth, basicAuth and apiKey: what the YAML file has in files is in Secrets and ConfigMaps of the policy's namespace.

use agentgateway_convert::Error;
use agentgateway_convert::policy::{self as convert, Keys};
use agentgateway_types::policy::{BasicAuth, JwtAuth, ReferencedKeySet, SecretApiKeyAuth, SecretSource};

use super::{Made, config_map_text, invalid, secret_text, wrong};
use crate::Name;
use crate::view::View;

const KEY_SET: &str = "jwks";
const HTPASSWD: &str = ".htpasswd";
const AUTHORITIES: &str = "ca.crt";

pub(super) fn jwt(config: &JwtAuth<ReferencedKeySet>, policy: &Name, view: &View<'_>) -> Result<Made, String> {
    let made = convert::jwt(config, &mut |set| key_set(set, policy, view));
    made.map(Made::from).map_err(|e| wrong("spec.jwtAuth", e))
}

fn key_set(set: &ReferencedKeySet, policy: &Name, view: &View<'_>) -> Result<Keys, Error> {
    let key = |key: &Option<String>, usual: &str| key.clone().unwrap_or_else(|| usual.to_owned());
    let parse = |field: &'static str, text: String| Keys::of(&text).map_err(|reason| invalid(field, reason));
    match (&set.inline, &set.url, &set.secret_ref, &set.config_map_ref) {
        (Some(text), None, None, None) => parse("inline", text.clone()),
        (None, None, Some(secret), None) => {
            let text = secret_text(policy, &secret.name, &key(&secret.key, KEY_SET), view);
            parse("secretRef", text.map_err(|reason| invalid("secretRef", reason))?)
        }
        (None, None, None, Some(map)) => {
            let text = config_map_text(policy, &map.name, &key(&map.key, KEY_SET), view);
            parse("configMapRef", text.map_err(|reason| invalid("configMapRef", reason))?)
        }
        (None, Some(url), None, None) => {
            let authorities = match &set.ca_config_map_ref {
                None => Vec::new(),
                Some(map) => {
                    let text = config_map_text(policy, &map.name, &key(&map.key, AUTHORITIES), view);
                    let text = text.map_err(|reason| invalid("caConfigMapRef", reason))?;
                    let bundle = [prost::bytes::Bytes::from(text.clone())];
                    agentgateway_tls::authorities(&bundle).map_err(|e| invalid("caConfigMapRef", e.to_string()))?;
                    text.into_bytes()
                }
            };
            convert::remote_keys(url, set.refresh_interval, authorities)
        }
        _ => Err(Error::NotOne { path: Default::default(), members: "inline, url, secretRef and configMapRef" }),
    }
}

pub(super) fn basic(config: &BasicAuth<SecretSource>, policy: &Name, view: &View<'_>) -> Result<Made, String> {
    let mut text = |source: &SecretSource| {
        let key = source.secret_ref.key.as_deref().unwrap_or(HTPASSWD);
        secret_text(policy, &source.secret_ref.name, key, view).map_err(|reason| invalid("secretRef", reason))
    };
    convert::basic_auth(config, &mut text).map(Made::from).map_err(|e| wrong("spec.basicAuth", e))
}

/// An entry that is no key costs itself and no other: what is left out lets nobody in.
pub(super) fn api_key(config: &SecretApiKeyAuth, policy: &Name, view: &View<'_>) -> Result<Made, String> {
    let (mut keys, mut left_out) = (Vec::new(), Vec::new());
    for (i, reference) in config.secret_refs.iter().enumerate() {
        let name = Name::new(policy.namespace.clone(), reference.name.clone());
        let secret = view.secret(&name);
        let missing = || format!("spec.apiKey.secretRefs[{i}]: Secret {name} does not exist or cannot be read");
        for (entry, value) in secret.ok_or_else(missing)?.entries() {
            match convert::api_key_entry(entry, value) {
                Ok(key) => keys.push(key),
                Err(reason) => left_out.push(format!("{entry} of Secret {name} is left out: {reason}")),
            }
        }
    }
    if keys.is_empty() {
        let why = if left_out.is_empty() { "the Secrets are empty".to_owned() } else { left_out.join("; ") };
        return Err(format!("spec.apiKey.secretRefs: there is no key: {why}"));
    }
    let spec = convert::api_keys(config.mode, &config.locations, keys).map_err(|e| wrong("spec.apiKey", e))?;
    let remark = (!left_out.is_empty()).then(|| format!("spec.apiKey.secretRefs: {}", left_out.join("; ")));
    Ok(Made { remark, ..Made::from(spec) })
}
