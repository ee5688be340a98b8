//! The spelling of the YAML file.

use std::collections::BTreeMap;

use agentgateway_proto::v1::{self, ObjectRef, backend_authentication as auth, policy_spec::Kind};
use agentgateway_types::Path;
use agentgateway_types::backend::ai::{CompatibleApi, Publisher};
use agentgateway_types::backend::{AiGroups, AiProvider, AiProviderKind};

use super::{Key, Maker, Provider, backend, provider};
use crate::backend::host_port;
use crate::error::{Error, Within};
use crate::policy::{self, Lookup};

/// The backend `source` of these providers, then those of their hosts.
///
/// # Errors
/// What is wrong, and where.
pub fn ai_groups(config: &AiGroups, source: &ObjectRef, lookup: &mut dyn Lookup) -> Result<Vec<v1::Backend>, Error> {
    let groups = match (&config.provider, &config.groups) {
        (Some(kind), None) => {
            let one = AiProvider {
                name: provider_name(config),
                provider: kind.clone(),
                host_override: config.host_override.clone(),
                path_override: config.path_override.clone(),
                ..AiProvider::default()
            };
            vec![vec![of_file(&one, source, lookup)?]]
        }
        (None, Some(groups)) => {
            for (field, set) in [
                ("name", config.name.is_some()),
                ("hostOverride", config.host_override.is_some()),
                ("pathOverride", config.path_override.is_some()),
            ] {
                if set {
                    return Err(Error::invalid(Path::of(field), "is for provider only; in groups each has its own"));
                }
            }
            let mut made = Vec::with_capacity(groups.len());
            for (i, group) in groups.iter().enumerate() {
                let mut providers = Vec::with_capacity(group.providers.len());
                for (j, one) in group.providers.iter().enumerate() {
                    let at = || Path::of("groups").index(i).key("providers").index(j);
                    providers.push(of_file(one, source, lookup).within(at)?);
                }
                made.push(providers);
            }
            made
        }
        _ => return Err(Error::NotOne { path: Path::root(), members: "provider and groups" }),
    };
    backend(groups, &config.model_aliases, source)
}

/// The name of the one provider.
pub fn provider_name(config: &AiGroups) -> String {
    let kind = config.provider.as_ref();
    let preset = kind.and_then(|kind| kind.compatible.as_ref()).and_then(|compatible| compatible.preset.clone());
    let usual = || match kind {
        Some(AiProviderKind { openai: Some(_), .. }) => "openai".to_owned(),
        Some(AiProviderKind { azure_openai: Some(_), .. }) => "azure".to_owned(),
        Some(AiProviderKind { anthropic: Some(_), .. }) => "anthropic".to_owned(),
        Some(AiProviderKind { gemini: Some(_), .. }) => "gemini".to_owned(),
        Some(AiProviderKind { vertex: Some(_), .. }) => "vertex".to_owned(),
        Some(AiProviderKind { bedrock: Some(_), .. }) => "bedrock".to_owned(),
        _ => preset.unwrap_or_else(|| "compatible".to_owned()),
    };
    config.name.clone().unwrap_or_else(usual)
}

fn of_file(
    config: &AiProvider,
    source: &ObjectRef,
    lookup: &mut dyn Lookup,
) -> Result<(v1::LlmProvider, v1::Backend), Error> {
    let kind = &config.provider;
    let (maker, model) = maker(kind).within(|| Path::of("provider"))?;
    let key = match config.policies.as_ref().and_then(|policies| policies.backend_auth.as_ref()) {
        None => Key::OfPolicies,
        Some(auth) => key_of(auth, lookup).within(|| Path::of("policies.backendAuth"))?,
    };
    let host = config.host_override.as_deref().map(host_port).transpose().within(|| Path::of("hostOverride"))?;
    let none = BTreeMap::new();
    let aliases = if config.model_aliases.is_empty() { &none } else { &config.model_aliases };
    let made = Provider {
        name: config.name.clone(),
        weight: config.weight.unwrap_or(1),
        maker,
        model,
        host: host.map(|at| (at.host, u16::try_from(at.port).unwrap_or_default())),
        path: config.path_override.as_deref(),
        key,
        key_header: None,
        key_prefix: None,
        aliases,
    };
    provider(made, source)
}

fn maker(kind: &AiProviderKind) -> Result<(Maker, Option<&str>), Error> {
    let AiProviderKind { openai, azure_openai, anthropic, gemini, vertex, bedrock, compatible } = kind;
    let mut found = Vec::new();
    found.extend(openai.as_ref().map(|own| (Maker::OpenAi, own.model.as_deref())));
    found.extend(azure_openai.as_ref().map(|own| {
        let api_version = own.api_version.clone().unwrap_or_else(|| "v1".to_owned());
        (Maker::Azure { endpoint: own.host.clone(), api_version }, own.model.as_deref())
    }));
    found.extend(anthropic.as_ref().map(|own| (Maker::Anthropic { api_version: None }, own.model.as_deref())));
    let beta = || "v1beta".to_owned();
    found.extend(gemini.as_ref().map(|own| (Maker::Gemini { api_version: beta() }, own.model.as_deref())));
    found.extend(vertex.as_ref().map(|own| {
        let maker = Maker::Vertex {
            project: own.project_id.clone(),
            location: own.region.clone().unwrap_or_else(|| "global".to_owned()),
            api_version: "v1".to_owned(),
            anthropic: own.publisher == Some(Publisher::Anthropic),
        };
        (maker, own.model.as_deref())
    }));
    found.extend(bedrock.as_ref().map(|own| {
        let region = own.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
        (Maker::Bedrock { region }, own.model.as_deref())
    }));
    if let Some(own) = compatible {
        let maker = match (&own.preset, own.api) {
            (Some(preset), None) => Maker::Preset(preset.clone()),
            (None, Some(api)) => Maker::Compatible { anthropic: api == CompatibleApi::Anthropic },
            _ => return Err(Error::NotOne { path: Path::of("compatible"), members: "preset and api" }),
        };
        found.push((maker, own.model.as_deref()));
    }
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(Error::NotOne {
            path: Path::root(),
            members: "openAI, azureOpenAI, anthropic, gemini, vertex, bedrock and compatible",
        }),
    }
}

fn key_of(
    config: &agentgateway_types::policy::BackendAuth<
        agentgateway_types::policy::TextSource,
        agentgateway_types::policy::AwsAuth,
    >,
    lookup: &mut dyn Lookup,
) -> Result<Key, Error> {
    let bare = config.key.as_ref().is_some_and(|key| key.header.is_none() && key.prefix.is_none());
    let made = policy::file_backend_auth(config, lookup)?;
    let Some(Kind::BackendAuth(made)) = made.kind else { return Ok(Key::OfPolicies) };
    Ok(match made.kind {
        Some(auth::Kind::Key(key)) if bare => {
            let text = key.value.strip_prefix("Bearer ").unwrap_or(&key.value);
            Key::Own(text.to_owned())
        }
        Some(auth::Kind::Key(key)) => Key::Header(key),
        Some(auth::Kind::Aws(aws)) => Key::Aws(aws),
        Some(auth::Kind::Passthrough(_)) => Key::Passthrough,
        None => Key::OfPolicies,
    })
}
