//! LLM providers of both spellings: one backend with the providers in groups, and a backend for each provider's host.

mod file;
mod kubernetes;
mod presets;

use std::collections::{BTreeMap, BTreeSet};

use agentgateway_proto::key;
use agentgateway_proto::v1::{self, LlmApi, LlmHost, ObjectRef, backend_authentication as auth};
use agentgateway_types::Path;

use crate::check;
use crate::error::{Error, Within};
use presets::Preset;

pub use file::{ai_groups, provider_name};
pub use kubernetes::{Secrets, ai_backend};

/// The port on which connections to a provider are encrypted without being told so.
const HTTPS: u16 = 443;

/// What a provider is, whatever the spelling.
pub(super) enum Maker {
    OpenAi,
    Azure { endpoint: String, api_version: String },
    Anthropic { api_version: Option<String> },
    Gemini { api_version: String },
    Vertex { project: String, location: String, api_version: String, anthropic: bool },
    Bedrock { region: String },
    Preset(String),
    Compatible { anthropic: bool },
}

/// Where the key comes from.
pub(super) enum Key {
    /// What policies say.
    OfPolicies,
    Passthrough,
    Own(String),
    Aws(auth::Aws),
    /// A header and its value, ready to be sent.
    Header(auth::Key),
}

/// A provider, whatever the spelling.
pub(super) struct Provider<'a> {
    pub(super) name: String,
    pub(super) weight: u32,
    pub(super) maker: Maker,
    pub(super) model: Option<&'a str>,
    /// In the place of the maker's own.
    pub(super) host: Option<(String, u16)>,
    pub(super) path: Option<&'a str>,
    pub(super) key: Key,
    pub(super) key_header: Option<&'a str>,
    pub(super) key_prefix: Option<&'a str>,
    pub(super) aliases: &'a BTreeMap<String, String>,
}

/// The backend `source`, then those of its providers' hosts.
pub(super) fn backend(
    groups: Vec<Vec<(v1::LlmProvider, v1::Backend)>>,
    aliases: &BTreeMap<String, String>,
    source: &ObjectRef,
) -> Result<Vec<v1::Backend>, Error> {
    let (mut made, mut hosts, mut names) = (v1::LlmBackend::default(), Vec::new(), BTreeSet::new());
    for group in groups {
        let mut providers = Vec::with_capacity(group.len());
        for (provider, host) in group {
            if !names.insert(provider.name.clone()) {
                let reason = format!("{:?} is the name of two providers", provider.name);
                return Err(Error::invalid(Path::root(), reason));
            }
            providers.push(provider);
            hosts.push(host);
        }
        if providers.iter().all(|provider| provider.weight == 0) {
            return Err(Error::invalid(Path::root(), "a group needs a provider with a weight above 0"));
        }
        made.groups.push(v1::LlmGroup { providers });
    }
    if made.groups.is_empty() {
        return Err(Error::invalid(Path::root(), "at least one provider is needed"));
    }
    made.aliases = converted_aliases(aliases).within(|| Path::of("modelAliases"))?;
    let llm = v1::Backend {
        key: key::backend(source),
        source: Some(source.clone()),
        kind: Some(v1::backend::Kind::Llm(made)),
        ..v1::Backend::default()
    };
    Ok(std::iter::once(llm).chain(hosts).collect())
}

/// Where a maker serves its API, and which.
struct Place {
    host: String,
    port: u16,
    base_path: String,
    apis: Vec<LlmApi>,
    serves: LlmHost,
    quirks: Option<v1::LlmQuirks>,
    query: String,
    system: &'static str,
}

impl Place {
    fn of(maker: &Maker) -> Result<Place, Error> {
        let place = |host: &str, base_path: &str, apis: &[LlmApi], system| Place {
            host: host.to_owned(),
            port: HTTPS,
            base_path: base_path.to_owned(),
            apis: apis.to_vec(),
            serves: LlmHost::Unspecified,
            quirks: None,
            query: String::new(),
            system,
        };
        let compatible = v1::LlmQuirks { max_tokens: true, no_developer_role: true, ..v1::LlmQuirks::default() };
        Ok(match maker {
            Maker::OpenAi => place("api.openai.com", "/v1", &[LlmApi::OpenaiChat, LlmApi::OpenaiResponses], "openai"),
            Maker::Anthropic { .. } => place("api.anthropic.com", "/v1", &[LlmApi::AnthropicMessages], "anthropic"),
            Maker::Gemini { api_version } => {
                place("generativelanguage.googleapis.com", &format!("/{api_version}"), &[LlmApi::Gemini], "gcp.gemini")
            }
            Maker::Azure { endpoint, api_version } => {
                let host = endpoint.strip_prefix("https://").unwrap_or(endpoint).trim_end_matches('/');
                let dated = api_version.starts_with(|c: char| c.is_ascii_digit());
                let both = [LlmApi::OpenaiChat, LlmApi::OpenaiResponses];
                // Dated versions have paths by deployment, which Responses lack.
                let apis = if dated { both.get(..1).unwrap_or_default() } else { &both };
                let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
                if !api_version.bytes().all(word) {
                    let reason = format!("{api_version:?} is not a version such as 2024-10-21, or v1");
                    return Err(Error::invalid(Path::of("apiVersion"), reason));
                }
                Place {
                    serves: if dated { LlmHost::AzureDeployments } else { LlmHost::Azure },
                    query: if dated { format!("api-version={api_version}") } else { String::new() },
                    ..place(host, if dated { "/openai" } else { "/openai/v1" }, apis, "azure.ai.openai")
                }
            }
            Maker::Vertex { project, location, api_version, anthropic } => {
                let host = match location.as_str() {
                    "global" => "aiplatform.googleapis.com".to_owned(),
                    region => format!("{region}-aiplatform.googleapis.com"),
                };
                let api = if *anthropic { LlmApi::AnthropicMessages } else { LlmApi::Gemini };
                let base = format!("/{api_version}/projects/{project}/locations/{location}");
                let base = check::absolute_path(Path::of("projectId"), &base)?;
                Place { serves: LlmHost::Vertex, ..place(&host, &base, &[api], "gcp.vertex_ai") }
            }
            Maker::Bedrock { region } => {
                let host = format!("bedrock-runtime.{region}.amazonaws.com");
                let place = place(&host, "", &[LlmApi::BedrockConverse], "aws.bedrock");
                Place { serves: LlmHost::Bedrock, ..place }
            }
            Maker::Preset(name) => {
                let preset = Preset::find(name).map_err(|reason| Error::invalid(Path::of("preset"), reason))?;
                let quirks = v1::LlmQuirks { no_stream_options: preset.no_stream_options, ..compatible };
                Place {
                    port: preset.port,
                    quirks: Some(quirks),
                    ..place(&preset.host, &preset.base_path, &preset.apis(), "")
                }
            }
            Maker::Compatible { anthropic: true } => place("", "/v1", &[LlmApi::AnthropicMessages], ""),
            Maker::Compatible { anthropic: false } => {
                Place { quirks: Some(compatible), ..place("", "/v1", &[LlmApi::OpenaiChat], "") }
            }
        })
    }

    /// Where keys go, and what stands before them.
    fn key_header(&self) -> (&'static str, &'static str) {
        match (self.apis.first(), self.serves) {
            (_, LlmHost::Azure | LlmHost::AzureDeployments) => ("api-key", ""),
            (Some(LlmApi::AnthropicMessages), LlmHost::Unspecified) => ("x-api-key", ""),
            (Some(LlmApi::Gemini), LlmHost::Unspecified) => ("x-goog-api-key", ""),
            _ => ("authorization", "Bearer "),
        }
    }
}

/// The provider, and the backend of its host.
pub(super) fn provider(provider: Provider<'_>, source: &ObjectRef) -> Result<(v1::LlmProvider, v1::Backend), Error> {
    let place = Place::of(&provider.maker)?;
    let (host, port) = match provider.host {
        Some((host, port)) => (host, port),
        None if place.host.is_empty() => return Err(Error::Missing { path: Path::of("host") }),
        None => (place.host.clone(), place.port),
    };
    let (host, number) = (check::host(Path::of("host"), &host)?, check::port(Path::of("port"), port)?);
    let (usual_header, usual_prefix) = place.key_header();
    let key_header = match provider.key_header {
        Some(name) => check::header_name(Path::of("authHeader.headerName"), name)?.to_ascii_lowercase(),
        None => usual_header.to_owned(),
    };
    // A header of the user's own has no prefix that was not asked for.
    let prefix = provider.key_prefix.unwrap_or(match provider.key_header {
        Some(name) if !name.eq_ignore_ascii_case("authorization") => "",
        _ => usual_prefix,
    });
    let auth = match provider.key {
        Key::OfPolicies => None,
        Key::Passthrough => Some(auth::Kind::Passthrough(auth::Passthrough {})),
        Key::Own(text) => Some(auth::Kind::Key(auth::Key {
            header: key_header.clone(),
            value: key_value(prefix, &text).within(|| Path::of("authToken"))?,
        })),
        Key::Header(key) => Some(auth::Kind::Key(key)),
        Key::Aws(aws) => Some(auth::Kind::Aws(aws)),
    };
    let headers = match &provider.maker {
        Maker::Anthropic { api_version: Some(version) } => vec![v1::Header {
            name: "anthropic-version".into(),
            value: check::header_value(Path::of("apiVersion"), version)?,
        }],
        _ => Vec::new(),
    };
    let backend_key = key::backend_section(source, &provider.name);
    let system = match &provider.maker {
        Maker::Preset(name) => name.clone(),
        Maker::Compatible { .. } => provider.name.clone(),
        _ => place.system.to_owned(),
    };
    let made = v1::LlmProvider {
        name: provider.name,
        backend_key: backend_key.clone(),
        apis: place.apis.iter().map(|api| i32::from(*api)).collect(),
        host: place.serves.into(),
        quirks: place.quirks,
        base_path: place.base_path,
        full_path: provider.path.map(|p| check::absolute_path(Path::of("path"), p)).transpose()?.unwrap_or_default(),
        query: place.query,
        model: provider.model.map(model_name).transpose()?.unwrap_or_default(),
        aliases: converted_aliases(provider.aliases).within(|| Path::of("modelAliases"))?,
        weight: provider.weight,
        auth: auth.map(|kind| v1::BackendAuthentication { kind: Some(kind) }),
        key_header,
        key_prefix: prefix.to_owned(),
        headers,
        system,
    };
    let tls = (port == HTTPS).then(|| v1::BackendTls { hostname: host.clone(), ..v1::BackendTls::default() });
    let hosts = vec![v1::HostPort { host, port: number, ..v1::HostPort::default() }];
    let host = v1::HostBackend { hosts, version: v1::HttpVersion::Unspecified.into() };
    let backend = v1::Backend {
        key: backend_key,
        source: Some(source.clone()),
        kind: Some(v1::backend::Kind::Host(host)),
        tls,
        ..v1::Backend::default()
    };
    Ok((made, backend))
}

fn key_value(prefix: &str, text: &str) -> Result<String, Error> {
    let text = text.trim();
    // Whoever put the whole header's value into a Secret gets no second prefix.
    let text = if prefix.is_empty() { text } else { text.strip_prefix(prefix).unwrap_or(text) };
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::invalid(Path::root(), "a key is made of visible ASCII characters"));
    }
    Ok(format!("{prefix}{text}"))
}

fn model_name(model: &str) -> Result<String, Error> {
    if model.is_empty() || model.len() > 256 || model.chars().any(char::is_control) {
        return Err(Error::invalid(Path::of("model"), "has 1 to 256 characters, none of them control characters"));
    }
    Ok(model.to_owned())
}

fn converted_aliases(aliases: &BTreeMap<String, String>) -> Result<Vec<v1::LlmAlias>, Error> {
    let one = |(pattern, model): (&String, &String)| {
        let at = || Path::root().key(pattern.clone());
        let stars = |text: &str| text.matches('*').count();
        if stars(pattern) > 1 || stars(model) > stars(pattern) {
            return Err(Error::invalid(at(), "a name has at most one *, and its model no more than it has"));
        }
        model_name(pattern).and_then(|_| model_name(model)).map_err(|e| Error::invalid(at(), e.reason()))?;
        Ok(v1::LlmAlias { pattern: pattern.clone(), model: model.clone() })
    };
    aliases.iter().map(one).collect()
}
