//! Changes to requests and responses by CEL expressions.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Changes requests and responses. Values are CEL expressions, computed from the message as it came, before anything of it is
/// changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.request) || has(self.response)",
    "message": "at least one of request and response must be set"
}]))]
pub struct Transformation {
    /// Of requests. Expressions know `request`, `jwt`, `apiKey`, `basicAuth`, `metadata` and `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<MessageTransformation>,

    /// Of responses. Expressions know `response`, and the request as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<MessageTransformation>,
}

/// Changes a message: first `set`, then `add`, then `remove`, then the body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageTransformation {
    /// Headers that replace those of the same name. One whose expression has no value is removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub set: Vec<HeaderTransformation>,

    /// Headers that are added to those of the same name. One whose expression has no value is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub add: Vec<HeaderTransformation>,

    /// Names of headers that are removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub remove: Vec<String>,

    /// What later policies and logs see as `metadata`, by name. One whose expression has no value is taken away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), inner(length(min = 1, max = 4096)))]
    pub metadata: BTreeMap<String, String>,

    /// The body, which is read whole for it, up to 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyTransformation>,
}

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderTransformation {
    /// Name; case does not matter. In `set`, `:path`, `:method` and `:authority` of requests and `:status` of responses, too.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,

    /// A CEL expression. A text is taken as it is, null means no value, anything else is written as JSON.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// How expressions see the body, and the new one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BodyTransformation {
    /// What `request.body` or `response.body` is in all expressions beside it. `AsString` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parse_as: Option<BodyFormat>,

    /// A CEL expression for the new body. A text is taken as it is, anything else is written as JSON. Without it the body stays as
    /// it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub value: Option<String>,
}

/// What expressions see of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BodyFormat {
    /// A text.
    #[default]
    AsString,
    /// The value that it is as JSON.
    AsJson,
}
