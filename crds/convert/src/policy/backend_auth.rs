//! How the gateway authenticates to backends.

use agentgateway_proto::v1::{self, backend_authentication as message, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::policy::{AwsAuth, BackendAuth, BackendKey, TextSource};

use super::basic_auth::text;
use super::{Lookup, spec};
use crate::check;
use crate::error::{Error, Within};

/// Credentials of AWS.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Id of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// Token of temporary credentials; empty for lasting ones.
    pub session_token: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// How the gateway authenticates to a backend; `key` and `aws` convert these members.
pub fn backend_auth<K, A>(
    policy: &BackendAuth<K, A>,
    key: &mut dyn FnMut(&BackendKey<K>) -> Result<message::Key, Error>,
    aws: &mut dyn FnMut(&A) -> Result<message::Aws, Error>,
) -> Result<v1::PolicySpec, Error> {
    let kind = match (&policy.passthrough, &policy.key, &policy.aws) {
        (Some(_), None, None) => message::Kind::Passthrough(message::Passthrough {}),
        (None, Some(own), None) => message::Kind::Key(key(own).within(|| Path::of("key"))?),
        (None, None, Some(own)) => message::Kind::Aws(aws(own).within(|| Path::of("aws"))?),
        _ => return Err(Error::NotOne { path: Path::root(), members: "passthrough, key and aws" }),
    };
    Ok(spec(Kind::BackendAuth(v1::BackendAuthentication { kind: Some(kind) })))
}

/// A key of the gateway's own, from its text.
pub fn key<K>(config: &BackendKey<K>, text: &str) -> Result<message::Key, Error> {
    let header = config.header.as_deref().unwrap_or("Authorization");
    let header = check::header_name(Path::of("header"), header)?;
    let usual = if header.eq_ignore_ascii_case("authorization") { "Bearer " } else { "" };
    let text = text.trim_end_matches(['\r', '\n']);
    let value = format!("{}{text}", config.prefix.as_deref().unwrap_or(usual));
    if text.is_empty() || !value.bytes().all(|b| (b' '..0x7f).contains(&b)) || value.trim() != value {
        let reason = "a key is made of visible ASCII characters, with no spaces at its ends";
        return Err(Error::invalid(Path::of("value"), reason));
    }
    Ok(message::Key { header, value })
}

/// Signatures of AWS.
pub fn aws(
    region: &str,
    service: &str,
    unsigned_payload: Option<bool>,
    credentials: Credentials,
) -> Result<message::Aws, Error> {
    let word = |field: &'static str, text: &str| {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !text.is_empty() && text.bytes().all(good) {
            return Ok(text.to_owned());
        }
        Err(Error::invalid(Path::of(field), format!("{text:?} is not made of lower case letters, digits and dashes")))
    };
    let secret = |what: &str, text: &str| {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(());
        }
        Err(Error::invalid(Path::root(), format!("{what} is empty, or holds characters that none has")))
    };
    secret("the access key id", &credentials.access_key_id)?;
    secret("the secret access key", &credentials.secret_access_key)?;
    if !credentials.session_token.is_empty() {
        secret("the session token", &credentials.session_token)?;
    }
    Ok(message::Aws {
        region: word("region", region)?,
        service: word("service", service)?,
        access_key_id: credentials.access_key_id,
        secret_access_key: credentials.secret_access_key,
        session_token: credentials.session_token,
        unsigned_payload: unsigned_payload.unwrap_or(false),
    })
}

/// As the YAML file writes it.
pub fn from_file(policy: &BackendAuth<TextSource, AwsAuth>, lookup: &mut dyn Lookup) -> Result<v1::PolicySpec, Error> {
    // One lookup for two closures, of which one is called.
    let lookup = std::cell::RefCell::new(lookup);
    backend_auth(
        policy,
        &mut |config| {
            let mut lookup = lookup.borrow_mut();
            let mut text = text(&config.value, &mut **lookup).within(|| Path::of("value"))?;
            if config.value.inline.is_some() {
                let at = || Path::of("value").key("inline");
                text = lookup.expand(&text).map_err(|reason| Error::invalid(at(), reason))?;
            }
            key(config, &text)
        },
        &mut |config| aws_from_file(config, &mut **lookup.borrow_mut()),
    )
}

fn aws_from_file(config: &AwsAuth, lookup: &mut dyn Lookup) -> Result<message::Aws, Error> {
    let credentials = match (&config.access_key_id, &config.secret_access_key, &config.credentials_file) {
        (Some(id), Some(secret), None) => {
            let expand = |field: &'static str, text: &str| {
                lookup.expand(text).map_err(|reason| Error::invalid(Path::of(field), reason))
            };
            Credentials {
                access_key_id: expand("accessKeyId", id)?,
                secret_access_key: expand("secretAccessKey", secret)?,
                session_token: expand("sessionToken", config.session_token.as_deref().unwrap_or_default())?,
            }
        }
        (None, None, Some(file)) if config.session_token.is_none() => {
            let content = lookup.file(file).map_err(|reason| Error::invalid(Path::of("credentialsFile"), reason))?;
            let profile = config.profile.as_deref().unwrap_or("default");
            in_profile(&String::from_utf8_lossy(&content), profile)
                .map_err(|reason| Error::invalid(Path::of("credentialsFile"), reason))?
        }
        (None, None, None) if config.session_token.is_none() => {
            let variable = |name: &str| {
                let reason = || Error::invalid(Path::root(), format!("the environment variable {name} is not set"));
                lookup.variable(name).ok_or_else(reason)
            };
            Credentials {
                access_key_id: variable("AWS_ACCESS_KEY_ID")?,
                secret_access_key: variable("AWS_SECRET_ACCESS_KEY")?,
                session_token: lookup.variable("AWS_SESSION_TOKEN").unwrap_or_default(),
            }
        }
        _ => {
            let members = "accessKeyId with secretAccessKey, credentialsFile, and neither (the environment),";
            return Err(Error::NotOne { path: Path::root(), members });
        }
    };
    if config.profile.is_some() && config.credentials_file.is_none() {
        return Err(Error::invalid(Path::of("profile"), "is for credentialsFile only"));
    }
    let region = config.region.clone().or_else(|| lookup.variable("AWS_REGION"));
    let region = region.ok_or(Error::Missing { path: Path::of("region") })?;
    aws(&region, &config.service, config.unsigned_payload, credentials)
}

/// The credentials of a section of a file as the AWS tools write it.
fn in_profile(text: &str, profile: &str) -> Result<Credentials, String> {
    let (mut credentials, mut inside, mut found) = (Credentials::default(), false, false);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = section.trim() == profile;
            found |= inside;
        } else if let (true, Some((name, value))) = (inside, line.split_once('=')) {
            let value = value.trim().to_owned();
            match name.trim() {
                "aws_access_key_id" => credentials.access_key_id = value,
                "aws_secret_access_key" => credentials.secret_access_key = value,
                "aws_session_token" => credentials.session_token = value,
                "role_arn" | "web_identity_token_file" | "credential_process" | "sso_session" => {
                    return Err(format!("section [{profile}] asks for {}, which is not supported", name.trim()));
                }
                _ => {}
            }
        }
    }
    if !found {
        return Err(format!("it has no section [{profile}]"));
    }
    if credentials.access_key_id.is_empty() || credentials.secret_access_key.is_empty() {
        return Err(format!("section [{profile}] lacks aws_access_key_id or aws_secret_access_key"));
    }
    Ok(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_values_of_headers() {
        let of = |header: Option<&str>, prefix: Option<&str>, text: &str| {
            let config = BackendKey { value: (), header: header.map(Into::into), prefix: prefix.map(Into::into) };
            key(&config, text).map(|key| key.value)
        };
        assert_eq!(of(None, None, "s\n"), Ok("Bearer s".into()));
        assert_eq!(of(Some("x-api-key"), None, "s"), Ok("s".into()));
        assert_eq!(of(None, Some("Token "), "s"), Ok("Token s".into()));
        for (header, text) in [("a b", "s"), ("x", ""), ("x", "a\r\nb: c"), ("x", "a ")] {
            let error = of(Some(header), None, text).expect_err(text).to_string();
            assert!(!error.contains("b: c"), "{error}");
        }
    }

    #[test]
    fn a_section_of_a_credentials_file_is_read() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key=B\n\n[role]\nrole_arn = x\n[half]\naws_access_key_id = A\n";
        let found = in_profile(text, "default").expect("reads");
        assert_eq!((found.access_key_id.as_str(), found.secret_access_key.as_str()), ("A", "B"));
        for (profile, part) in [("role", "not supported"), ("half", "lacks"), ("none", "no section")] {
            assert!(in_profile(text, profile).expect_err(profile).contains(part), "{profile}");
        }
    }

    #[test]
    fn exactly_one_way_is_written() {
        let none = BackendAuth::<(), ()>::default();
        let convert = |policy: &BackendAuth<(), ()>| {
            backend_auth(policy, &mut |_| Ok(message::Key::default()), &mut |()| Ok(message::Aws::default()))
        };
        assert!(convert(&none).is_err());
        assert!(convert(&BackendAuth { aws: Some(()), ..none.clone() }).is_ok());
        let passthrough = Some(agentgateway_types::policy::Passthrough {});
        assert!(convert(&BackendAuth { aws: Some(()), passthrough, ..none }).is_err());
    }
}
