//! LLM providers as the YAML file spells them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ai::{CompatibleApi, Publisher};
use crate::file::BackendTls;
use crate::policy::{AwsAuth, BackendAuth, TextSource};

/// LLM providers behind one API: exactly one of `provider` and `groups`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiGroups {
    /// Name of the one provider, for logs and metrics; what it is by default, such as `openai`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,

    /// One provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<AiProviderKind>,

    /// Host and port of the one provider, in the place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262))]
    pub host_override: Option<String>,

    /// Path of requests for answers at the one provider, in the place of the API's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path_override: Option<String>,

    /// Several providers, in groups by priority: a later group gets requests when the providers of those before it cannot serve
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub groups: Option<Vec<AiGroup>>,

    /// Names of models that clients use, and what is meant by them. A name may have one `*`, which stands for any
    /// characters; a `*` in the model is what it stood for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub model_aliases: BTreeMap<String, String>,
}

/// Providers that share requests by weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiGroup {
    /// The providers.
    #[schemars(length(min = 1, max = 16))]
    pub providers: Vec<AiProvider>,
}

/// A provider of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiProvider {
    /// Name, unique in the backend.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Share of the requests of its group, relative to the sum of all weights. 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000000))]
    pub weight: Option<u32>,

    /// What it is.
    pub provider: AiProviderKind,

    /// Host and port in the place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262))]
    pub host_override: Option<String>,

    /// Path of requests for answers, in the place of the API's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path_override: Option<String>,

    /// As those of the backend, for this provider alone; they apply after those.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub model_aliases: BTreeMap<String, String>,

    /// How it is reached; in the place of those of the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<AiProviderPolicies>,
}

/// How a provider is reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiProviderPolicies {
    /// How the gateway authenticates to it. A `key` without `header` goes where the provider's API has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_auth: Option<BackendAuth<TextSource, AwsAuth>>,

    /// Encrypts the connections.
    #[serde(default, rename = "backendTLS", skip_serializing_if = "Option::is_none")]
    pub backend_tls: Option<BackendTls>,
}

/// What a provider is: exactly one of the members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiProviderKind {
    /// OpenAI.
    #[serde(default, rename = "openAI", skip_serializing_if = "Option::is_none")]
    pub openai: Option<AiModel>,

    /// Azure OpenAI.
    #[serde(default, rename = "azureOpenAI", skip_serializing_if = "Option::is_none")]
    pub azure_openai: Option<AiAzure>,

    /// Anthropic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anthropic: Option<AiModel>,

    /// Google's Gemini API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemini: Option<AiModel>,

    /// Google's Vertex AI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertex: Option<AiVertex>,

    /// Amazon Bedrock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<AiBedrock>,

    /// An endpoint that is compatible with OpenAI's or Anthropic's API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compatible: Option<AiCompatible>,
}

/// A provider that needs no more than a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiModel {
    /// The only model that is asked for; by default the one that the client names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,
}

/// Azure OpenAI.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiAzure {
    /// Host of the resource, such as `name.openai.azure.com`.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,

    /// Version of the API, such as `2024-10-21`; `v1` for the one without dates, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub api_version: Option<String>,

    /// The only deployment that is asked for; by default the model that the client names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,
}

/// Google's Vertex AI.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiVertex {
    /// The project.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9:._-]+$"))]
    pub project_id: String,

    /// The location, such as `us-central1`. `global` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: Option<String>,

    /// Whose models they are. `GOOGLE` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<Publisher>,

    /// The only model that is asked for; by default the one that the client names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,
}

/// Amazon Bedrock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiBedrock {
    /// Region. `us-east-1` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: Option<String>,

    /// The only model that is asked for; by default the one that the client names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,
}

/// An endpoint that is compatible with OpenAI's or Anthropic's API: `preset`, or `api` and `hostOverride`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AiCompatible {
    /// Name of a known provider, such as `groq`; docs/llm/providers.md lists them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub preset: Option<String>,

    /// What it speaks, where it is none of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<CompatibleApi>,

    /// The only model that is asked for; by default the one that the client names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,
}
