//! Traces of the requests of a target.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OpenTelemetry;

/// Traces requests: a span for the request, one for each try at its backend, and one for each service that policies ask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tracing<D> {
    /// The collector that gets the spans.
    pub open_telemetry: OpenTelemetry<D>,

    /// Of the requests that come with a sampled trace, this share is traced, in percent. 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub client_sampling: Option<f64>,

    /// Of those that come without a trace. 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub random_sampling: Option<f64>,

    /// Of those that the other two leave. 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub overall_sampling: Option<f64>,

    /// A CEL expression over the request; one for which it is not true is not traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub filter: Option<String>,

    /// Further attributes of the request's span: CEL expressions by name, which know `request`, `response`, `source`, `jwt`,
    /// `apiKey`, `basicAuth` and `fields`. One without a value is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), inner(length(min = 1, max = 4096)))]
    pub attributes: BTreeMap<String, String>,

    /// What is done with a trace that comes with a request (`traceparent`). `Continue` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incoming_context: Option<IncomingContext>,
}

/// What is done with a trace that comes with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IncomingContext {
    /// It goes on, and is sampled as it says.
    #[default]
    Continue,
    /// A new one begins, which is linked to it: for clients that are not trusted with what is traced.
    Restart,
}
