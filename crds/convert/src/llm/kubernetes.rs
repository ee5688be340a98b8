//! The spelling of the `Backend` resource.

use std::collections::BTreeMap;

use agentgateway_proto::v1::{self, ObjectRef, backend_authentication as auth};
use agentgateway_types::Path;
use agentgateway_types::backend::ai::{
    AiBackend, AuthToken, AuthTokenKind, AwsSecret, CompatibleApi, NamedLlmProvider, Publisher,
};

use super::{Key, Maker, Provider, backend, provider};
use crate::error::{Error, Within};
use crate::policy::{AwsCredentials, aws};

/// Name of the provider of `llm`.
const ONLY: &str = "llm";

/// Reads Secrets of the Backend's namespace.
pub trait Secrets {
    /// The text under `key` of the Secret `name`.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn text(&self, name: &str, key: &str) -> Result<String, String>;
}

/// The backend `source` of these providers, then those of their hosts.
///
/// # Errors
/// What is wrong, and where.
pub fn ai_backend(config: &AiBackend, source: &ObjectRef, secrets: &dyn Secrets) -> Result<Vec<v1::Backend>, Error> {
    let groups = match (&config.llm, &config.priority_groups) {
        (Some(one), None) => {
            let one = NamedLlmProvider { name: ONLY.to_owned(), ..NamedLlmProvider::from(one) };
            vec![vec![of_resource(&one, source, secrets).within(|| Path::of("llm"))?]]
        }
        (None, Some(groups)) => {
            let mut made = Vec::with_capacity(groups.len());
            for (i, group) in groups.iter().enumerate() {
                let mut providers = Vec::with_capacity(group.providers.len());
                for (j, one) in group.providers.iter().enumerate() {
                    let at = || Path::of("priorityGroups").index(i).key("providers").index(j);
                    providers.push(of_resource(one, source, secrets).within(at)?);
                }
                made.push(providers);
            }
            made
        }
        _ => return Err(Error::NotOne { path: Path::root(), members: "llm and priorityGroups" }),
    };
    backend(groups, &config.model_aliases, source)
}

fn of_resource(
    config: &NamedLlmProvider,
    source: &ObjectRef,
    secrets: &dyn Secrets,
) -> Result<(v1::LlmProvider, v1::Backend), Error> {
    let mut found = Vec::new();
    let key = |token: &AuthToken, at: &'static str| key_of(token, secrets).within(|| Path::of(at).key("authToken"));
    if let Some(own) = &config.openai {
        found.push((Maker::OpenAi, own.model.as_deref(), key(&own.auth_token, "openai")?));
    }
    if let Some(own) = &config.azureopenai {
        let maker = Maker::Azure { endpoint: own.endpoint.clone(), api_version: own.api_version.clone() };
        found.push((maker, Some(own.deployment_name.as_str()), key(&own.auth_token, "azureopenai")?));
    }
    if let Some(own) = &config.anthropic {
        let maker = Maker::Anthropic { api_version: own.api_version.clone() };
        found.push((maker, own.model.as_deref(), key(&own.auth_token, "anthropic")?));
    }
    if let Some(own) = &config.gemini {
        let maker = Maker::Gemini { api_version: own.api_version.clone() };
        found.push((maker, Some(own.model.as_str()), key(&own.auth_token, "gemini")?));
    }
    let mut path = config.path.as_ref().map(|path| path.full.as_str());
    if let Some(own) = &config.vertexai {
        path = path.or(own.model_path.as_deref());
        let maker = Maker::Vertex {
            project: own.project_id.clone(),
            location: own.location.clone(),
            api_version: own.api_version.clone(),
            anthropic: own.publisher == Publisher::Anthropic,
        };
        found.push((maker, Some(own.model.as_str()), key(&own.auth_token, "vertexai")?));
    }
    if let Some(own) = &config.bedrock {
        let region = own.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
        let signs = aws_of(&own.auth, &region, secrets).within(|| Path::of("bedrock").key("auth"))?;
        found.push((Maker::Bedrock { region }, own.model.as_deref(), Key::Aws(signs)));
    }
    if let Some(own) = &config.compatible {
        let maker = match (&own.preset, own.api) {
            (Some(preset), None) => Maker::Preset(preset.clone()),
            (None, Some(api)) => Maker::Compatible { anthropic: api == CompatibleApi::Anthropic },
            _ => return Err(Error::NotOne { path: Path::of("compatible"), members: "preset and api" }),
        };
        let key = own.auth_token.as_ref().map(|token| key(token, "compatible")).transpose()?;
        found.push((maker, own.model.as_deref(), key.unwrap_or(Key::OfPolicies)));
    }
    let (Some((maker, model, key)), true) = (found.pop(), found.is_empty()) else {
        let members = "openai, azureopenai, anthropic, gemini, vertexai, bedrock and compatible";
        return Err(Error::NotOne { path: Path::root(), members });
    };
    let host = match (&config.host, config.port) {
        (Some(host), Some(port)) => Some((host.clone(), port)),
        (None, None) => None,
        _ => return Err(Error::invalid(Path::of("host"), "host and port must be set together")),
    };
    let header = config.auth_header.as_ref();
    let none = BTreeMap::new();
    let aliases = if config.model_aliases.is_empty() { &none } else { &config.model_aliases };
    let made = Provider {
        name: config.name.clone(),
        weight: config.weight.unwrap_or(1),
        maker,
        model,
        host,
        path,
        key,
        key_header: header.and_then(|header| header.header_name.as_deref()),
        key_prefix: header.and_then(|header| header.prefix.as_deref()),
        aliases,
    };
    provider(made, source)
}

fn key_of(token: &AuthToken, secrets: &dyn Secrets) -> Result<Key, Error> {
    match (token.kind, &token.inline, &token.secret_ref) {
        (AuthTokenKind::Inline, Some(text), None) => Ok(Key::Own(text.clone())),
        (AuthTokenKind::SecretRef, None, Some(secret)) => secrets
            .text(&secret.name, "Authorization")
            .map(Key::Own)
            .map_err(|reason| Error::invalid(Path::of("secretRef"), reason)),
        (AuthTokenKind::Passthrough, None, None) => Ok(Key::Passthrough),
        _ => Err(Error::invalid(Path::root(), "inline and secretRef must be set as kind says")),
    }
}

fn aws_of(config: &AwsSecret, region: &str, secrets: &dyn Secrets) -> Result<auth::Aws, Error> {
    let text = |key: &str| {
        let text = secrets.text(&config.secret_ref.name, key).map(|text| text.trim().to_owned());
        text.map_err(|reason| Error::invalid(Path::of("secretRef"), reason))
    };
    let credentials = AwsCredentials {
        access_key_id: text("accessKey")?,
        secret_access_key: text("secretKey")?,
        // The one that lasting credentials lack.
        session_token: text("sessionToken").unwrap_or_default(),
    };
    aws(region, "bedrock", None, credentials)
}
