//! LLM providers, as the `Backend` resource spells them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::SecretReference;

/// LLM providers behind one API: exactly one of `llm` and `priorityGroups`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.llm) != has(self.priorityGroups)",
    "message": "exactly one of llm and priorityGroups must be set"
}]))]
pub struct AiBackend {
    /// One provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmProvider>,

    /// Several, in groups by priority: a later group gets requests when the providers of those before it cannot serve them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub priority_groups: Option<Vec<PriorityGroup>>,

    /// Names of models that clients use, and what is meant by them. A name may have one `*`, which stands for any
    /// characters; a `*` in the model is what it stood for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub model_aliases: BTreeMap<String, String>,
}

/// Providers that share requests by weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriorityGroup {
    /// The providers.
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub providers: Vec<NamedLlmProvider>,
}

/// A provider with its name, which is unique in the backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{ "rule": ONE_PROVIDER, "message": ONE_PROVIDER_MESSAGE }, { "rule": HOST_AND_PORT, "message": HOST_AND_PORT_MESSAGE }]))]
pub struct NamedLlmProvider {
    /// Name; BackendTLSPolicies may refer to it as a section of the Backend.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Share of the requests of its group, relative to the sum of all weights. 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000000))]
    pub weight: Option<u32>,

    /// OpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<OpenAi>,

    /// Azure OpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azureopenai: Option<AzureOpenAi>,

    /// Anthropic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anthropic: Option<Anthropic>,

    /// Google's Gemini API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemini: Option<Gemini>,

    /// Google's Vertex AI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertexai: Option<VertexAi>,

    /// Amazon Bedrock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<Bedrock>,

    /// An endpoint that is compatible with OpenAI's or Anthropic's API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compatible: Option<Compatible>,

    /// Where the provider is, in the place of its own host. Together with `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,

    /// Port of `host`. On port 443 connections are encrypted, on others only where a BackendTLSPolicy says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,

    /// Path of requests for answers, in the place of the API's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathOverride>,

    /// Header that carries the key, in the place of the API's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_header: Option<AuthHeader>,

    /// As those of the backend, for this provider alone; they apply after those.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub model_aliases: BTreeMap<String, String>,
}

/// A provider: exactly one of `openai`, `azureopenai`, `anthropic`, `gemini`, `vertexai`, `bedrock` and `compatible`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{ "rule": ONE_PROVIDER, "message": ONE_PROVIDER_MESSAGE }, { "rule": HOST_AND_PORT, "message": HOST_AND_PORT_MESSAGE }]))]
pub struct LlmProvider {
    /// OpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<OpenAi>,

    /// Azure OpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azureopenai: Option<AzureOpenAi>,

    /// Anthropic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anthropic: Option<Anthropic>,

    /// Google's Gemini API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemini: Option<Gemini>,

    /// Google's Vertex AI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertexai: Option<VertexAi>,

    /// Amazon Bedrock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<Bedrock>,

    /// An endpoint that is compatible with OpenAI's or Anthropic's API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compatible: Option<Compatible>,

    /// Where the provider is, in the place of its own host. Together with `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,

    /// Port of `host`. On port 443 connections are encrypted, on others only where a BackendTLSPolicy says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,

    /// Path of requests for answers, in the place of the API's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathOverride>,

    /// Header that carries the key, in the place of the API's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_header: Option<AuthHeader>,
}

const ONE_PROVIDER: &str = "(has(self.openai) ? 1 : 0) + (has(self.azureopenai) ? 1 : 0) + (has(self.anthropic) ? 1 : 0) + (has(self.gemini) ? 1 : 0) + (has(self.vertexai) ? 1 : 0) + (has(self.bedrock) ? 1 : 0) + (has(self.compatible) ? 1 : 0) == 1";
const ONE_PROVIDER_MESSAGE: &str =
    "exactly one of openai, azureopenai, anthropic, gemini, vertexai, bedrock and compatible must be set";
const HOST_AND_PORT: &str = "has(self.host) == has(self.port)";
const HOST_AND_PORT_MESSAGE: &str = "host and port must be set together";

impl From<&LlmProvider> for NamedLlmProvider {
    fn from(own: &LlmProvider) -> NamedLlmProvider {
        let own = own.clone();
        NamedLlmProvider {
            openai: own.openai,
            azureopenai: own.azureopenai,
            anthropic: own.anthropic,
            gemini: own.gemini,
            vertexai: own.vertexai,
            bedrock: own.bedrock,
            compatible: own.compatible,
            host: own.host,
            port: own.port,
            path: own.path,
            auth_header: own.auth_header,
            ..NamedLlmProvider::default()
        }
    }
}

/// OpenAI.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenAi {
    /// The key.
    pub auth_token: AuthToken,

    /// The only model that is asked for; by default the one that the client names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,
}

/// Azure OpenAI.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureOpenAi {
    /// The key.
    pub auth_token: AuthToken,

    /// Host of the resource, such as `name.openai.azure.com`.
    #[schemars(length(min = 1, max = 253))]
    pub endpoint: String,

    /// Name of the deployment: the only model that is asked for.
    #[schemars(length(min = 1, max = 256))]
    pub deployment_name: String,

    /// Version of the API, such as `2024-10-21`; `v1` for the one without dates.
    #[schemars(length(min = 1, max = 64))]
    pub api_version: String,
}

/// Anthropic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Anthropic {
    /// The key.
    pub auth_token: AuthToken,

    /// Version of the API: the header `anthropic-version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub api_version: Option<String>,

    /// The only model that is asked for; by default the one that the client names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,
}

/// Google's Gemini API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gemini {
    /// The key.
    pub auth_token: AuthToken,

    /// The only model that is asked for.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,

    /// Version of the API, such as `v1beta`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9]+$"))]
    pub api_version: String,
}

/// Google's Vertex AI.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VertexAi {
    /// An access token.
    pub auth_token: AuthToken,

    /// The only model that is asked for.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,

    /// Version of the API, such as `v1`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9]+$"))]
    pub api_version: String,

    /// The project.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9:._-]+$"))]
    pub project_id: String,

    /// The location, such as `us-central1` or `global`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub location: String,

    /// Whose models they are.
    pub publisher: Publisher,

    /// Path of requests for answers, in the place of the one that publisher and model make; the same as `path.full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub model_path: Option<String>,
}

/// Whose models are asked for at Vertex AI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Publisher {
    /// Google's own.
    #[default]
    #[serde(rename = "GOOGLE")]
    Google,
    /// Anthropic's.
    #[serde(rename = "ANTHROPIC")]
    Anthropic,
}

/// Amazon Bedrock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bedrock {
    /// Credentials that sign the requests.
    pub auth: AwsSecret,

    /// The only model that is asked for; by default the one that the client names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,

    /// Region. `us-east-1` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: Option<String>,
}

/// Credentials of AWS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsSecret {
    /// Where they are.
    #[serde(rename = "type")]
    pub source: AwsSecretType,

    /// The Secret, of the Backend's namespace, with keys `accessKey`, `secretKey` and, for temporary credentials, `sessionToken`.
    pub secret_ref: SecretReference,
}

/// Where credentials of AWS are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AwsSecretType {
    /// In a Secret.
    #[default]
    Secret,
}

/// An endpoint that is compatible with OpenAI's or Anthropic's API: `preset`, or `api` and a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.preset) != has(self.api)",
    "message": "exactly one of preset and api must be set"
}]))]
pub struct Compatible {
    /// Name of a known provider, such as `groq`; docs/llm/providers.md lists them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub preset: Option<String>,

    /// What it speaks, where it is none of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<CompatibleApi>,

    /// The key; none is sent by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<AuthToken>,

    /// The only model that is asked for; by default the one that the client names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub model: Option<String>,
}

/// What a compatible endpoint speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CompatibleApi {
    /// OpenAI's Chat Completions, below `/v1`.
    #[default]
    OpenAI,
    /// Anthropic's Messages, below `/v1`.
    Anthropic,
}

/// A key.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "(self.kind == 'Inline') == has(self.inline)", "message": "inline must be set when kind is Inline, and only then" },
    { "rule": "(self.kind == 'SecretRef') == has(self.secretRef)", "message": "secretRef must be set when kind is SecretRef, and only then" }
]))]
pub struct AuthToken {
    /// Where it comes from.
    pub kind: AuthTokenKind,

    /// The key itself, readable for all who may read the Backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub inline: Option<String>,

    /// A Secret of the same namespace, with the key under `Authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

impl std::fmt::Debug for AuthToken {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthToken")
            .field("kind", &self.kind)
            .field("secret_ref", &self.secret_ref)
            .finish_non_exhaustive()
    }
}

/// Where a key comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthTokenKind {
    /// It stands in the Backend.
    Inline,
    /// It is in a Secret.
    #[default]
    SecretRef,
    /// The client's own key is passed on.
    Passthrough,
}

/// A path in the place of the API's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathOverride {
    /// The whole path.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub full: String,
}

/// Header that carries a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.prefix) || has(self.headerName)",
    "message": "at least one of prefix and headerName must be set"
}]))]
pub struct AuthHeader {
    /// What stands before the key, with a space where one is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub prefix: Option<String>,

    /// Name of the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub header_name: Option<String>,
}
