//! One provider of an LLM backend, compiled: what it speaks, where it is, what it is shown.

use std::sync::Arc;

use agentgateway_llm_format::{Dialect, Host, Provider as Format, Quirks, Request};
use agentgateway_proto::v1;
use agentgateway_upstream::Cluster;
use http::{HeaderName, HeaderValue};

use crate::aliases::Aliases;
use crate::key::Key;
use crate::rest::Rest;

/// A provider. Shared by all workers.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: Arc<str>,
    /// What traces and metrics call it (`gen_ai.provider.name`).
    pub(crate) system: Arc<str>,
    pub(crate) weight: u32,
    pub(crate) cluster: Arc<Cluster>,
    /// `Host` of its requests.
    pub(crate) host: HeaderValue,
    /// Before the paths of the API.
    pub(crate) base_path: Box<str>,
    /// In the place of the paths for answers.
    pub(crate) full_path: Option<Box<str>>,
    /// Added to every request's query.
    pub(crate) query: Option<Box<str>>,
    /// Set on every request.
    pub(crate) headers: Box<[(HeaderName, HeaderValue)]>,
    pub(crate) key: Key,
    pub(crate) aliases: Aliases,
    /// The only model that is asked for.
    pub(crate) model: Option<Box<str>>,
    pub(crate) rest: Arc<Rest>,
    formats: Box<[Format]>,
    first: Format,
}

impl Provider {
    pub(crate) fn compile(
        spec: &v1::LlmProvider,
        rest: Arc<Rest>,
        clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Provider, String> {
        let wrong = |reason: String| format!("provider \"{}\": {reason}", spec.name);
        let cluster = clusters(&spec.backend_key)
            .ok_or_else(|| wrong(format!("backend \"{}\" does not exist", spec.backend_key)))?;
        let host = HeaderValue::from_str(host_of(cluster.authority().as_str()))
            .map_err(|e| wrong(format!("its authority is not a header value: {e}")))?;
        let formats: Vec<_> = spec.apis().filter_map(|api| format(api, spec)).collect();
        let first = *formats.first().ok_or_else(|| wrong("it speaks no API that this proxy knows".into()))?;
        if !spec.full_path.is_empty() && !spec.full_path.starts_with('/') {
            return Err(wrong(format!("path \"{}\" does not begin with /", spec.full_path)));
        }
        let headers = spec.headers.iter().map(|header| {
            let name = header.name.parse().map_err(|_| wrong(format!("{:?} is not a header name", header.name)))?;
            let value = HeaderValue::from_str(&header.value)
                .map_err(|_| wrong(format!("the value of header {} is not valid", header.name)))?;
            Ok((name, value))
        });
        let some = |text: &str| (!text.is_empty()).then(|| text.into());
        Ok(Provider {
            name: spec.name.as_str().into(),
            system: if spec.system.is_empty() { "_OTHER" } else { &spec.system }.into(),
            weight: spec.weight,
            host,
            base_path: spec.base_path.trim_end_matches('/').into(),
            full_path: some(&spec.full_path),
            query: some(&spec.query),
            headers: headers.collect::<Result<_, String>>()?,
            key: Key::compile(spec).map_err(wrong)?,
            aliases: Aliases::compile(&spec.aliases).map_err(wrong)?,
            model: some(&spec.model),
            rest,
            formats: formats.into(),
            first,
            cluster,
        })
    }

    /// The format for a client of this API: its own where the provider has it, else the provider's first.
    pub(crate) fn format(&self, client: Dialect) -> Format {
        self.formats.iter().find(|format| format.dialect == client).copied().unwrap_or(self.first)
    }

    /// What the model that the client asks for is called here; `None` where it is to be asked for as it is.
    pub(crate) fn model<'a>(&'a self, request: &'a Request, aliases: &Aliases) -> std::borrow::Cow<'a, str> {
        if let Some(model) = &self.model {
            return (&**model).into();
        }
        let named = aliases.resolve(request.model());
        match named
            .as_deref()
            .map_or_else(|| self.aliases.resolve(request.model()), |named| self.aliases.resolve(named))
        {
            Some(own) => own.into(),
            None => named.map_or(request.model().into(), Into::into),
        }
    }
}

/// Servers of TLS behind a host that they share take the port that everyone leaves out for another name.
fn host_of(authority: &str) -> &str {
    authority.strip_suffix(":443").unwrap_or(authority)
}

fn format(api: v1::LlmApi, spec: &v1::LlmProvider) -> Option<Format> {
    let dialect = match api {
        v1::LlmApi::Unspecified => return None,
        v1::LlmApi::OpenaiChat => Dialect::OpenAiChat,
        v1::LlmApi::OpenaiResponses => Dialect::OpenAiResponses,
        v1::LlmApi::AnthropicMessages => Dialect::AnthropicMessages,
        v1::LlmApi::Gemini => Dialect::Gemini,
        v1::LlmApi::BedrockConverse => Dialect::BedrockConverse,
    };
    let host = match spec.host() {
        v1::LlmHost::Unspecified => Host::Direct,
        v1::LlmHost::Azure => Host::Azure { deployments: false },
        v1::LlmHost::AzureDeployments => Host::Azure { deployments: true },
        v1::LlmHost::Vertex => Host::Vertex,
        v1::LlmHost::Bedrock => Host::Bedrock,
    };
    let quirks = spec.quirks.unwrap_or_default();
    let quirks = Quirks {
        max_tokens: quirks.max_tokens,
        stream_options: !quirks.no_stream_options,
        developer_role: !quirks.no_developer_role,
        reasoning_effort: !quirks.no_reasoning_effort,
    };
    Some(Format { dialect, host, quirks })
}
